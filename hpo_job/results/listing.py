"""What ``results`` and ``best`` print: trials as lines, TOML or JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import optuna
import pandas as pd
from optuna.trial import FrozenTrial

from hpo_job.errors import StudyError
from hpo_job.results.formatting import clock, number, plain, settings, text_table
from hpo_job.results.frames import frame, value_columns
from hpo_job.results.gain import gain, within
from hpo_job.results.overview import caption
from hpo_job.results.pareto import directions, pareto
from hpo_job.results.ranking import as_toml, best, fastest_within, leaders
from hpo_job.results.rows import captioned
from hpo_job.results.trials import (
    baselines,
    is_multi_objective,
    metric_names,
    none_counts,
    parameters,
    trials_of,
    value,
)
from hpo_job.results.writing import to_json


@dataclass(frozen=True)
class Picked:
    """Trials that were asked for as the best.

    Attributes:
        columns: what they were picked by besides their values, as columns of the frame.
        remarks: a sentence each, of the pick or of the one trial.
    """

    trials: tuple[FrozenTrial, ...]
    columns: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


def chosen_columns(
    study: optuna.Study, table: pd.DataFrame, names: Sequence[str], width: int
) -> str:
    """A frame of trials as a table of at most ``width`` cells, headed by the names as typed."""
    values = value_columns(study)
    rows = [
        [cell(each, name in values) for name, each in zip(table.columns, line, strict=True)]
        for line in table.itertuples(index=False, name=None)
    ]
    flush = [
        pd.api.types.is_numeric_dtype(kind) and not pd.api.types.is_bool_dtype(kind)
        for kind in table.dtypes
    ]
    text = text_table(list(names), rows, width, right=flush, bold=True)
    return captioned(study, text, len(rows))


def cell(entry: Any, value: bool = False) -> str:
    """One value of a frame, short; nothing where it is missing."""
    if isinstance(entry, list | dict):
        return json.dumps(entry)
    if entry is None or entry is pd.NaT or entry != entry:
        return "-"
    if isinstance(entry, pd.Timedelta):
        seconds = entry.total_seconds()
        return f"{seconds:.1f}s" if seconds < 60 else clock(seconds)
    if isinstance(entry, pd.Timestamp):
        return entry.strftime("%Y-%m-%d %H:%M:%S")
    return number(entry) if value else plain(entry)


def pick(study: optuna.Study, share: float | None, targets: str | None) -> Picked:
    """The best trial, the fastest that is nearly as good, or a Pareto front.

    Args:
        study: any study.
        share: how much of the gain the fastest may cost; None if not asked for.
        targets: the columns of a Pareto front; None if not asked for.

    Raises:
        StudyError: no trial counts yet.
    """
    if targets is not None:
        table = pareto(study, targets.split(","))
        trials = trials_of(study)
        chosen = tuple(trials[each] for each in table["number"])
        if not chosen:
            raise StudyError(
                f"study {study.study_name!r} has no trial that counts with all of {targets}"
            )
        columns = tuple(directions(study, frame(study), targets.split(",")))
        return Picked(chosen, tuple(name for name in columns if name not in value_columns(study)))
    if share is not None:
        return _fastest(study, share)
    chosen = tuple(leaders(study))
    if not chosen:
        raise StudyError(f"study {study.study_name!r} has no best trial: {none_counts(study)}")
    return Picked(chosen)


def picked_text(study: optuna.Study, picked: Picked, form: str | None, width: int) -> str:
    """The picked trials as ``"toml"``, ``"table"`` or ``"json"``."""
    form = form or ("toml" if len(picked.trials) == 1 and not picked.columns else "table")
    if form == "toml":
        return "\n".join(as_toml(study, trial, *picked.remarks) for trial in picked.trials)
    if form == "json":
        return to_json([_record(study, trial) for trial in picked.trials])
    others = [name.removeprefix("user_attrs_").removeprefix("params_") for name in picked.columns]
    metrics = metric_names(study)
    table = frame(study).set_index("number")
    header = ("trial", *metrics, *others, "parameters")
    rows = [
        [
            f"#{trial.number}",
            *(number(each) for each in trial.values or ()),
            *(cell(table.at[trial.number, name]) for name in picked.columns),
            settings(parameters(study, trial)),
        ]
        for trial in picked.trials
    ]
    right = [True] * (1 + len(metrics) + len(others))
    text = text_table(header, rows, width, right=right, bold=True)
    return "\n".join(filter(None, [text, *picked.remarks, caption(study)]))


def _fastest(study: optuna.Study, share: float) -> Picked:
    if is_multi_objective(study):
        raise StudyError(
            f"study {study.study_name!r} has several objectives: --pareto shows its front"
        )
    fastest, first = fastest_within(study, share), best(study)
    if fastest is None or first is None:
        raise StudyError(f"study {study.study_name!r} has no best trial: {none_counts(study)}")
    remarks = (
        f"the fastest of {fastest.among} {within(study, share)} of #{first.number}",
        f"#{first.number} is best with {number(first.value)}; "
        f"{fastest.measure} here {fastest.seconds:.3g} s",
    )
    return Picked((fastest.trial,), remarks=remarks)


def _record(study: optuna.Study, trial: FrozenTrial) -> dict[str, Any]:
    return {
        "study": study.study_name,
        "number": trial.number,
        "values": dict(zip(metric_names(study), trial.values or (), strict=False)),
        "baselines": dict(zip(metric_names(study), baselines(study), strict=True)),
        "better_than_baseline": {
            name: None if (more := gain(study, value(trial, i), i)) is None else more > 0
            for i, name in enumerate(metric_names(study))
        },
        "parameters": parameters(study, trial),
        "user_attrs": trial.user_attrs,
    }
