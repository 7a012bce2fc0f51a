"""Every command on every strange study: something sensible, and never a stack trace."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import optuna
import pytest
from click.testing import Result
from optuna.trial import TrialState, create_trial

from hpo_job.spec.choices import PLOT_KINDS
from hpo_job.storage.database import Storage
from tests import synthetic

pytestmark = pytest.mark.studies

Cli = Callable[..., Result]
STRANGE = {"spec": "theirs", "baseline": "high", "lr_find": 3, "provenance": [1]}
# Said by a command that has nothing to show, with exit code 2
NOTHING = (
    "no COMPLETE trial",
    "has no best trial: no trial is COMPLETE yet",
    "has no trial that counts with all of",
    "nothing to draw",
    "unknown column",
    "several objectives",
)
NAMES = ("empty", "failed", "one", "unpruned", "several", "no-front", "theirs", "bare", "running")
COMMANDS = [
    ["status"],
    ["results"],
    ["results", "--format", "csv"],
    ["results", "--format", "json", "--limit", "2"],
    ["results", "--where", "state == 'COMPLETE'", "--sort", "-duration"],
    ["results", "--columns", "number,state,duration"],
    ["results", "--format", "parquet", "-o", "trials.parquet"],
    ["best"],
    ["best", "--format", "json"],
    ["best", "--fastest-within", "0.02"],
    ["best", "--pareto", "value,duration"],
    ["importance", "--method", "all"],
    ["report"],
]


@pytest.fixture(scope="session")
def strange_studies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("strange") / "studies.db"
    storage = Storage(f"sqlite:///{file}", create=True)
    trials, at = synthetic.trials(200), storage.optuna
    failed = [trial for trial in trials if trial.state == TrialState.FAIL]
    synthetic.study([], "empty", storage=at)
    synthetic.study(failed[:3], "failed", storage=at)
    synthetic.study([t for t in trials if t.state == TrialState.COMPLETE][:1], "one", storage=at)
    synthetic.study(
        [t for t in synthetic.trials(12, phases=False) if t.state != TrialState.PRUNED],
        "unpruned",
        storage=at,
    )
    synthetic.several_objectives(12, storage=at)
    synthetic.several_objectives(0, storage=at, name="no-front")
    theirs = synthetic.study(trials[:12], "theirs", storage=at, ours=False)
    for name, value in STRANGE.items():
        theirs.set_user_attr(name, value)
    theirs.add_trial(create_trial(value=float("inf"), user_attrs={"execute_time": "fast"}))
    bare = optuna.create_study(study_name="bare", storage=at)
    for value in (2.0, 1.0):
        bare.add_trial(create_trial(value=value))  # neither parameters nor attributes
    running = synthetic.study(trials[:3], "running", storage=at)
    running.add_trial(create_trial(state=TrialState.RUNNING, intermediate_values={1: 0.5}))
    running.enqueue_trial({"epochs": 3})
    storage.close()
    return file


@pytest.fixture
def look(strange_studies: Path, cli: Cli, database: str) -> Iterator[Callable[..., Result]]:
    """Runs a command on a study; it succeeds, or says in one line that there is nothing."""
    shutil.copy(strange_studies, database.removeprefix("sqlite:///"))

    def run(*arguments: str) -> Result:
        done = cli(*arguments, "--storage", database)  # exceptions are not caught
        if done.exit_code:
            assert done.exit_code == 2, done.output
            assert any(words in done.stderr for words in NOTHING), done.stderr
            assert len(done.stderr.splitlines()) == 1
        else:
            assert done.stdout or "parquet" in arguments
        table = "csv" not in arguments and "json" not in arguments
        assert not table or max(map(len, done.stdout.splitlines()), default=0) <= 80
        return done

    return run  # type: ignore[return-value]


@pytest.mark.parametrize("name", NAMES)
def test_every_command(look: Callable[..., Result], name: str, subtests: pytest.Subtests) -> None:
    for command, *options in COMMANDS:
        with subtests.test(f"{command} {' '.join(options)}"):
            look(command, name, *options)


@pytest.mark.parametrize("name", NAMES)
def test_every_plot(look: Callable[..., Result], name: str, subtests: pytest.Subtests) -> None:
    for kind in PLOT_KINDS:
        with subtests.test(kind):
            done = look("plot", name, kind, "-o", f"{kind}.svg")
            assert Path(f"{kind}.svg").exists() == (done.exit_code == 0)


def test_all_compared_at_once(look: Callable[..., Result]) -> None:
    assert look("compare", *NAMES, "--format", "json").exit_code == 0
    assert look("compare", *NAMES, "-o", "page.html").exit_code == 0
    assert look("report", *NAMES, "-o", "all.html").exit_code == 0
    assert Path("all.html").stat().st_size < 15e6


def test_what_they_say(look: Callable[..., Result]) -> None:
    assert "no trials yet" in look("results", "empty").stdout
    assert "no trial is COMPLETE yet" in look("best", "failed").stderr
    assert look("best", "several").stdout.split()[:3] == ["trial", "f1_weighted", "execute_time"]
    assert "the Pareto front of f1_weighted, execute_time" in look("status", "several").stdout
    assert "nothing to compare" in look("importance", "one").stderr


def test_warm_starts_from_and_into_them(
    look: Callable[..., Result], cli: Cli, database: str, subtests: pytest.Subtests
) -> None:
    for name in NAMES:
        with subtests.test(name):
            done = cli("enqueue", "empty", "--from", name, "--top", "2", "--storage", database)
            assert done.exit_code in (0, 2), done.output
            assert done.exit_code == 0 or len(done.stderr.splitlines()) <= 4
    assert cli("enqueue", "theirs", "--from", "one", "--storage", database).exit_code == 0
