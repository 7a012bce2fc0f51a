"""How a trial ended: what its objective returned or raised, and its one record of it."""

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
from hpo_job.storage.database import Storage
from hpo_job.study.recovery import trial_id
from hpo_job.trial import attributes
from hpo_job.trial.phases import measured_value
from hpo_job.trial.timings import surroundings
from hpo_job.worker import repeats
from hpo_job.worker.memory import is_out_of_memory

OUT_OF_MEMORY = "out_of_memory"  # the reason of a trial that failed
PRUNED = TrialState.PRUNED
MAX_ERROR = 500  # characters of an error that are stored with its trial
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """How a trial ended, before it is recorded.

    Attributes:
        state: COMPLETE, PRUNED or FAIL.
        values: one for each objective, if COMPLETE.
        attrs: the user attributes that are stored with it.
        keep: writes its model into a folder.
        kept: the values of that model; with repeats they differ from ``values``, the means.
        reason: why it failed, in one word: see `attributes.REASON`.
        error: what its objective raised, in one line.
        fatal: an error that every other trial of this worker would meet too.
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
    """``value`` as ``count`` numbers; None if it is anything else, or one is NaN."""
    try:
        numbers = tuple(map(float, value if count > 1 else [value]))
    except (TypeError, ValueError):
        return None
    return None if len(numbers) != count or any(map(math.isnan, numbers)) else numbers


def of_error(error: BaseException) -> Outcome:
    """FAIL, with what an objective raised as one line."""
    return Outcome(
        TrialState.FAIL,
        reason=OUT_OF_MEMORY if is_out_of_memory(error) else "error",
        error=_one_line(error),
        fatal=error if isinstance(error, HpoJobError) else None,
    )


def described(outcome: Outcome, context: Context, artifact: str | None) -> Outcome:
    """``outcome`` with all attributes that are stored with its trial."""
    attrs: dict[str, Any] = {
        attributes.REASON: outcome.reason,
        attributes.ERROR: outcome.error,
        attributes.ARTIFACT: artifact,
        attributes.PAUSED_AT: context.history.paused_at if outcome.state == PRUNED else None,
        **outcome.attrs,
        **surroundings(),
        attributes.DEVICE_NAME: context.device_name,
        attributes.GPU: context.gpu,
        **context.timings.values(),
    }
    present = {name: value for name, value in attrs.items() if value is not None}
    return replace(outcome, attrs=present)


def record(study: optuna.Study, storage: Storage, trial: optuna.Trial, outcome: Outcome) -> bool:
    """Write how ``trial`` ended, and log it.

    Returns:
        Whether it was written. It is not if the trial was taken for lost meanwhile: then it has
        ended as FAIL, and its parameters are run again.
    """
    try:
        storage.optuna.set_trial_user_attrs(trial_id(study, trial.number, storage), outcome.attrs)
        values: Sequence[float] | None = outcome.values
        ended = study.tell(trial, values, outcome.state, skip_if_finished=True)
    except UpdateFinishedTrialError:
        ended = None
    if ended is None or ended.state != outcome.state or outcome.reason == attributes.LOST:
        log.warning(
            "trial %d: its result is not recorded: it had no heartbeat for longer than the grace, "
            "so it counts as lost and is run again",
            trial.number,
        )
        return False
    if outcome.error is None:  # an error was logged where it was raised
        log.info("trial %d %s %s", trial.number, ended.state.name, _result(ended, outcome))
    return True


def _result(trial: FrozenTrial, outcome: Outcome) -> str:
    """What the log says of a trial that ended: its values, or why it has none."""
    if trial.state == TrialState.COMPLETE:
        return " ".join(f"{value:.6g}" for value in trial.values)
    if trial.state == TrialState.FAIL:
        return outcome.reason or ""
    value, steps = measured_value(trial), len(trial.intermediate_values)
    after = f"after step {steps}" if steps else ""
    return after if value is None else f"{value:.6g} {after}"


def _one_line(error: BaseException) -> str:
    line = f"{type(error).__name__}: {' '.join(str(error).split())}"[:MAX_ERROR]
    # it may name a file whose name is not text, which no database and no table can hold
    return line.encode("utf-8", "replace").decode("utf-8")
