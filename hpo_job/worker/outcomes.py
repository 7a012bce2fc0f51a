"""How a trial ended: made of what its objective returned or raised, and recorded once."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from hpo_job.errors import HpoJobError
from hpo_job.objectives.context import Context
from hpo_job.trial import attributes
from hpo_job.trial.phases import measured_value
from hpo_job.trial.timings import surroundings
from hpo_job.worker import repeats

MAX_ERROR = 500  # characters of an error that are stored with its trial
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """How a trial ended, before it is recorded.

    ``attrs`` are stored with it, ``keep`` writes its model, which scored ``kept``.
    ``fatal`` is an error that no other trial of this worker would be spared.
    """

    state: TrialState
    values: tuple[float, ...] | None = None
    attrs: dict[str, Any] = field(default_factory=dict)
    keep: Callable[[Path], None] | None = None
    kept: tuple[float, ...] = ()
    reason: str | None = None
    error: str | None = None
    fatal: Exception | None = None


def of_trained(trained: repeats.Trained, objectives: int) -> Outcome:
    """COMPLETE with values that can be compared; FAIL with anything else."""
    values, kept = (_floats(value, objectives) for value in (trained.value, trained.kept))
    if values is None or kept is None:
        wanted = "a number" if objectives == 1 else f"{objectives} numbers"
        error = f"the objective returned {trained.value!r}, not {wanted}"
        return Outcome(TrialState.FAIL, reason="error", error=error[:MAX_ERROR])
    return Outcome(TrialState.COMPLETE, values, trained.attrs, trained.keep, kept)


def _floats(value: Any, count: int) -> tuple[float, ...] | None:
    """``value`` as so many numbers; None where it is anything else, or one is NaN."""
    try:
        numbers = tuple(map(float, value if count > 1 else [value]))
    except (TypeError, ValueError):
        return None
    return None if len(numbers) != count or any(map(math.isnan, numbers)) else numbers


def of_error(error: BaseException) -> Outcome:
    """FAIL with what an objective raised, in one line."""
    return Outcome(
        TrialState.FAIL,
        reason="out_of_memory" if _is_out_of_memory(error) else "error",
        error=_one_line(error),
        fatal=error if isinstance(error, HpoJobError) else None,
    )


def described(outcome: Outcome, context: Context, artifact: str | None) -> Outcome:
    """``outcome`` with all that is stored with its trial."""
    attrs: dict[str, Any] = {
        attributes.REASON: outcome.reason,
        attributes.ERROR: outcome.error,
        attributes.ARTIFACT: artifact,
        **outcome.attrs,
        **surroundings(),
        attributes.DEVICE_NAME: context.device_name,
        **context.timings.values(),
    }
    present = {name: value for name, value in attrs.items() if value is not None}
    return replace(outcome, attrs=present)


def record(study: optuna.Study, trial: optuna.Trial, outcome: Outcome) -> bool:
    """Write how ``trial`` ended, unless it was given away meanwhile: then its end is not ours."""
    try:
        for name, value in outcome.attrs.items():
            trial.set_user_attr(name, value)
        values: Sequence[float] | None = outcome.values
        told = study.tell(trial, values, outcome.state, skip_if_finished=True)
    except UpdateFinishedTrialError:
        told = None
    if told is None or told.state != outcome.state or outcome.reason == attributes.LOST:
        log.warning(
            "trial %d: result refused: no heartbeat for too long, so it was given away",
            trial.number,
        )
        return False
    log.info("trial %d %s %s", trial.number, told.state.name, _shown(told, outcome))
    return True


def _shown(told: FrozenTrial, outcome: Outcome) -> str:
    """What a line says of a trial that ended: its values, or why it has none."""
    if told.state == TrialState.COMPLETE:
        return " ".join(f"{value:.6g}" for value in told.values)
    if told.state == TrialState.FAIL:
        return outcome.error or outcome.reason or ""
    value, steps = measured_value(told), len(told.intermediate_values)
    after = f"after step {steps}" if steps else ""
    return after if value is None else f"{value:.6g} {after}"


def _is_out_of_memory(error: BaseException) -> bool:
    """Whether the device or the machine ran out of memory; torch is not imported to know it."""
    return isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"


def _one_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:MAX_ERROR]
