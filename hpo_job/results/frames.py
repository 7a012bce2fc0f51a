"""The trials as a data frame, under the column names of Optuna's ``trials_dataframe``."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import optuna
import pandas as pd
from optuna.trial import FrozenTrial

from hpo_job.errors import StudyError
from hpo_job.results.trials import trials_of, unmeasured
from hpo_job.trial.clock import running_time

Form = Literal["csv", "json", "parquet"]


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


def to_text(table: pd.DataFrame, form: str) -> str:
    """A frame as ``"csv"`` or ``"json"`` text."""
    if form == "csv":
        return str(table.to_csv(index=False))
    return str(table.to_json(orient="records", date_format="iso", indent=2)) + "\n"


def row_tuples(table: pd.DataFrame) -> list[tuple[Any, ...]]:
    """Each row as a tuple, what it is indexed by in front."""
    return list(table.itertuples(name=None))


def write(table: pd.DataFrame, file: Path, form: str) -> None:
    """A frame as a file. Raises StudyError where it cannot be written."""
    try:
        if form == "parquet":
            _to_parquet(table, file)
        else:
            file.write_text(to_text(table, form), encoding="utf-8")
    except OSError as error:
        raise StudyError(f"{file}: cannot be written: {error.strerror or error}") from error


def _to_parquet(table: pd.DataFrame, file: Path) -> None:
    try:
        import pyarrow as pa
    except ImportError as error:
        raise StudyError(
            "parquet needs pyarrow: pip install 'hpo-job[parquet]', or choose csv"
        ) from error

    def holds(column: pd.Series[Any]) -> bool:
        try:
            pa.array(column, from_pandas=True)
        except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):
            return False
        return True

    # A parquet column is of one kind; a parameter or attribute that is now a word and now a
    # number, or a table, is written as JSON.
    kept = {
        name: table[name]
        if holds(table[name]) and not table[name].map(lambda cell: isinstance(cell, dict)).any()
        else table[name].map(lambda cell: None if _missing(cell) else json.dumps(cell))
        for name in table.columns
    }
    pd.DataFrame(kept).to_parquet(file, index=False)


def _missing(cell: Any) -> bool:
    return cell is None or (isinstance(cell, float) and cell != cell)
