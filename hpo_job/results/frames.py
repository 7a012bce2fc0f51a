"""The trials as a data frame, under the column names of Optuna's ``trials_dataframe``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import optuna
import pandas as pd
from optuna.trial import FrozenTrial

from hpo_job.results.trials import trials_of, unmeasured
from hpo_job.results.writing import Row
from hpo_job.trial.clock import running_time


def frame(study: optuna.Study) -> pd.DataFrame:
    """The trials, a row each: ``number``, ``value`` or ``values_*``, times, ``params_*`` and so on.

    The columns, their order and their contents are those of ``study.trials_dataframe()``; of a
    study without trials too, where Optuna's frame has no columns at all. But a trial that was
    pruned before the study's metric was measured has no value: Optuna's frame has its last report
    there, a language model's perplexity, say, which any ``value >= 0.94`` would choose.
    """
    table: pd.DataFrame = study.trials_dataframe()
    if table.empty:
        count = len(study.directions)
        names = study.metric_names or (range(count) if count > 1 else [""])
        kind = "values" if count > 1 else "value"
        values = [f"{kind}_{name}".rstrip("_") for name in names]
        times = ("datetime_start", "datetime_complete", "duration")
        return pd.DataFrame(columns=["number", *values, *times, "state"])
    trials = trials_of(study)[: len(table)]  # read later, so there may be more by now
    other = [unmeasured(trial) for trial in trials]
    if any(other):
        table.loc[other, value_columns(study)] = math.nan
    table["duration"] = _durations(table, trials)
    return table


def _durations(table: pd.DataFrame, trials: Sequence[FrozenTrial]) -> pd.Series:
    """How long each finished trial ran; Optuna's own column is wrong when the clocks change."""
    seconds = [running_time(trial) if trial.datetime_start else math.nan for trial in trials]
    durations = pd.Series(pd.to_timedelta(seconds, unit="s"), index=table.index)
    return durations.where(table["datetime_complete"].notna())


def value_columns(study: optuna.Study) -> list[str]:
    """The names of the columns that hold the values, in the objectives' order."""
    names = study.metric_names
    if len(study.directions) == 1:
        return [f"value_{names[0]}" if names else "value"]
    return [f"values_{name}" for name in names or range(len(study.directions))]


def trial_rows(study: optuna.Study, numbers: Sequence[int]) -> list[Row]:
    """The trials as they are stored, under the column names of `frame`.

    A frame has one type for each column: it turns None into NaN, and large integers of a column
    with gaps into floats. What is written to a file is taken from here.

    Args:
        study: any study.
        numbers: which trials, in this order.
    """
    trials = trials_of(study)
    columns = value_columns(study)
    return [_row(trials[number], columns) for number in numbers]


def _row(trial: FrozenTrial, columns: Sequence[str]) -> Row:
    values: Sequence[float] = () if unmeasured(trial) else trial.values or ()
    row: dict[str, Any] = {"number": trial.number, **dict(zip(columns, values, strict=False))}
    if trial.datetime_start is not None:
        row["datetime_start"] = trial.datetime_start
    if trial.datetime_complete is not None:
        row["datetime_complete"] = trial.datetime_complete
        if trial.datetime_start is not None:
            row["duration"] = timedelta(seconds=running_time(trial))
    for kind in ("params", "user_attrs", "system_attrs"):
        row |= {f"{kind}_{name}": entry for name, entry in getattr(trial, kind).items()}
    return {**row, "state": trial.state.name}


def frame_rows(table: pd.DataFrame) -> list[Row]:
    """The rows of any other frame, as `writing` takes them; what it is indexed by is left out."""
    return [
        dict(zip(map(str, table.columns), line, strict=True))
        for line in table.astype(object).itertuples(index=False, name=None)
    ]


def row_tuples(table: pd.DataFrame) -> list[tuple[Any, ...]]:
    """Each row as a tuple, what it is indexed by in front."""
    return list(table.itertuples(name=None))
