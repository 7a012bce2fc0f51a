"""Workers see each other: this storage, Optuna's own, and Optuna's command line."""

import os
import subprocess
import sys
from datetime import datetime
from functools import partial
from pathlib import Path

import optuna
import pytest
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.trial import TrialState

from hpo_job.storage import tables, trial_rows
from hpo_job.storage.mysql import MySQLStorage
from hpo_job.storage.optuna_private import LazyTrial
from tests.quick import wait_until


def study_in(storage: optuna.storages.BaseStorage) -> optuna.Study:
    return optuna.create_study(storage=storage, study_name="shared", load_if_exists=True)


def test_stock_reads_what_this_storage_wrote(url: str, storage: MySQLStorage) -> None:
    study = study_in(storage)
    for _ in range(3):
        trial = study.ask()
        x = trial.suggest_float("x", 0, 1)
        trial.suggest_categorical("c", ["a", "b"])
        trial.report(float("nan"), 1)
        trial.report(x, 2)
        trial.set_user_attr("note", {"a": [1, None]})
        study.tell(trial, x)
    stock = optuna.load_study(study_name="shared", storage=url).trials
    mine = study.trials
    assert [t.params for t in stock] == [t.params for t in mine]
    assert [t.user_attrs for t in stock] == [t.user_attrs for t in mine]
    assert [t.values for t in stock] == [t.values for t in mine]
    assert [t.intermediate_values[2] for t in stock] == [t.intermediate_values[2] for t in mine]
    for theirs, ours in zip(stock, mine, strict=True):
        assert apart(theirs.datetime_start, ours.datetime_start) <= 1
        assert apart(theirs.datetime_complete, ours.datetime_complete) <= 2


def apart(one: datetime | None, other: datetime | None) -> float:
    assert one is not None
    assert other is not None
    return abs((one - other).total_seconds())


def test_this_storage_sees_each_step_of_a_stock_worker(url: str, storage: MySQLStorage) -> None:
    stock = RDBStorage(url)
    theirs, mine = study_in(stock), study_in(storage)
    trial = theirs.ask()
    assert mine.get_trials(deepcopy=False)[0].state == TrialState.RUNNING
    x = trial.suggest_float("x", 0, 1)
    assert mine.get_trials(deepcopy=False)[0].params == {"x": x}
    trial.report(0.25, 1)
    assert mine.get_trials(deepcopy=False)[0].intermediate_values == {1: 0.25}
    y = trial.suggest_float("y", 0, 1)
    trial.report(0.5, 2)
    seen = mine.get_trials(deepcopy=False)[0]
    assert seen.params == {"x": x, "y": y}
    assert seen.intermediate_values == {1: 0.25, 2: 0.5}
    theirs.tell(trial, 3.0)
    assert mine.get_trials(deepcopy=False)[0].value == 3.0
    theirs.enqueue_trial({"x": 0.125})
    assert mine.ask().suggest_float("x", 0, 1) == 0.125


def test_a_running_trials_contents_are_frozen_when_read(url: str, storage: MySQLStorage) -> None:
    other = MySQLStorage(url)
    mine, theirs = study_in(storage), study_in(other)
    trial = theirs.ask()
    trial.suggest_float("x", 0, 1)
    other.flush()
    before = mine.get_trials(deepcopy=False)[0]
    assert isinstance(before, LazyTrial)
    assert list(before.params) == ["x"]
    trial.suggest_float("y", 0, 1)
    other.flush()
    after = mine.get_trials(deepcopy=False)[0]
    assert list(before.params) == ["x"]
    assert list(after.params) == ["x", "y"]
    theirs.tell(trial, 1.0)
    # Read for the first time after the trial has finished and been refreshed away.
    assert mine.get_trials(deepcopy=False)[0].state == TrialState.COMPLETE
    assert after.intermediate_values == {}


def test_a_late_report_and_a_late_tell_are_refused(url: str, storage: MySQLStorage) -> None:
    study = study_in(storage)
    reaper = MySQLStorage(url)
    trials = [study.ask() for _ in range(3)]
    for trial in trials:
        trial.suggest_float("x", 0, 1)
        reaper.set_trial_state_values(trial._trial_id, TrialState.FAIL)
    with pytest.raises(UpdateFinishedTrialError):
        trials[0].report(0.5, 1)
    with pytest.raises(UpdateFinishedTrialError):
        study.tell(trials[1], 0.5)
    with pytest.raises(UpdateFinishedTrialError):
        storage.set_trial_state_values(trials[2]._trial_id, TrialState.COMPLETE, [0.5])
    for seen in optuna.load_study(study_name="shared", storage=url).trials:
        assert seen.state == TrialState.FAIL
        assert not seen.values and not seen.intermediate_values and not seen.params


def test_values_of_a_tell_that_was_cut_short_do_not_stay(url: str, storage: MySQLStorage) -> None:
    study = study_in(storage)
    trial = study.ask()
    values = trial_rows.value_rows([1.0])
    storage._writer.write(trial._trial_id, tables.VALUE, values)  # then it died
    MySQLStorage(url).set_trial_state_values(trial._trial_id, TrialState.FAIL)
    assert optuna.load_study(study_name="shared", storage=url).trials[0].values is None


def test_buffered_writes_reach_the_server_when_the_worker_goes_quiet(
    url: str, storage: MySQLStorage
) -> None:
    trial = study_in(storage).ask()
    trial.suggest_float("x", 0, 1)
    trial.set_user_attr("worker", "w")
    wait_until(lambda: storage._connection._raw is None)  # the connection was given back
    seen = optuna.load_study(study_name="shared", storage=url).trials[0]
    assert list(seen.params) == ["x"] and seen.user_attrs == {"worker": "w"}
    trial.suggest_float("y", 0, 1)  # buffered while there is no connection
    read = partial(optuna.load_study, study_name="shared", storage=url)
    wait_until(lambda: list(read().trials[0].params) == ["x", "y"])


def test_an_attribute_that_does_not_fit_is_refused_at_once(storage: MySQLStorage) -> None:
    study = study_in(storage)
    trial = study.ask()
    with pytest.raises(ValueError, match="at most"):
        trial.set_user_attr("long", "x" * 70000)
    study.tell(trial, 1.0)


@pytest.mark.slow
def test_the_command_line_of_optuna_opens_the_study(url: str, storage: MySQLStorage) -> None:
    study = study_in(storage)
    study.optimize(lambda t: t.suggest_float("x", 0, 1), n_trials=2)
    program = Path(sys.executable).with_name("optuna")
    done = subprocess.run(
        [program, "best-trial", "--study-name", "shared", "--storage", url, "-f", "json"],
        capture_output=True,
        text=True,
        env=os.environ,
    )
    assert done.returncode == 0, done.stderr
    assert '"number"' in done.stdout
