"""The states of running trials: saved, found by the next attempt, never a wrong one."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from optuna.trial import FrozenTrial, TrialState

from hpo_job.storage.database import Storage
from hpo_job.study.joining import create
from hpo_job.trial import attributes
from hpo_job.worker.loop import Machine, work
from hpo_job.worker.signals import Stop
from tests.quick import Quick

# Twenty epochs whose value depends on all of them; where a file says so, it is killed after one
EPOCHS = """
import os, signal, threading, time
from pathlib import Path

import numpy as np

def end(folder, epoch):
    order = folder / f"at-{epoch}"
    if order.exists():
        number = signal.Signals[order.read_text()]
        order.unlink()
        os.kill(os.getpid(), number)

def uploaded():
    for thread in threading.enumerate():
        if thread.name == "upload":
            thread.join()

def train(trial, context):
    folder = Path(__file__).parent
    state = context.resume() or {"epoch": 0, "weights": np.zeros(4)}
    weights = state["weights"]
    for epoch in range(state["epoch"], 20):
        weights = weights * 0.9 + context.params["x"] + epoch
        with (folder / "epochs").open("a") as log:
            print(trial.number, epoch, file=log)
        context.report(float(weights.sum()))
        uploaded()
        context.save(lambda: {"epoch": epoch + 1, "weights": weights})
        uploaded()  # so that a test knows what was saved
        end(folder, epoch)
        context.save(lambda: {"epoch": epoch + 1, "weights": weights})
    return float(weights.sum())
"""
ALWAYS = "[checkpoint]\nevery = 1e-9\n"


def undisturbed(x: float) -> float:
    weights = np.zeros(4)
    for epoch in range(20):
        weights = weights * 0.9 + x + epoch
    return float(weights.sum())


class Study(Quick):
    """A study of one trial, whose workers are forks that keep their states in ``store``."""

    def __init__(self, folder: Path, source: str = EPOCHS, **job: Any) -> None:
        super().__init__(folder, source, **{"budget": "trials = 1", "more": ALWAYS, **job})
        self.store, self.log = folder / "store", folder / "log"

    def end_at(self, epoch: int, number: str) -> None:
        (self.job / f"at-{epoch}").write_text(number)

    def start(self) -> int:
        """Start a worker; its process number."""
        if pid := os.fork():
            return pid
        try:
            logging.basicConfig(filename=self.log, level=logging.INFO, force=True)
            storage = Storage(self.url)
            study = create(self.checked, storage)
            stop, machine = Stop(), Machine(threads=1, artifacts=str(self.store))
            with stop.listening():
                work(self.checked, study, storage, stop, machine)
            os._exit(stop.exit_code)
        except BaseException as error:
            logging.critical("ended", exc_info=error)
        finally:
            os._exit(99)

    def run(self) -> int:
        """Run a worker to its end; its exit code, or minus the signal that killed it."""
        return os.waitstatus_to_exitcode(os.waitpid(self.start(), 0)[1])

    def epochs(self) -> list[list[int]]:
        """(trial, epoch) of each that was trained."""
        return [
            [*map(int, line.split())] for line in (self.job / "epochs").read_text().splitlines()
        ]

    def objects(self) -> set[str]:
        return {file.name for file in self.store.iterdir()} if self.store.exists() else set()

    @property
    def trials(self) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False)


@pytest.mark.parametrize("number", ["SIGKILL", "SIGTERM", "SIGINT"])
def test_a_trial_goes_on_where_it_was(tmp_path: Path, number: str) -> None:
    study = Study(tmp_path)
    study.end_at(6, number)
    assert study.run() == {"SIGKILL": -9, "SIGTERM": 143, "SIGINT": 130}[number]
    assert len(study.objects()) == 2  # the newest, and the one before
    assert study.run() == 0
    first, second = study.trials
    assert (first.state, second.state) == (TrialState.FAIL, TrialState.COMPLETE)
    assert study.epochs() == [*([0, epoch] for epoch in range(7)), *([1, e] for e in range(7, 20))]
    assert second.value == undisturbed(second.params["x"])
    assert list(second.intermediate_values) == list(range(20))
    assert {**second.intermediate_values, **first.intermediate_values} == second.intermediate_values
    attrs = second.user_attrs
    assert (attrs[attributes.RESUMED_FROM], attrs[attributes.RESUMED_AT]) == (0, 7)
    assert attrs[attributes.SAVED_SECONDS] > 0
    assert 0 <= attrs[attributes.LOST_SECONDS] < 10
    assert attrs[attributes.TOTAL_TIME] > attrs[attributes.SAVED_SECONDS]
    assert study.objects() == set()  # nobody continues a finished trial
    assert "trial 1 continues trial 0 after step 7" in study.log.read_text()


def test_many_attempts_are_one_training_and_none_of_them_counts_as_a_retry(tmp_path: Path) -> None:
    """Each saves some work, so the two retries of the budget are never used up."""
    study = Study(tmp_path)
    for epoch in (0, 3, 4, 9, 18):
        study.end_at(epoch, "SIGKILL")
        assert study.run() == -9
        assert len(study.objects()) <= 3  # and one that was being written
    assert study.run() == 0
    assert study.states() == {"COMPLETE": 1, "FAIL": 5}
    last = study.trials[-1]
    assert [epoch for _, epoch in study.epochs()] == list(range(20))
    assert last.value == undisturbed(last.params["x"])
    assert len({trial.params["x"] for trial in study.trials}) == 1
    assert study.objects() == set()


def test_a_function_that_saves_but_never_resumes_uses_up_its_retries(tmp_path: Path) -> None:
    study = Study(tmp_path, EPOCHS.replace("context.resume() or ", ""))
    for _ in range(4):
        study.end_at(2, "SIGKILL")
        assert study.run() == -9
    parameters = [trial.params["x"] for trial in study.trials]
    assert parameters == [*[parameters[0]] * 4, *parameters[4:]]
    study.end_at(2, "SIGKILL")
    assert study.run() == -9
    assert study.trials[-1].params["x"] != parameters[0]


def test_attempts_without_progress_use_up_the_retries(tmp_path: Path) -> None:
    source = """
    import os, signal, threading
    def train(trial, context):
        if context.resume() is None:
            context.save({})
            for thread in threading.enumerate():
                if thread.name == "upload":
                    thread.join()
        os.kill(os.getpid(), signal.SIGKILL)
    """
    study = Study(tmp_path, source)
    for _ in range(6):
        assert study.run() == -9
    parameters = [trial.params["x"] for trial in study.trials]
    assert parameters.count(parameters[0]) == 4  # one that saved something, and its two retries
    assert len(set(parameters)) > 1
