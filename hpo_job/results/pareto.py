"""A Pareto front over any columns, after the fact: also of a study with one objective."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
import pandas as pd

from hpo_job.errors import QueryError
from hpo_job.results.frames import frame, value_columns
from hpo_job.results.query import column
from hpo_job.results.trials import (
    attribute,
    is_multi_objective,
    maximizes,
    metric_names,
    trials_of,
)
from hpo_job.trial.attributes import EXECUTE_TIME
from hpo_job.trial.counting import counted, infeasible

_WAYS = {"max": False, "maximize": False, "min": True, "minimize": True}


def names_of_values(study: optuna.Study) -> dict[str, str]:
    """By metric name the column of its values; ``value`` is the first of several, too."""
    columns = value_columns(study)
    return {"value": columns[0], **dict(zip(metric_names(study), columns, strict=True))}


def pareto(study: optuna.Study, targets: Sequence[str]) -> pd.DataFrame:
    """The trials that no other beats in all ``targets``, best first by the first target.

    Args:
        study: any study; only its trials that count are compared.
        targets: columns such as ``value`` or ``user_attrs_execute_time``, or these without their
            prefix. Values have the study's direction; of anything else less is better, unless it
            is written ``name:max``. Trials that lack one of them are left out.

    Returns:
        Rows of `frame`.

    Raises:
        QueryError: there is no such column.
    """
    return _front(study, frame(study), targets)


def _front(study: optuna.Study, table: pd.DataFrame, targets: Sequence[str]) -> pd.DataFrame:
    chosen = directions(study, table, targets)
    numbers = numeric(_counted(study, table), chosen)
    signed = numbers * [1 if least else -1 for least in chosen.values()]
    on_front = [not _beaten(signed, each) for each in signed.to_numpy()]
    kept = signed[np.array(on_front, dtype=bool)].sort_values(list(signed.columns), kind="stable")
    return table.loc[kept.index]


@dataclass(frozen=True)
class ParetoAxes:
    """Two columns against each other: value and speed, or the first two objectives.

    Args:
        points: all trials that count and have both, indexed by number, with the columns ``x`` and
            ``y``.
        front: those of them that no other beats.
        infeasible: the trials that do not count because they break a constraint.
        x: the name of the horizontal axis.
        y: the name of the vertical axis.
    """

    points: pd.DataFrame
    front: pd.DataFrame
    infeasible: pd.DataFrame
    x: str
    y: str


def pareto_axes(study: optuna.Study) -> ParetoAxes | None:
    """What a Pareto front of any study is first drawn over; None of fewer than two trials.

    Speed is ``execute_time``, or where no trial measured that, the duration.
    """
    done = counted(study)
    if len(done) < 2:
        return None
    values, names = value_columns(study), metric_names(study)
    if is_multi_objective(study):
        x, y, title_x, title_y = values[0], values[1], names[0], names[1]
    else:
        measured = any(attribute(trial, EXECUTE_TIME) is not None for trial in done)
        x = f"user_attrs_{EXECUTE_TIME}" if measured else "duration"
        y, title_x, title_y = values[0], f"{EXECUTE_TIME if measured else x} (s)", names[0]
    table = frame(study)  # read once: meanwhile trials end
    ended = _counted(study, table).set_index("number")
    points = numeric(ended, [x, y]).set_axis(["x", "y"], axis=1)
    front = points.loc[_front(study, table, [y, x])["number"]]
    broken = [trial.number for trial in trials_of(study)[: len(table)] if infeasible(trial)]
    others = numeric(table[table["number"].isin(broken)].set_index("number"), [x, y])
    return ParetoAxes(points, front, others.set_axis(["x", "y"], axis=1), title_x, title_y)


def _counted(study: optuna.Study, table: pd.DataFrame) -> pd.DataFrame:
    """The rows of the trials that count."""
    return table[table["number"].isin([trial.number for trial in counted(study)])]


def directions(study: optuna.Study, table: pd.DataFrame, targets: Sequence[str]) -> dict[str, bool]:
    """By whole column name whether less is better, in the order of ``targets``.

    Raises:
        QueryError: a target names no column or no direction, or there is only one.
    """
    values = {
        name: not maximizes(study, objective) for objective, name in enumerate(value_columns(study))
    }
    chosen = {}
    for target in targets:
        name, colon, way = target.strip().partition(":")
        if colon and way not in _WAYS:
            raise QueryError(f"--pareto: {target!r}: {way!r} is neither min nor max")
        whole = column(table, name, names_of_values(study), "--pareto")
        chosen[whole] = _WAYS[way] if colon else values.get(whole, True)
    if len(chosen) < 2:
        raise QueryError("--pareto: name two columns or more, such as value,execute_time")
    return chosen


def numeric(table: pd.DataFrame, names: Sequence[str] | dict[str, bool]) -> pd.DataFrame:
    """Columns as numbers, durations in seconds; without the rows that lack one."""
    columns = {}
    for name in names:
        held = table[name]
        if pd.api.types.is_timedelta64_dtype(held):
            held = held.dt.total_seconds()
        columns[name] = pd.to_numeric(held, errors="coerce")
    return pd.DataFrame(columns, index=table.index).astype(float).dropna()


def _beaten(signed: pd.DataFrame, one: Any) -> bool:
    """Whether a row is as small everywhere and smaller somewhere."""
    values = signed.to_numpy()
    return bool(((values <= one).all(axis=1) & (values < one).any(axis=1)).any())
