"""The quick reader of a whole study: what it reads is what Optuna's own storage reads."""

from __future__ import annotations

import gc
import math

import optuna
import pytest
from optuna.storages import RDBStorage
from optuna.trial import TrialState, create_trial

from hpo_job.storage.database import Storage
from tests import synthetic
from tests.results.test_results import ask


def both(storage: Storage, name: str) -> tuple[list[optuna.trial.FrozenTrial], ...]:
    """A study's trials as Optuna reads them, and as a process that comes new to it does."""
    engine = storage.optuna.engine  # type: ignore[union-attr]
    number = storage.study_id(name)
    theirs = RDBStorage(str(engine.url)).get_all_trials(number)
    return theirs, Storage(str(engine.url)).optuna.get_all_trials(number)


def test_trials_of_every_kind_are_read_alike(storage: Storage) -> None:
    study = synthetic.study(synthetic.trials(30), storage=storage.optuna)
    for value in (math.inf, -math.inf):
        study.add_trial(
            create_trial(value=value, intermediate_values={0: math.nan, 2: math.inf, 1: -1e300})
        )
    study.enqueue_trial({"epochs": 3}, user_attrs={"note": "…", "table": {"a": [1, None]}})
    study.enqueue_trial({"epochs": 4})
    running = ask(study)
    running.suggest_int("epochs", 1, 10)
    running.report(0.5, 3)
    other = synthetic.study(synthetic.trials(3), "other", storage=storage.optuna)
    assert len(other.trials) == 3
    theirs, ours = both(storage, "synthetic")
    assert [trial.number for trial in ours] == list(range(34))
    assert {trial.state for trial in ours} == set(TrialState)
    for one, other_one in zip(ours, theirs, strict=True):
        for each in (one, other_one):  # nan equals nothing, itself neither
            reports = each.intermediate_values
            each.intermediate_values = {k: repr(v) for k, v in reports.items()}  # type: ignore[misc]
        assert one == other_one


def test_several_objectives_are_read_alike(storage: Storage) -> None:
    synthetic.several_objectives(30, storage=storage.optuna)
    theirs, ours = both(storage, "several")
    assert ours == theirs
    assert all(len(trial.values) == 2 for trial in ours)


def test_a_study_without_trials(storage: Storage) -> None:
    synthetic.study(storage=storage.optuna)
    assert both(storage, "synthetic") == ([], [])


def test_what_is_new_is_seen(storage: Storage) -> None:
    study = synthetic.study(synthetic.trials(5), storage=storage.optuna)
    assert len(study.get_trials(deepcopy=False)) == 5
    trial = ask(study)
    trial.report(0.25, 1)
    assert study.get_trials(deepcopy=False)[5].intermediate_values == {1: 0.25}
    study.tell(trial, 0.5)
    assert study.get_trials(deepcopy=False)[5].value == 0.5


def test_a_study_that_is_not_there(storage: Storage) -> None:
    with pytest.raises(KeyError):
        storage.optuna.get_all_trials(99)


def test_the_garbage_collector_is_as_it_was(storage: Storage) -> None:
    synthetic.study(synthetic.trials(5), storage=storage.optuna)
    for enabled in (False, True):
        (gc.enable if enabled else gc.disable)()
        try:
            both(storage, "synthetic")
            assert gc.isenabled() is enabled
        finally:
            gc.enable()
