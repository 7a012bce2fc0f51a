"""Trials that failed in a row: after how many a worker gives up, and what they have in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.trial import TrialState

from hpo_job.errors import plural
from hpo_job.worker.outcomes import OUT_OF_MEMORY, Outcome


@dataclass(frozen=True)
class Failure:
    """A trial whose objective raised."""

    number: int
    error: str
    params: dict[str, Any]
    memory: dict[str, Any] | None = None  # what decided on its memory, if that ran out


def in_a_row(
    failures: list[Failure],
    trial: optuna.Trial,
    outcome: Outcome,
    memory: Mapping[str, Any] | None = None,
) -> list[Failure]:
    """The failures since the last trial that succeeded; a broken-off trial changes nothing."""
    if outcome.error:
        exhausted = dict(memory or {}) if outcome.reason == OUT_OF_MEMORY else None
        return [*failures, Failure(trial.number, outcome.error, trial.params, exhausted)]
    return failures if outcome.state == TrialState.FAIL else []


def _to_exclude(failures: list[Failure]) -> str:
    """The values with which trials ran out of memory, and what to do about them."""
    names = dict.fromkeys(name for failure in failures for name in failure.memory or {})
    values = {
        name: sorted({failure.memory[name] for failure in failures if failure.memory}, key=_order)
        for name in names
    }
    text = "; ".join(f"{name} = {', '.join(map(str, each))}" for name, each in values.items())
    return f"they had {text}; exclude such values in [search_space], the largest first"


def _order(value: Any) -> tuple[bool, Any]:
    return isinstance(value, str), value


def in_common(failures: list[Failure]) -> str:
    """One line about failed trials: what their errors and their parameters share."""
    numbers = ", ".join(f"#{failure.number}" for failure in failures)
    if all(failure.memory for failure in failures):
        times = plural(len(failures), "trial", "trials in a row")
        return f"{times} failed ({numbers}), all out of memory: {_to_exclude(failures)}"
    errors = {failure.error for failure in failures}
    kinds = {error.partition(":")[0] for error in errors}
    if len(errors) == 1:
        shared = f"all with {errors.pop()}"
    elif len(kinds) == 1:
        shared = f"all with {kinds.pop()}, the last: {failures[-1].error}"
    else:
        shared = f"with {', '.join(sorted(kinds))}, the last: {failures[-1].error}"
    params = [
        f"{name} = {value}"
        for name, value in failures[0].params.items()
        if all(failure.params.get(name) == value for failure in failures)
    ]
    same = f"; all with {', '.join(params)}" if params and len(failures) > 1 else ""
    times = plural(len(failures), "trial", "trials in a row")
    return f"{times} failed ({numbers}), {shared}{same}"
