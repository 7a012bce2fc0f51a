"""The states of running trials: saved, found by the next attempt, never a wrong one."""

from __future__ import annotations

from pathlib import Path

import pytest
from optuna.trial import TrialState

from hpo_job.trial import attributes
from tests.worker.attempts import EPOCHS, Study, undisturbed

pytestmark = pytest.mark.processes


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
