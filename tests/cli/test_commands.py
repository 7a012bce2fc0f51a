"""The hpo-job command: its options, its environment, its exit codes, and what it imports."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import optuna
import pytest
from click.testing import Result

from hpo_job import __version__
from hpo_job.cli import main, studies
from hpo_job.cli.options import VARIABLES
from hpo_job.storage.database import Storage
from tests import ROOT

Job = Callable[..., Path]
Refused = Callable[..., str]
Cli = Callable[..., Result]
HPO_JOB = Path(sys.executable).parent / "hpo-job"
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = {
    "train",
    "serve",
    "list",
    "rename",
    "copy",
    "import",
    "du",
    "init",
    "check",
    "create",
    "run",
    "worker",
    "status",
    "results",
    "advise",
    "best",
    "importance",
    "compare",
    "report",
    "plot",
    "dashboard",
    "enqueue",
    "errors",
    "lr-find",
    "export",
    "gc",
    "predict",
    "submit",
    "scale",
    "stop",
    "resume",
    "delete",
    "logs",
    "database",
    "weights",
    "completion",
}


def command(*arguments: str | Path, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """The installed command, in a process of its own."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("HPO_JOB_")}
    return subprocess.run(
        [HPO_JOB, *arguments], cwd=cwd, env=clean | env, capture_output=True, text=True, check=False
    )


# help


def test_the_commands() -> None:
    assert set(main.commands) == COMMANDS


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_help(cli: Cli, name: str) -> None:
    for flag in ("--help", "-h"):
        result = cli(name, flag)
        assert result.exit_code == 0
        assert result.stdout.startswith("Usage: ")
        assert max(map(len, result.stdout.splitlines())) <= 80
    assert main.commands[name].help
    for parameter in main.commands[name].params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.name


def test_help_of_the_whole(cli: Cli) -> None:
    result = cli("--help")
    assert result.exit_code == 0
    assert all(f"  {name} " in result.stdout for name in COMMANDS)
    assert max(map(len, result.stdout.splitlines())) <= 80


def test_every_commands_one_line_is_a_whole_sentence(cli: Cli) -> None:
    listed = cli("--help").stdout.partition("Commands:")[2]
    assert "..." not in listed


@pytest.mark.parametrize("module", ["hpo_job", "hpo_job.cli"])
@pytest.mark.processes
def test_python_runs_the_packages_as_the_command(job: Job, tmp_path: Path, module: str) -> None:
    """Also in worker processes, which import the main module once more."""
    folder = job(budget={"trials": 2})
    python = [sys.executable, "-m", module]
    done = subprocess.run(
        [*python, "run", folder], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("finished  2 of 2 trials") == 1
    assert f"  {Path(sys.executable).name} -m hpo_job results quadratic" in done.stdout
    wrong = subprocess.run(
        [*python, "worker", "x"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert wrong.returncode == 2
    assert wrong.stderr.startswith("hpo-job: x: no study.toml in it")
    assert len(wrong.stderr.splitlines()) == 1


def test_version(cli: Cli) -> None:
    assert __version__ in cli("--version").stdout


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["results", "--help"]])
@pytest.mark.processes
def test_help_imports_nothing_slow(arguments: list[str]) -> None:
    """Each of these costs more than the whole of --help may take."""
    done = subprocess.run(
        [
            sys.executable,
            "-X",
            "importtime",
            "-c",
            "from hpo_job.cli import main; main()",
            *arguments,
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("Usage: ")
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "click" in imported
    assert not imported & {
        "optuna",
        "torch",
        "fastai",
        "pandas",
        "sqlalchemy",
        "numpy",
        "sklearn",
        "rich",
        "pydantic",
        "plotly",
        "matplotlib",
    }


@pytest.mark.processes
def test_the_shipped_jobs_parameters_are_known_without_torch() -> None:
    code = "import sys, hpo_job.study.joining, hpo_job.results; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# what says where and how is an environment variable too, and nothing else is


def options_of(command: click.Command) -> list[click.Option]:
    commands = command.commands.values() if isinstance(command, click.Group) else [command]
    return [each for one in commands for each in one.params if isinstance(each, click.Option)]


def long_name(option: click.Option) -> str:
    (name,) = [flag for flag in option.opts if flag.startswith("--")]
    return name


def test_the_variables_are_the_documented_ones() -> None:
    """README names them, and no option that deletes, selects or formats is among them."""
    ours = {
        name
        for one in main.commands.values()
        for option in options_of(one)
        if (name := variable(option))
    }
    listed = re.findall(r"^\| `(HPO_JOB_[A-Z_]+)` \| `--", README, re.MULTILINE)
    assert sorted(ours) == sorted(listed)


def variable(option: click.Option) -> str | None:
    """The one variable of an option, which its help names; None where it has none."""
    if option.envvar is None:
        return None
    name = "HPO_JOB_" + long_name(option).removeprefix("--").replace("-", "_").upper()
    assert option.envvar == name
    assert option.show_envvar
    return name


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_an_option_is_a_variable_in_all_commands_or_in_none(name: str) -> None:
    for option in options_of(main.commands[name]):
        if (name, long_name(option)) != ("init", "--cluster"):  # it copies files
            assert (option.envvar is not None) == (long_name(option) in VARIABLES)


def test_what_a_command_does_is_only_typed(cli: Cli, storage: Storage, database: str) -> None:
    """Each of these would make a command fail, write to another place, or delete a Job."""
    optuna.create_study(study_name="theirs", storage=storage.optuna)
    result = cli(
        "results",
        "theirs",
        HPO_JOB_STORAGE=database,
        HPO_JOB_FORMAT="toml",
        HPO_JOB_OUTPUT="/nowhere/at/all",
        HPO_JOB_LIMIT="none",
        HPO_JOB_REPLACE="1",
    )
    assert result.exit_code == 0
    assert "no trials" in result.stdout


def test_options_of_the_issue() -> None:
    def options(name: str) -> set[str]:
        return {
            flag
            for parameter in main.commands[name].params
            if isinstance(parameter, click.Option)
            for flag in parameter.opts
        }

    assert "--workers" in options("run")
    assert "--format" in options("results")
    on_clusters = {"submit", "scale", "stop", "resume", "logs", "database"}
    for name in on_clusters:
        assert {"--namespace", "--context"} <= options(name)
    apart = {
        "init",
        "check",
        "completion",
        "data",
        "weights",
        "lr-find",
        "predict",
        "serve",
        *on_clusters,
    }
    for name in COMMANDS - apart:
        assert {"--storage", "--cluster"} <= options(name)


def test_storage_by_environment(job: Job, cli: Cli, database: str, tmp_path: Path) -> None:
    assert cli("create", job(), HPO_JOB_STORAGE=database).exit_code == 0
    assert Path(database.removeprefix("sqlite:///")).is_file()
    assert not (tmp_path / ".hpo").exists()
    assert "quadratic" in cli("status", "quadratic", HPO_JOB_STORAGE=database).stdout


def test_an_option_goes_before_its_variable(job: Job, cli: Cli, database: str) -> None:
    result = cli("create", job(), "--storage", database, HPO_JOB_STORAGE="nonsense")
    assert result.exit_code == 0


@pytest.mark.processes
def test_workers_by_environment(job: Job, database: str, tmp_path: Path) -> None:
    folder = job(budget={"trials": 3})
    done = command("run", folder, cwd=tmp_path, HPO_JOB_WORKERS="2", HPO_JOB_STORAGE=database)
    assert done.returncode == 0, done.stderr
    assert "2 workers" in done.stdout
    assert "finished  3 of 3 trials" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "env"),
    [
        (["--workers", "0"], {}),
        (["--workers", "many"], {}),
        (["--grace", "1"], {}),
        (["--threads", "0"], {}),
        (["--nothing"], {}),
        ([], {"HPO_JOB_WORKERS": "-1"}),
    ],
)
def test_bad_option(
    job: Job, cli: Cli, tmp_path: Path, arguments: list[str], env: dict[str, str]
) -> None:
    result = cli("run", job(), *arguments, **env)
    assert result.exit_code == 2
    assert not (tmp_path / ".hpo").exists()


# a study from one end to the other


@pytest.mark.processes
def test_a_study_in_the_embedded_storage(job: Job, tmp_path: Path) -> None:
    folder = job(budget={"trials": 4}, enqueue=[{"x": 1.0, "n": 1}])
    done = command("run", folder, cwd=tmp_path)
    assert done.returncode == 0
    assert done.stderr == ""
    assert "finished  4 of 4 trials" in done.stdout
    assert "best      #0  value 0.0000" in done.stdout
    assert "fastest   #" in done.stdout
    assert (tmp_path / ".hpo" / "studies.db").is_file()
    storage = Storage(f"sqlite:///{tmp_path}/.hpo/studies.db")
    study = optuna.load_study(study_name="quadratic", storage=storage.optuna)
    assert len(study.trials) == 4
    assert study.best_value == 0.0
    storage.close()

    # the commands it ends with work as they are printed
    further = re.findall(r"^  (\S*hpo-job) (\S+ \S+)    ?", done.stdout, re.MULTILINE)
    assert len(further) >= 2
    for program, words in further:
        look = subprocess.run(
            [program, *words.split()],
            cwd=tmp_path,
            capture_output=True,
            check=False,
            env=os.environ | {"PATH": f"{HPO_JOB.parent}:{os.environ['PATH']}"},
        )
        assert look.returncode == 0, look.stderr


def test_a_rerun_of_a_finished_study_runs_nothing(
    job: Job, cli: Cli, database: str, tmp_path: Path
) -> None:
    folder = job(budget={"trials": 2})
    for _ in range(2):
        result = cli("worker", folder, "--storage", database)
        assert result.exit_code == 0, result.output
    assert "finished  2 of 2 trials" in cli("status", folder, "--storage", database).stdout


@pytest.mark.processes
def test_create_says_where_and_nothing_else(job: Job, database: str, tmp_path: Path) -> None:
    done = command("create", job(), "--storage", database, cwd=tmp_path)
    assert done.returncode == 0
    assert done.stderr == ""
    assert "quadratic" in done.stdout
    assert len(done.stdout.splitlines()) == 1


def test_an_unexpected_error_stays_loud(
    job: Job, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("hpo_job.study.checking.check", broken)
    with pytest.raises(ZeroDivisionError):
        cli("check", job())


# a storage that cannot be opened

STORAGES = [
    # (URL, a word of the problem)
    ("mysql:/user:s3cret@127.0.0.1/x", "not a database URL"),
    ("user:s3cret@127.0.0.1/x", "not a database URL"),
    ("mysql+nothing://user:s3cret@127.0.0.1/x", "not a database URL"),
    ("mysql://user:s3cret@127.0.0.1:port/x", "not a host and a port"),
    ("oracle://user:s3cret@127.0.0.1/x", "oracle"),
    ("postgresql+pg8000://user:s3cret@127.0.0.1:1/x", "pg8000"),
    ("postgresql+pg8000://user@127.0.0.1:1/x?password=s3cret", "pg8000"),
    ("sqlite://", "in-memory"),
    ("sqlite:///:memory:", "in-memory"),
    ("sqlite:////proc/nothere/studies.db", "/proc/nothere"),
    ("sqlite:////dev/null/studies.db", "/dev/null"),
]


@pytest.mark.parametrize(("url", "problem"), STORAGES)
@pytest.mark.parametrize("name", ["create", "status"])
def test_storage_that_cannot_be_opened(
    job: Job, refused: Refused, url: str, problem: str, name: str
) -> None:
    line = refused(name, job(), "--storage", url)
    assert "storage" in line
    if name == "create":
        assert problem in line


@pytest.mark.parametrize("name", ["run", "worker"])
def test_every_command_opens_it_the_same_way(job: Job, refused: Refused, name: str) -> None:
    assert "not a database URL" in refused(name, job(), "--storage", "mysql:/u:s3cret@h/x")


@pytest.mark.needs("pymysql")
@pytest.mark.parametrize(
    "url",
    [
        "mysql+pymysql://user:s3cret@127.0.0.1:1/x",
        "mysql+pymysql://127.0.0.1:1/x?user=user&password=s3cret",
    ],
)
def test_a_server_that_is_not_there(
    job: Job, refused: Refused, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(studies, "PROMPT", 1.0)  # seconds, of the 25 that it waits for one
    line = refused("create", job(), "--storage", url, code=1)  # a later try may reach it
    assert "127.0.0.1" in line
    assert "refused" in line


def test_storage_that_is_a_folder(job: Job, refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    assert "folder" in refused("create", job(), "--storage", f"sqlite:///{tmp_path}/folder")


def test_storage_that_is_no_database(job: Job, refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not a database\n" * 100)
    line = refused("create", job(), "--storage", f"sqlite:///{tmp_path}/notes.txt")
    assert "not a database" in line


@pytest.mark.parametrize("name", ["status", "results", "best"])
def test_reading_makes_no_storage(refused: Refused, name: str) -> None:
    assert "no such file; create a study first" in refused(name, "quadratic")


# the exit code of a process, where no test runner is in between


@pytest.mark.processes
def test_exit_codes_of_the_real_command(
    job: Job, tmp_path: Path, subtests: pytest.Subtests
) -> None:
    good, bad = job(), job(folder="bad", budget={"trails": 3})
    before = set(tmp_path.rglob("*"))
    for arguments in (
        ["check", bad],
        ["status", "quadratic"],
        ["run", good, "--storage", "postgresql+pg8000://user:s3cret@127.0.0.1:1/x"],
    ):
        with subtests.test(" ".join(map(str, arguments))):
            done = command(*arguments, cwd=tmp_path)
            assert done.returncode == 2
            assert done.stdout == ""
            assert len(done.stderr.splitlines()) == 1, done.stderr
            assert "s3cret" not in done.stderr
    after = {path for path in tmp_path.rglob("*") if "__pycache__" not in path.parts}
    assert after == before


@pytest.mark.parametrize(("model", "code"), [("resnet99", 2), ("wt103-fwd", 1)])
@pytest.mark.processes
def test_missing_weights_are_one_line(tmp_path: Path, model: str, code: int) -> None:
    """And nothing of what torch and fastai warn of when they are imported."""
    nowhere = {"https_proxy": "http://127.0.0.1:9", "FASTAI_HOME": str(tmp_path)}
    done = command("weights", model, cwd=tmp_path, **nowhere)
    assert done.returncode == code, done.stderr
    (line,) = done.stderr.splitlines()
    assert "no pre-trained" in line
