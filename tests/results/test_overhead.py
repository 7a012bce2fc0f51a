"""Where the workers' time went, and what of it the tool itself cost: exact figures."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState, create_trial

from hpo_job.results.overhead import overhead, overhead_text
from hpo_job.results.timings import FAILED, IDLE, OTHER, timings
from hpo_job.trial import attributes

NOON = datetime(2026, 1, 1, 12)


def study_of(*trials: tuple[float, float, dict[str, Any]]) -> optuna.Study:
    """A study of one worker's trials: from which to which second they ran, and attributes."""
    study = optuna.create_study()
    for begin, end, attrs in trials:
        failed = attributes.REASON in attrs
        trial = create_trial(
            state=TrialState.FAIL if failed else TrialState.COMPLETE,
            value=None if failed else 1.0,
            user_attrs={attributes.WORKER: {"host": "node", "pid": 7}, **attrs},
        )
        trial.datetime_start = NOON + timedelta(seconds=begin)
        trial.datetime_complete = NOON + timedelta(seconds=end)
        study.add_trial(trial)
    return study


def measured(
    lock: float, sampling: float, storage: float, recording: float, total: float
) -> dict[str, float]:
    return {
        attributes.LOCK_TIME: lock,
        attributes.SAMPLING_TIME: sampling,
        attributes.STORAGE_TIME: storage,
        attributes.RECORDING_TIME: recording,
        attributes.TOTAL_TIME: total,
    }


def test_what_the_database_took_is_what_is_neither_lock_nor_sampling() -> None:
    spent = overhead(
        study_of((0, 50, measured(1, 2, 10, 0, 50)), (50, 98, measured(3, 4, 10, 2, 48)))
    )
    assert spent is not None
    assert (spent.lock, spent.sampling, spent.trials) == (4, 6, 2)
    assert spent.sql == (10 - 1 - 2) + (10 - 3 - 4) + 2
    assert spent.total == 50 + 48 + 2  # a result is recorded after its trial's measurements
    assert spent.share == pytest.approx(0.22)


def test_it_is_said_in_percent_where_it_is_worth_a_word() -> None:
    assert overhead_text(study_of((0, 100, measured(1, 2, 10, 0, 100)))) == (
        "10.0% of the workers' time: lock 1.0%, sampling 2.0%, SQL 7.0%"
    )
    assert overhead_text(study_of((0, 100, measured(0.1, 0.2, 0.9, 0, 100)))) is None


def test_the_parts_of_the_time_add_up_and_what_is_useful_is_a_share_of_all() -> None:
    parts = {
        attributes.DATA_TIME: 10.0,
        attributes.TRAIN_TIME: 60.0,  # with the passes over the validation items
        attributes.VALIDATION_TIME: 20.0,
        attributes.EXECUTE_TIME: 5.0,
        attributes.STORAGE_TIME: 8.0,
    }
    failed = {attributes.REASON: "error"}
    result = timings(study_of((0, 100, parts), (120, 170, failed)))
    assert result.seconds == pytest.approx(
        {
            "data": 10,
            "learning-rate finder": 0,
            "training": 40,
            "validation": 20,
            "measuring speed": 5,
            "storage": 8,
            OTHER: 17,
            FAILED: 50,
            IDLE: 20,
        }
    )
    assert (result.total, result.workers) == (170, 1)
    assert result.useful == pytest.approx(65 / 170)


def test_a_worker_is_not_idle_while_another_of_its_trials_runs() -> None:
    """As of a process that ran two at a time: the second one ends within the first."""
    result = timings(study_of((0, 100, {}), (10, 20, {}), (130, 140, {})))
    assert result.seconds[IDLE] == 30
