"""``run``, ``check`` and ``status`` as a person sees them: progress, --set, logs and JSON."""

from __future__ import annotations

import io
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from click.testing import Result
from rich.console import Console

from hpo_job.cli.opening import same_database
from hpo_job.cli.progress import Progress, summary
from hpo_job.cli.running import Before, state_before
from hpo_job.cli.studies import run_command
from hpo_job.errors import plural
from hpo_job.spec.reading import read_spec
from hpo_job.storage.database import Storage
from tests.quick import Quick

Job = Callable[..., Path]
Cli = Callable[..., Result]
COUNTING = """
def train(trial, context):
    print("the objective's own line")
    if trial.number == 1:
        raise ValueError("no such weather")
    return context.params["x"]
"""


# --set


@pytest.mark.processes
def test_what_a_study_stores_is_what_was_set(job: Job, cli: Cli, database: str) -> None:
    folder = job(budget={"trials": 9})
    done = cli("run", folder, "--storage", database, "--set", "budget.trials=2")
    assert done.exit_code == 0, done.output
    assert f"set           budget.trials=2, instead of {folder}/study.toml's" in done.stdout
    assert "finished  2 of 2 trials" in done.stdout
    storage = Storage(database)
    study = optuna.load_study(study_name="quadratic", storage=storage.optuna)
    assert study.user_attrs["spec"]["budget"]["trials"] == 2
    storage.close()
    worker = cli("worker", folder, "--storage", database, "--set", "budget.trials=3")
    assert worker.exit_code == 0
    assert "finished  3 of 3 trials" in cli("status", folder, "--storage", database).stdout


def test_check_names_what_was_set(job: Job, cli: Cli) -> None:
    done = cli("check", job(), "--set", "sampler.name=RandomSampler", "--set", "seed=7")
    lines = done.stdout.splitlines()
    assert "sampler       RandomSampler()" in lines
    assert "seed          7" in lines
    assert [line[14:].partition(",")[0] for line in lines if line.startswith("set ")] == [
        "sampler.name=RandomSampler",
        "seed=7",
    ]


def test_a_wrong_key_is_refused(job: Job, refused: Callable[..., str]) -> None:
    for command in ("check", "run", "worker"):
        line = refused(command, job(), "--set", "budget.trails=20")
        assert line.startswith("hpo-job: --set budget.trails=20: budget.trails: unknown key")


# a study that is finished


@pytest.mark.processes
def test_a_finished_study_answers_without_torch_and_data(image_job: Job, tmp_path: Path) -> None:
    """Nothing is to be run, so nothing that only a trial needs is imported or read."""
    database = f"sqlite:///{tmp_path}/studies.db"
    folder = image_job(budget={"trials": 1})
    from hpo_job.spec.reading import read_spec
    from hpo_job.study.checking import check
    from hpo_job.study.joining import create

    storage = Storage(database, create=True)
    study = create(check(read_spec(folder), tmp_path / "weights"), storage)
    study.add_trial(optuna.trial.create_trial(value=0.5))
    storage.close()
    code = (
        "import sys; from hpo_job.cli import main\n"
        "try: main()\n"
        "finally: print(sorted({'torch', 'fastai', 'pandas', 'sklearn'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "run", folder, "--storage", database],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert "finished  1 of 1 trial in" in done.stdout
    assert done.stdout.endswith("[]\n")
    assert done.stderr == ""


@pytest.mark.processes
def test_a_finished_study_with_a_larger_budget_goes_on(job: Job, cli: Cli, database: str) -> None:
    for trials in (1, 2):
        folder = job(budget={"trials": trials})
        done = cli("run", folder, "--storage", database)
        assert done.exit_code == 0, done.output
        assert f"finished  {trials} of {plural(trials, 'trial')} in" in done.stdout
    assert "quadratic: 2 trials (1 done before), 1 worker; value" in done.stdout


# how much is printed


@pytest.mark.processes
def test_quiet_prints_warnings_and_errors_only(job: Job, cli: Cli, tmp_path: Path) -> None:
    folder, log = job(code=COUNTING, budget={"trials": 3}), tmp_path / "run.log"
    done = cli("run", folder, "--quiet", "--log-file", log)
    assert done.exit_code == 0
    assert done.stdout == ""
    written = log.read_text(encoding="utf-8")
    for text in ("ERROR worker", "trial 1 failed: ValueError: no such weather", "Traceback"):
        assert text in written
    assert re.search(r"^\d{4}-\d\d-\d\dT\S+ INFO worker \d+: trial 0 COMPLETE", written, re.M)
    assert written.count("the objective's own line\n") == 4


@pytest.mark.processes
def test_verbose_prints_what_each_worker_logs(job: Job, tmp_path: Path) -> None:
    run = [str(Path(sys.executable).with_name("hpo-job")), "run", str(job(budget={"trials": 2}))]
    usual, verbose = (
        subprocess.run([*run, *more], capture_output=True, text=True, cwd=tmp_path, check=True)
        for more in (["--set", "budget.trials=1"], ["-v"])
    )
    assert usual.stderr == ""
    assert re.search(r"^hpo-job: worker \d+: trial 1 COMPLETE", verbose.stderr, re.MULTILINE)


def test_a_log_file_that_cannot_be_written_is_one_line(
    job: Job, refused: Callable[..., str]
) -> None:
    assert "--log-file /proc/x/log: " in refused("run", job(), "--log-file", "/proc/x/log")
    assert "choose one" in refused_usage(refused, job())


def refused_usage(refused: Callable[..., str], folder: Path) -> str:
    from click.testing import CliRunner

    from hpo_job.cli import main

    result = CliRunner().invoke(main, ["run", str(folder), "-q", "-v"])
    assert result.exit_code == 2
    return result.stderr


# what is shown on a terminal


def printed(progress_of: Callable[[Progress], None], width: int = 80) -> str:
    """What a terminal of so many columns got, without its codes."""
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=width, highlight=False)
    with Progress(console) as progress:
        progress_of(progress)
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", stream.getvalue())


def test_progress_counts_and_names_the_best(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    quick = Quick(tmp_path, budget="trials = 40")
    first = quick.start()
    quick.study.tell(first, 0.25)
    stopping = False

    def work(progress: Progress) -> None:
        nonlocal stopping
        progress.say("quick: reading the data")
        progress.follow(quick.study, 2, lambda: stopping)
        progress.look()
        quick.study.tell(quick.start(), 0.125)
        running = quick.start()
        running.report(1.0, step=1)
        progress.look()
        stopping = True
        progress.look()

    text = printed(work)
    for part in (
        "quick: reading the data",
        "quick: 40 trials (1 done before), 2 workers; value",
        "starting 2 workers",
        "1 of 40 trials, best #0 0.2500, ends about ",
        "    #1  COMPLETE    0.1250",
        "2 of 40 trials, best #1 0.1250",
        "running #2 step 1",
        "ending the trials that run; the same command goes on",
    ):
        assert part in text, text
    assert max(map(len, text.splitlines())) <= 80


def test_trials_that_end_before_the_first_look_are_of_this_run(tmp_path: Path) -> None:
    quick = Quick(tmp_path, budget="trials = 40")
    for value in (0.5, 0.25, 0.125):
        quick.study.tell(quick.start(), value)

    def work(progress: Progress) -> None:
        progress.follow(quick.study, 2, lambda: False, earlier=[0])
        progress.look()

    text = printed(work)
    assert "quick: 40 trials (1 done before), 2 workers; value" in text
    assert [n for n in range(3) if f"    #{n}  COMPLETE" in text] == [1, 2]


def test_what_there_is_before_a_run(job: Job, cli: Cli, database: str) -> None:
    folder = job(budget={"trials": 3})
    assert state_before(read_spec(folder), database) == Before(None, ())
    assert cli("worker", folder, "--storage", database).exit_code == 0
    finished = state_before(read_spec(folder), database)
    assert finished.finished is not None
    more = state_before(read_spec(folder, ["budget.trials=4"]), database)
    assert more == Before(None, [0, 1, 2])


def test_progress_never_wraps(tmp_path: Path) -> None:
    quick = Quick(tmp_path, budget="trials = 40")
    quick.study.tell(quick.start(), 0.25)

    def work(progress: Progress) -> None:
        progress.follow(quick.study, 2, lambda: False)
        progress.look()

    lines = printed(work, width=30).splitlines()
    assert max(len(line) for line in lines if "━" in line or "╌" in line) <= 30


def test_a_file_gets_no_lines_that_change(tmp_path: Path) -> None:
    quick = Quick(tmp_path)
    stream = io.StringIO()
    with Progress(Console(file=stream, width=80)) as progress:
        progress.say("reading")
        progress.follow(quick.study, 1, lambda: False)
        progress.look()
    assert "reading" not in stream.getvalue()
    assert "workers are starting" not in stream.getvalue()
    assert "\x1b" not in stream.getvalue()


def test_an_interrupted_run_says_what_to_do(tmp_path: Path) -> None:
    quick = Quick(tmp_path)
    assert "interrupted: the same command goes on" in summary(
        quick.study, "hpo-job", interrupted=True
    )


def test_a_run_without_a_best_trial_names_the_log(tmp_path: Path) -> None:
    quick = Quick(tmp_path)
    quick.study.tell(quick.start(), state=optuna.trial.TrialState.FAIL)
    lines = summary(quick.study, "hpo-job")
    assert "  hpo-job logs quick --trial 0    why that trial failed" in lines
    assert not any("hpo-job best" in line for line in lines)
    quick.study.tell(quick.start(), 0.5)
    assert any("hpo-job best quick" in line for line in summary(quick.study, "hpo-job"))


@pytest.mark.processes
def test_the_commands_that_look_further_name_the_database_that_was_typed(
    job: Job, cli: Cli, tmp_path: Path
) -> None:
    """A finished study, so that nothing is trained; each line is run as it is printed."""
    place = tmp_path / "his&hers"
    place.mkdir()
    file = place / "url"
    file.write_text(f"sqlite:///{place}/studies.db")
    folder = job(budget={"trials": 1})
    assert cli("worker", folder, "--storage-file", file).exit_code == 0
    for typed in (("--storage", file.read_text()), ("--storage-file", str(file))):
        done = cli("run", folder, *typed)
        assert done.exit_code == 0, done.output
        _, _, further = done.stdout.partition("look further\n")
        lines = [re.split(" {3,}", line.strip())[0] for line in further.splitlines()]
        assert len(lines) == 3
        for line in lines:
            assert line.endswith(shlex.join(typed))
            assert cli(*shlex.split(line)[1:]).exit_code == 0, line


def test_a_password_that_was_typed_is_not_printed(tmp_path: Path) -> None:
    quick = Quick(tmp_path)
    options = ["job", "--storage", "mysql://me:secret@host/hpo"]
    with run_command.make_context("run", options):
        assert same_database() is None
    lines = summary(quick.study, "hpo-job", None)
    assert "look further, with the same --storage" in lines
    assert any(line.startswith("  hpo-job results quick ") for line in lines)


# JSON


def test_check_as_json(image_job: Job, cli: Cli) -> None:
    done = cli("check", image_job(), "--format", "json", "--set", "seed=3")
    facts = json.loads(done.stdout)
    assert facts["study"] == "cats-and-dogs"
    assert facts["set"] == ["seed=3"]
    assert facts["seed"] == 3
    assert facts["metrics"] == ["accuracy"]
    assert facts["baselines"][0] > 0.5
    assert facts["search_space"]["learning_rate"]["high"] == 0.1
    assert facts["combinations"] is None
    assert facts["data"]
    assert facts["server_connections"] is None


def test_status_as_json_has_every_digit(tmp_path: Path, cli: Cli) -> None:
    quick = Quick(tmp_path)
    quick.study.tell(quick.start(), 4.0400000000000123e-13)
    running = quick.start()
    running.report(float("inf"), step=1)
    facts = json.loads(cli("status", "quick", "--storage", quick.url, "--format", "json").stdout)
    assert facts["best"] == [
        {
            "number": 0,
            "values": [4.0400000000000123e-13],
            "parameters": quick.study.trials[0].params,
        }
    ]
    assert facts["states"]["COMPLETE"] == 1
    assert facts["evaluated"] == 1
    assert not facts["over"]
    (trial,) = facts["running"]
    assert (trial["number"], trial["steps"], trial["last_value"]) == (1, 1, "Infinity")


def test_status_of_an_empty_study_as_json(cli: Cli, storage: Storage, database: str) -> None:
    optuna.create_study(study_name="theirs", storage=storage.optuna)
    facts = json.loads(cli("status", "theirs", "--storage", database, "--format", "json").stdout)
    assert facts["best"] == []
    keys = ("trials", "timeout", "patience", "min_delta")
    assert facts["budget"] == dict.fromkeys(keys)


# completion


def completed(line: str, cwd: Path, **env: str) -> list[str]:
    """What bash is offered for the last word of a line."""
    words = line.split(" ")
    done = subprocess.run(
        [Path(sys.executable).with_name("hpo-job")],
        env={
            "COMP_WORDS": line,
            "COMP_CWORD": str(len(words) - 1),
            "_HPO_JOB_COMPLETE": "bash_complete",
            **env,
        },
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
    )
    assert done.stderr == ""
    return [each.partition(",")[2] for each in done.stdout.splitlines()]


@pytest.mark.processes
def test_completion(job: Job, tmp_path: Path) -> None:
    job(folder="jobs/alpha")
    job(folder="jobs/beta")
    (tmp_path / "jobs" / "no-job").mkdir()
    quick = Quick(tmp_path)
    assert completed("hpo-job ru", tmp_path) == ["run"]
    assert "--set" in completed("hpo-job run --", tmp_path)
    assert completed("hpo-job run ", tmp_path) == ["alpha", "beta"]
    assert completed("hpo-job check be", tmp_path) == ["beta"]
    assert completed("hpo-job best ", tmp_path, HPO_JOB_STORAGE=quick.url) == [
        "quick",
        "alpha",
        "beta",
    ]
    assert completed(f"hpo-job best --storage {quick.url} q", tmp_path) == ["quick"]
    assert completed("hpo-job best ", tmp_path, HPO_JOB_STORAGE="nonsense") == ["alpha", "beta"]
    assert completed("hpo-job completion ", tmp_path) == ["bash", "zsh", "fish"]
    assert not (tmp_path / ".hpo").exists()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(cli: Cli, shell: str) -> None:
    done = cli("completion", shell)
    assert done.exit_code == 0
    assert "_HPO_JOB_COMPLETE" in done.stdout


def test_bash_reads_its_script(cli: Cli, tmp_path: Path) -> None:
    script = cli("completion", "bash").stdout
    done = subprocess.run(
        ["bash", "-c", f"{script}\ncomplete -p hpo-job"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "_hpo_job_completion" in done.stdout


def test_a_study_is_found_from_a_folder_below(
    cli: Cli, job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = job()
    assert cli("create", folder).exit_code == 0
    monkeypatch.chdir(folder)
    assert "quadratic" in cli("status", "quadratic").stdout
    assert not (folder / ".hpo").exists()
