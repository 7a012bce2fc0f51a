"""What the attempts at one set of parameters have saved, and how often they may go on."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial

from hpo_job.study.attempts import (
    Checkpoint,
    checkpoints_attribute,
    earlier,
    made_progress,
    object_names,
    stored_states,
    work_before,
)
from hpo_job.study.recovery import continuable
from hpo_job.trial import attributes

DAY = datetime(2026, 1, 1)


def saved(*seconds: float, upcoming: str = "", old: tuple[str, ...] = ()) -> dict[str, Any]:
    """The attribute of states that hold so many seconds of work, the newest first."""
    states = [Checkpoint(f"state-{each:g}", 1, "0", each) for each in seconds]
    return {attributes.CHECKPOINTS: checkpoints_attribute(states, upcoming, old)}


def attempts(*attrs: dict[str, Any], reason: str = attributes.LOST) -> list[FrozenTrial]:
    """Trials of ten seconds, each of which runs the one before again; the last one first."""
    trials = []
    for number, each in enumerate(attrs):
        trial = create_trial(
            state=TrialState.FAIL,
            user_attrs={
                attributes.REASON: reason,
                **({attributes.RETRY_OF: number - 1} if number else {}),
                **each,
            },
        )
        trial.number = number
        trial.datetime_start, trial.datetime_complete = DAY, DAY + timedelta(seconds=10)
        trials.append(trial)
    return trials[::-1]


def names(states: list[Checkpoint]) -> list[str]:
    return [state.name for state in states]


def test_an_attempt_that_saved_more_than_it_continued_has_made_progress() -> None:
    first, *_ = attempts(saved(5.0))
    assert made_progress(first, [])
    second, *before = attempts(saved(5.0), {attributes.SAVED_SECONDS: 5.0, **saved(8.0, 5.0)})
    assert made_progress(second, before)


@pytest.mark.parametrize(
    ("before", "attrs"),
    [
        ({}, {}),  # nothing was saved
        (saved(5.0), {attributes.SAVED_SECONDS: 5.0, **saved(5.0)}),  # the same once more
        (saved(5.0), saved(8.0)),  # it began at the beginning, and saves what it never continues
    ],
)
def test_repeating_what_was_saved_before_is_no_progress(
    before: dict[str, Any], attrs: dict[str, Any]
) -> None:
    trial, *rest = attempts(before, attrs)
    assert not made_progress(trial, rest)


@pytest.mark.parametrize(
    ("attrs", "goes_on"),
    [
        ([{}, {}], True),
        ([{}, {}, {}], False),  # as often as the budget allows
        ([{}, {}, saved(5.0)], True),  # counted anew from an attempt that saved its work
        ([saved(5.0), saved(8.0), saved(9.0)], True),
        ([saved(5.0), saved(8.0), saved(9.0), saved(9.5)], False),  # none of them continues
    ],
)
def test_attempts_without_progress_use_up_the_retries(
    attrs: list[dict[str, Any]], goes_on: bool
) -> None:
    trials = attempts(*attrs)[::-1]
    needed = set(range(len(trials))) if goes_on else set()
    assert continuable(trials, retries=2) == needed
    interrupted = attempts(*attrs, reason=attributes.INTERRUPTED)[::-1]
    assert continuable(interrupted, retries=2) == set(range(len(trials)))


def test_an_attempt_is_traced_back_to_the_first() -> None:
    last, *before = attempts({}, {}, {})
    assert [each.number for each in earlier(last, [*before[::-1], last])] == [1, 0]


def test_what_could_be_continued_is_the_newest_of_all_attempts() -> None:
    trials = attempts(saved(5.0, 3.0), {**saved(8.0), attributes.RESUMED_FROM: 0})[::-1]
    assert names(stored_states(trials[1], trials)) == ["state-8", "state-5"]


def test_an_attempt_that_began_at_the_beginning_has_removed_the_states_before() -> None:
    trials = attempts(saved(5.0, 3.0), saved(2.0))[::-1]
    assert names(stored_states(trials[1], trials)) == ["state-2"]


def test_a_paused_trial_keeps_its_newest_state_only() -> None:
    (paused,) = attempts(saved(8.0, 5.0) | {attributes.PAUSED_AT: 1})
    paused.state = TrialState.PRUNED
    assert names(stored_states(paused, [paused])) == ["state-8"]


def test_what_was_lost_before_is_counted_once() -> None:
    """An attempt that has counted what was lost before it ends the count."""
    assert work_before(attempts({}, {})) == 20
    assert work_before(attempts({}, {attributes.LOST_SECONDS: 10.0})) == 10
    assert work_before(attempts({}, {attributes.SAVED_SECONDS: 4.0})) == 24


def test_objects_that_are_being_written_or_removed_are_named_too() -> None:
    (trial,) = attempts(saved(8.0, 5.0, upcoming="next", old=("state-3",)))
    assert object_names(trial) == ["state-8", "state-5", "next", "state-3"]
    trial.user_attrs[attributes.CHECKPOINTS] = "written by somebody else"
    assert object_names(trial) == []
