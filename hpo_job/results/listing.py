"""What ``results`` and ``best`` print: trials as lines, TOML or JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import optuna
import pandas as pd
from optuna.trial import FrozenTrial

from hpo_job.errors import StudyError
from hpo_job.results.formatting import clock, number, plain, settings, text_table
from hpo_job.results.frames import frame, value_columns
from hpo_job.results.overview import caption
from hpo_job.results.pareto import directions, pareto
from hpo_job.results.ranking import as_toml, best, fastest_within, front
from hpo_job.results.rows import captioned
from hpo_job.results.trials import baselines, metric_names, parameters, several, trials_of


@dataclass(frozen=True)
class Picked:
    """Trials that were asked for as the best.

    columns: what they were picked by, as columns of the frame, beside their values.
    remarks: a sentence each, of the pick or of the one trial.
    """

    trials: tuple[FrozenTrial, ...]
    columns: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


def chosen_columns(study: optuna.Study, shown: pd.DataFrame, width: int) -> str:
    """A frame of trials as a table of at most ``width`` cells."""
    values = value_columns(study)
    rows = [
        [cell(found, name in values) for name, found in zip(shown.columns, line, strict=True)]
        for line in shown.itertuples(index=False, name=None)
    ]
    flush = [
        pd.api.types.is_numeric_dtype(kind) and not pd.api.types.is_bool_dtype(kind)
        for kind in shown.dtypes
    ]
    text = text_table(list(map(str, shown.columns)), rows, width, right=flush, bold=True)
    return captioned(study, text, len(rows))


def cell(found: Any, value: bool = False) -> str:
    """One value of a frame, short; nothing where it is missing."""
    if isinstance(found, list | dict):
        return json.dumps(found)
    if found is None or found is pd.NaT or found != found:
        return "-"
    if isinstance(found, pd.Timedelta):
        seconds = found.total_seconds()
        return f"{seconds:.1f}s" if seconds < 60 else clock(seconds)
    if isinstance(found, pd.Timestamp):
        return found.strftime("%Y-%m-%d %H:%M:%S")
    return number(found) if value else plain(found)


def pick(study: optuna.Study, within: float | None, targets: str | None) -> Picked:
    """The best trial, the fastest that is nearly as good, or a Pareto front.

    Raises StudyError while no trial is COMPLETE.
    """
    if targets is not None:
        table = pareto(study, targets.split(","))
        trials = trials_of(study)
        chosen = tuple(trials[found] for found in table["number"])
        if not chosen:
            raise StudyError(
                f"study {study.study_name!r} has no COMPLETE trial with all of {targets}"
            )
        columns = tuple(directions(study, frame(study), targets.split(",")))
        return Picked(chosen, tuple(name for name in columns if name not in value_columns(study)))
    if within is not None:
        return _fastest(study, within)
    chosen = tuple(front(study)) if several(study) else tuple(filter(None, [best(study)]))
    if not chosen:
        raise StudyError(f"study {study.study_name!r} has no COMPLETE trial yet")
    return Picked(chosen)


def told(study: optuna.Study, picked: Picked, form: str | None, width: int) -> str:
    """The picked trials as ``"toml"``, ``"table"`` or ``"json"``."""
    form = form or ("toml" if len(picked.trials) == 1 and not picked.columns else "table")
    if form == "toml":
        return "\n".join(as_toml(study, trial, *picked.remarks) for trial in picked.trials)
    if form == "json":
        return json.dumps([_record(study, trial, picked) for trial in picked.trials], indent=2)
    others = [name.removeprefix("user_attrs_").removeprefix("params_") for name in picked.columns]
    metrics = metric_names(study)
    table = frame(study).set_index("number")
    header = ("trial", *metrics, *others, "parameters")
    rows = [
        [
            f"#{trial.number}",
            *(number(found) for found in trial.values or ()),
            *(cell(table.at[trial.number, name]) for name in picked.columns),
            settings(parameters(study, trial)),
        ]
        for trial in picked.trials
    ]
    right = [True] * (1 + len(metrics) + len(others))
    text = text_table(header, rows, width, right=right, bold=True)
    return "\n".join(filter(None, [text, *picked.remarks, caption(study)]))


def _fastest(study: optuna.Study, within: float) -> Picked:
    if several(study):
        raise StudyError(
            f"study {study.study_name!r} has several objectives: --pareto shows its front"
        )
    quick, first = fastest_within(study, within), best(study)
    if quick is None or first is None:
        raise StudyError(f"study {study.study_name!r} has no COMPLETE trial yet")
    remark = (
        f"the fastest of {quick.among} within {within:g} of #{first.number}, the best with "
        f"{number(first.value)}: {quick.measure} {quick.seconds:.3g} s"
    )
    return Picked((quick.trial,), remarks=(remark,))


def _record(study: optuna.Study, trial: FrozenTrial, picked: Picked) -> dict[str, Any]:
    return {
        "study": study.study_name,
        "number": trial.number,
        "values": dict(zip(metric_names(study), trial.values or (), strict=False)),
        "baselines": dict(zip(metric_names(study), baselines(study), strict=True)),
        "parameters": parameters(study, trial),
        "user_attrs": trial.user_attrs,
    }
