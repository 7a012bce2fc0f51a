"""The learning-rate finder runs once for a study, whoever of its workers dies meanwhile."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import optuna
import pytest
from click.testing import Result

from hpo_job.errors import DiskFullError
from hpo_job.spec.reading import read_spec
from hpo_job.storage.database import Storage
from hpo_job.study.checking import check
from hpo_job.study.joining import join
from hpo_job.trial import attributes
from hpo_job.worker import lr_find
from hpo_job.worker.machine_share import Machine
from hpo_job.worker.signals import Stop
from tests.quick import wait_until
from tests.worker.finding import STORED, stand_in

pytestmark = pytest.mark.studies

STUDY = """
name = "found"
objective = "tabular_classification"
metric = "accuracy"
direction = "maximize"
[budget]
trials = 3
[data]
path = "few.csv"
label = "kind"
valid_pct = 0.5
[artifacts]
keep = 0
[search_space]
learning_rate = { type = "float", low = 1e-4, high = 1e-1, log = true }
units = { type = "categorical", choices = [4, 8] }
[[enqueue]]
learning_rate = "lr_find"
units = 8
"""
ELSEWHERE = {"host": "elsewhere", "pid": 1}


@pytest.fixture
def job(tmp_path: Path) -> Path:
    folder = tmp_path / "job"
    folder.mkdir()
    (folder / "study.toml").write_text(STUDY)
    rows = "".join(f"{number},{'ab'[number % 2]}\n" for number in range(40))
    (folder / "few.csv").write_text(f"size,kind\n{rows}")
    return folder


class Workers:
    """Processes that join the study of ``job``, each as a worker of its own."""

    def __init__(self, job: Path, folder: Path) -> None:
        self.job, self.folder = job, folder
        self.all: list[subprocess.Popen[str]] = []

    def start(self) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tests.worker.finding", str(self.job), str(self.folder)]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        self.all.append(process)
        return process

    def ran(self) -> list[int]:
        """The processes that ran the finder, in their order."""
        file = self.folder / "ran"
        return list(map(int, file.read_text().split())) if file.exists() else []

    def go_on(self) -> None:
        (self.folder / "go").touch()

    def study(self) -> optuna.Study:
        url = f"sqlite:///{self.folder}/studies.db"
        return optuna.load_study(study_name="found", storage=Storage(url).optuna)


@pytest.fixture
def workers(job: Path, tmp_path: Path) -> Iterator[Workers]:
    started = Workers(job, tmp_path)
    yield started
    for process in started.all:
        process.kill()
        process.communicate()


def ran_once(study: optuna.Study) -> None:
    """Its finding is stored, and the entry that waited for it was tried, once."""
    record = study.user_attrs[attributes.LR_FIND]["learning_rate"]
    assert record["suggestion"] == record["used"] == 0.01
    assert [trial.state.name for trial in study.trials] == ["COMPLETE"] * 3
    first, *others = study.trials
    assert first.params == {"learning_rate": 0.01, "units": 8}
    assert first.user_attrs[attributes.LR_FIND_TIME] > 0
    assert all(attributes.LR_FIND_TIME not in trial.user_attrs for trial in others)


@pytest.mark.processes
def test_of_two_workers_started_at_once_one_runs_it(workers: Workers) -> None:
    both = [workers.start(), workers.start()]
    wait_until(lambda: bool(workers.ran()))
    wait_until(lambda: "waiting for it" in (workers.folder / "log").read_text())
    assert not workers.study().trials  # nobody starts a trial before
    assert [process.poll() for process in both] == [None, None]
    workers.go_on()
    assert [process.wait(120) for process in both] == [0, 0]
    assert len(workers.ran()) == 1
    ran_once(workers.study())


@pytest.mark.parametrize(
    ("sent", "code"), [(signal.SIGKILL, -9), (signal.SIGTERM, 143), (signal.SIGINT, 130)]
)
@pytest.mark.processes
def test_one_that_is_stopped_while_it_runs_blocks_nobody(
    workers: Workers, sent: signal.Signals, code: int
) -> None:
    first = workers.start()
    wait_until(lambda: bool(workers.ran()))
    second = workers.start()
    first.send_signal(sent)
    assert first.wait(120) == code
    wait_until(lambda: len(workers.ran()) == 2)  # long before the grace of 60 s is over
    workers.go_on()
    assert second.wait(120) == 0
    assert workers.ran() == [first.pid, second.pid]
    ran_once(workers.study())


def ensure(
    job: Path,
    folder: Path,
    study_changes: Callable[[optuna.Study], None],
    stop: Stop | None = None,
) -> float:
    """Have this process want the finder with a grace of 1 s; how many seconds it took."""
    checked = check(read_spec(job), folder / "weights")
    study, storage = join(checked, f"sqlite:///{folder}/studies.db")
    study_changes(study)
    started = time.monotonic()
    lr_find.ensure(checked, study, storage, stop or Stop(), Machine(threads=1), grace=1)
    return time.monotonic() - started


@pytest.fixture
def faked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """The stand-in, in this process; how often its finder ran."""
    module = stand_in(tmp_path)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    (tmp_path / "go").touch()
    return lambda: len((tmp_path / "ran").read_text().split()) if (tmp_path / "ran").exists() else 0


def test_another_machine_that_is_silent_for_the_grace_has_lost_it(
    job: Path, tmp_path: Path, faked: Callable[[], int]
) -> None:
    def claimed(study: optuna.Study) -> None:
        study.set_user_attr(lr_find.CLAIM, {"worker": ELSEWHERE, "count": 7})

    assert ensure(job, tmp_path, claimed) >= 1
    assert faked() == 1


def test_another_machine_that_gives_signs_of_life_is_waited_for(
    job: Path, tmp_path: Path, faked: Callable[[], int]
) -> None:
    def live(study: optuna.Study) -> None:
        for count in range(8):
            study.set_user_attr(lr_find.CLAIM, {"worker": ELSEWHERE, "count": count})
            time.sleep(0.4)  # the other machine's pace
        study.set_user_attr(attributes.LR_FIND, {"learning_rate": STORED})

    def claimed(study: optuna.Study) -> None:
        study.set_user_attr(lr_find.CLAIM, {"worker": ELSEWHERE, "count": -1})
        threading.Thread(target=live, args=(study,), daemon=True).start()

    assert ensure(job, tmp_path, claimed) >= 3
    assert faked() == 0


@pytest.mark.parametrize("early", [True, False])
def test_a_full_disk_ends_it_in_one_line(
    job: Path, tmp_path: Path, faked: Callable[[], int], early: bool
) -> None:
    """Whether it is full before the worker has the claim, or after."""
    stop = Stop()

    def full(study: optuna.Study) -> None:
        if early:
            stop.break_off("the disk of this pod is full")
        else:
            after_the_claim(study, lambda: stop.break_off("the disk of this pod is full"))

    with pytest.raises(DiskFullError, match="the disk of this pod is full"):
        ensure(job, tmp_path, full, stop)
    assert faked() == 0


def test_a_signal_before_it_begins_ends_it_quietly(
    job: Path, tmp_path: Path, faked: Callable[[], int]
) -> None:
    stop = Stop()

    def asked_to_stop() -> None:
        stop.requested = signal.SIGTERM

    ensure(job, tmp_path, lambda study: after_the_claim(study, asked_to_stop), stop)
    assert faked() == 0


def after_the_claim(study: optuna.Study, act: Callable[[], None]) -> None:
    """Call ``act`` once the study's finder has been claimed."""
    write = study.set_user_attr

    def claimed(name: str, value: object) -> None:
        write(name, value)
        if name == lr_find.CLAIM:
            act()

    study.__dict__["set_user_attr"] = claimed


def test_a_finder_that_finds_nothing_leaves_the_rate_to_the_sampler(
    job: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lr_find(context: object, names: object) -> dict[str, SimpleNamespace]:
        raise ValueError("the loss diverged\nat once")

    module = stand_in(tmp_path)
    module.__dict__["lr_find"] = lr_find
    monkeypatch.setitem(sys.modules, module.__name__, module)
    studies: list[optuna.Study] = []
    ensure(job, tmp_path, studies.append)
    record = studies[0].user_attrs[attributes.LR_FIND]["learning_rate"]
    assert record["error"] == "ValueError: the loss diverged at once"
    assert studies[0].trials[0].system_attrs["fixed_params"] == {"units": 8}


@pytest.mark.parametrize(
    ("error", "begin"),
    [
        (MemoryError(), "MemoryError: out of memory (with batch_size = "),
        (RuntimeError("CUDA out of memory."), "RuntimeError: CUDA out of memory. (with batch_size"),
        (IndexError("index 9 is out of range"), "IndexError: index 9 is out of range"),
    ],
    ids=["machine", "gpu", "index"],
)
def test_an_error_of_the_finder_is_stored_and_the_study_goes_on(
    job: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, begin: str
) -> None:
    def lr_find(context: object, names: object) -> dict[str, SimpleNamespace]:
        raise error

    module = stand_in(tmp_path)
    module.__dict__["lr_find"] = lr_find
    monkeypatch.setitem(sys.modules, module.__name__, module)
    studies: list[optuna.Study] = []
    ensure(job, tmp_path, studies.append)
    record = studies[0].user_attrs[attributes.LR_FIND]["learning_rate"]
    assert record["error"].startswith(begin)


def test_a_function_has_no_learning_rates(
    cli: Callable[..., Result], job: Path, tmp_path: Path
) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "objective.py").write_text("def train(trial, context):\n    return 1\n")
    (own / "study.toml").write_text(
        'name = "own"\nobjective = "objective.py:train"\ndirection = "minimize"\n'
        "[budget]\ntrials = 1\n"
    )
    result = cli("lr-find", own)
    assert (result.exit_code, result.stderr) == (
        2,
        f"hpo-job: {own}/study.toml: objective: the learning-rate finder knows the learning rates "
        "of shipped objectives only, found objective.py:train\n",
    )
    assert not (tmp_path / ".hpo").exists()
