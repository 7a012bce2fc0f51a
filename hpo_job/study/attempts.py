"""The attempts at one set of parameters: a trial, the trial that it runs again, and so on back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from optuna.trial import FrozenTrial

from hpo_job.study.promotion import is_paused
from hpo_job.trial import attributes
from hpo_job.trial.clock import running_time

KEPT = 2  # states of a trial: the newest, and the one before in case that is damaged


@dataclass(frozen=True)
class Checkpoint:
    """A saved state, as it is noted with the trial that saved it.

    Attributes:
        name: in the artifact store; no other object there ever has it.
        size: in bytes.
        sha256: of the file.
        seconds: of work that it holds, those of earlier attempts included.
    """

    name: str
    size: int
    sha256: str
    seconds: float


def checkpoints_attribute(
    kept: Sequence[Checkpoint], upcoming: str, old: Sequence[str]
) -> dict[str, Any]:
    """The value of a trial's `attributes.CHECKPOINTS`.

    Args:
        kept: the complete ones, the newest first.
        upcoming: the name of the next one. It is stored before the object is written, so that
            what a killed worker left half-written can be found and removed.
        old: the names of those that are removed next, for the same reason.
    """
    return {"kept": [asdict(each) for each in kept], "next": upcoming, "old": list(old)}


def checkpoints(trial: FrozenTrial) -> list[Checkpoint]:
    """The complete checkpoints of ``trial``, the newest first; it may run still."""
    stored = trial.user_attrs.get(attributes.CHECKPOINTS)
    kept = stored.get("kept") if isinstance(stored, dict) else None
    return [Checkpoint(**each) for each in kept or ()]


def object_names(trial: FrozenTrial) -> list[str]:
    """The names of all checkpoints that may be in the store, the one being written included."""
    stored = trial.user_attrs.get(attributes.CHECKPOINTS)
    if not isinstance(stored, dict):
        return []
    others = [stored.get("next"), *stored.get("old", ())]
    return [*(each.name for each in checkpoints(trial)), *(str(name) for name in others if name)]


def retried(trial: FrozenTrial, trials: Sequence[FrozenTrial]) -> FrozenTrial | None:
    """The trial that ``trial`` runs again, if any.

    One that was copied in from another study may name a trial that is not in this one.
    """
    number = trial.user_attrs.get(attributes.RETRY_OF)
    return trials[number] if isinstance(number, int) and 0 <= number < trial.number else None


def earlier(trial: FrozenTrial, trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """The attempts before ``trial``, the latest first."""
    attempts: list[FrozenTrial] = []
    attempt = retried(trial, trials)
    while attempt is not None:
        attempts.append(attempt)
        attempt = retried(attempt, trials)
    return attempts


def stored_states(trial: FrozenTrial, trials: Sequence[FrozenTrial]) -> list[Checkpoint]:
    """The states in the store from which ``trial``, or the attempt after it, would go on.

    Those of earlier attempts stay only until the trial has as many as are kept.

    Args:
        trial: the last attempt at its parameters.
        trials: all of the study.
    """
    states: list[Checkpoint] = []
    for attempt in (trial, *earlier(trial, trials)):
        own = checkpoints(attempt)
        states += own[:1] if is_paused(attempt) else own
        if own and (is_paused(attempt) or attributes.RESUMED_FROM not in attempt.user_attrs):
            break  # it removed those before
    return states[:KEPT]


def work_before(attempts: Sequence[FrozenTrial]) -> float:
    """The seconds of work that a trial could have had behind it, if no attempt had lost any.

    An attempt that ended before it began to train has counted nothing as lost.

    Args:
        attempts: those before the trial, the latest first.
    """
    seconds = 0.0
    for attempt in attempts:
        seconds += work(attempt)
        if attributes.LOST_SECONDS in attempt.user_attrs:
            break  # what was lost before it is counted there
    return seconds


def work(trial: FrozenTrial) -> float:
    """The seconds of work that a finished attempt had behind it, with those that it continued.

    Of a lost one it is more than that by up to the grace: nobody knows when it ended.
    """
    return saved_work(trial) + running_time(trial)


def saved_work(trial: FrozenTrial) -> float:
    """The seconds of work that ``trial`` continued; 0 where it began at the beginning."""
    return float(trial.user_attrs.get(attributes.SAVED_SECONDS) or 0.0)


def made_progress(trial: FrozenTrial, before: Sequence[FrozenTrial]) -> bool:
    """Whether ``trial`` saved more work than the attempts ``before`` it.

    One that began at the beginning although there was something to continue made none: its
    objective may save states without ever continuing one, and would be run again for ever.
    """
    if saved_work(trial) == 0.0 and any(map(checkpoints, before)):
        return False
    return any(each.seconds > saved_work(trial) for each in checkpoints(trial))
