"""All trials of a study as the page's table has them: plain JSON values, columns with a kind."""

from __future__ import annotations

import math
from typing import Any

import optuna
from optuna.trial import FrozenTrial

from hpo_job.results import metric_names, seconds
from hpo_job.results.formatting import plain
from hpo_job.results.trials import (
    broken_constraints,
    is_multi_objective,
    trials_of,
    worker_name,
)
from hpo_job.trial import attributes
from hpo_job.trial.counting import infeasible
from hpo_job.trial.phases import measured_values

# Attributes that another column says already, or that are no cell
_ELSEWHERE = {
    attributes.WORKER,
    "host",
    "pod",
    attributes.PHASES,
    attributes.ERROR,
    attributes.REASON,
    attributes.RETRY_OF,
}

EXACT = 2**53  # browsers read larger integers as the nearest float
_INFINITE = ("inf", "-inf")  # JSON has no number for them


def columns_and_rows(study: optuna.Study) -> tuple[list[dict[str, Any]], list[list[Any]]]:
    """The columns, and the cells of each trial.

    Returns:
        Columns with a ``name``, whether each is a ``number`` and one of the study's ``value``s,
        and its ``group``: empty for those that are always visible, ``attribute`` for those that
        a click shows. And rows: the value of a trial that failed is null, an infinite number is a
        string.
    """
    trials = trials_of(study)
    params = list(dict.fromkeys(name for trial in trials for name in trial.params))
    attrs = sorted(
        {
            name
            for trial in trials
            for name, cell in trial.user_attrs.items()
            if name not in _ELSEWHERE and not isinstance(cell, dict | list)
        }
    )
    first = [name for name in (attributes.EXECUTE_TIME,) if name in attrs]
    attrs = [name for name in attrs if name not in first]
    rows = [_row(study, trial, params, first, attrs) for trial in trials]
    metrics = metric_names(study)
    names = ["trial", "state", *metrics, "duration", *first, *params, "note", "worker", *attrs]
    hidden = {"worker", *attrs} - set(params)
    if not any(map(_note, trials)):
        hidden.add("note")
    columns = [
        {
            "name": name,
            "number": _numbers([row[i] for row in rows]),
            "value": 2 <= i < 2 + len(metrics),
            "group": "attribute" if name in hidden else "",
        }
        for i, name in enumerate(names)
    ]
    return columns, rows


def _row(
    study: optuna.Study, trial: FrozenTrial, params: list[str], first: list[str], attrs: list[str]
) -> list[Any]:
    values: list[Any] = measured_values(trial)
    if is_multi_objective(study):  # of a trial that is not COMPLETE, Optuna keeps none
        values = list(trial.values or [None] * len(study.directions))
    took = round(seconds(trial), 3) if trial.datetime_start else None
    cells = [
        trial.number,
        trial.state.name,
        *values,
        took,
        *(trial.user_attrs.get(name) for name in first),
        *(_param(trial, name) for name in params),
        _note(trial),
        worker_name(trial),
        *(trial.user_attrs.get(name) for name in attrs),
    ]
    return list(map(_cell, cells))


def _param(trial: FrozenTrial, name: str) -> Any:
    """A parameter of a trial: None where it has none, which as a choice is a word."""
    return plain(None) if trial.params.get(name, 0) is None else trial.params.get(name)


def _note(trial: FrozenTrial) -> str | None:
    reason = trial.user_attrs.get(attributes.ERROR) or trial.user_attrs.get(attributes.REASON)
    retry = trial.user_attrs.get(attributes.RETRY_OF)
    parts = [str(reason)] if reason else []
    if infeasible(trial):
        parts.append(broken_constraints(trial))
    if retry is not None:
        parts.append(f"retry of #{retry}")
    return "; ".join(parts) or None


def _cell(cell: Any) -> Any:
    if cell is None:
        return None
    if isinstance(cell, int) and not isinstance(cell, bool):
        return cell if abs(cell) <= EXACT else str(cell)
    if isinstance(cell, float):
        if math.isnan(cell):
            return None
        return cell if math.isfinite(cell) else str(cell)  # "inf", "-inf"
    return plain(cell)


def _numbers(cells: list[Any]) -> bool:
    held = [cell for cell in cells if cell is not None]
    return bool(held) and all(isinstance(cell, int | float) or cell in _INFINITE for cell in held)
