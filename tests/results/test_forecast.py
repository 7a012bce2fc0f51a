"""When a study will end: from the trials and the time that are left, at the speed so far."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState, create_trial

from hpo_job.results.forecast import Forecast, forecast, forecast_lines
from hpo_job.trial import attributes

NOON = datetime(2026, 1, 1, 12)
Study = optuna.Study


def study_of(minutes: list[tuple[float, float, TrialState]], **budget: Any) -> Study:
    """A study with these trials: from which to which minute before noon, and how they ended."""
    study = optuna.create_study()
    study.set_user_attr(attributes.SPEC, {"objective": "f.py:train", "budget": budget})
    for begin, end, state in minutes:
        trial = create_trial(state=state, value=1.0 if state == TrialState.COMPLETE else None)
        trial.datetime_start = NOON - timedelta(minutes=begin)
        trial.datetime_complete = NOON - timedelta(minutes=end)
        study.add_trial(trial)
    return study


# Three trials by two workers in 30 minutes of work, a night before the last of them
TRIALS = [
    (640.0, 620.0, TrialState.COMPLETE),
    (640.0, 630.0, TrialState.PRUNED),
    (10.0, 0.0, TrialState.COMPLETE),
]


def test_trials_that_are_left_take_as_long_as_those_before() -> None:
    expected = forecast(study_of(TRIALS, trials=12), NOON)
    assert expected.rate == pytest.approx(3 / 1800)
    assert expected.left == pytest.approx(9 * 600)
    assert expected.end == NOON + timedelta(minutes=90)


@pytest.mark.parametrize(
    ("budget", "minutes"),
    [
        ({"timeout": 3600.0}, 30),
        ({"trials": 12, "timeout": 3600.0}, 30),  # whichever is used up first
        ({"trials": 4, "timeout": 3600.0}, 10),
    ],
)
def test_time_that_is_left_is_working_time(budget: dict[str, Any], minutes: int) -> None:
    expected = forecast(study_of(TRIALS, **budget), NOON)
    assert expected.left == pytest.approx(60 * minutes)
    assert expected.end == NOON + timedelta(minutes=minutes)


@pytest.mark.parametrize("budget", [{}, {"trials": 3}, {"timeout": 1800.0}, {"trials": 2}])
def test_without_an_end_or_after_it_only_the_speed_is_known(budget: dict[str, Any]) -> None:
    expected = forecast(study_of(TRIALS, **budget), NOON)
    assert expected.rate == pytest.approx(3 / 1800)
    assert (expected.left, expected.end) == (None, None)


def test_a_failed_trial_is_no_progress_and_before_the_first_nothing_is_known() -> None:
    failed = study_of([(10.0, 0.0, TrialState.FAIL)], trials=12)
    assert forecast(failed, NOON) == Forecast()
    assert list(forecast_lines(failed, NOON)) == []


def test_the_lines_are_in_trials_an_hour_and_by_the_clock() -> None:
    assert list(forecast_lines(study_of(TRIALS, trials=12), NOON)) == [
        "rate      6 trials an hour",
        "end       expected at 13:30, in 1h30m",
    ]
