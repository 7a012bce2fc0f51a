"""Several studies side by side, as data frames with a column for each study."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import optuna
import pandas as pd
from optuna.trial import FrozenTrial

from hpo_job.results.gain import gain, nearly
from hpo_job.results.importance import importances
from hpo_job.results.ranking import NEARLY, fastest_within, top
from hpo_job.results.trials import (
    baseline,
    interval,
    is_multi_objective,
    maximizes,
    metric_names,
    numeric,
    parameters,
    trials_of,
    value,
)
from hpo_job.spec.choices import IMPORTANCE_METHODS
from hpo_job.study.ledger import Times
from hpo_job.trial import attributes
from hpo_job.trial.clock import instant
from hpo_job.trial.counting import EVALUATED, counted, counts, evaluated

SHARE = 0.95  # "95% of the best"


@dataclass(frozen=True)
class TimeTo95:
    """When a study first had a value that is nearly its best.

    Args:
        threshold: that value.
        trials: how many trials had ended COMPLETE or PRUNED by then.
        seconds: of the study's working time, in which at least one trial ran.
    """

    threshold: float
    trials: int
    seconds: float


def summary(studies: Sequence[optuna.Study]) -> pd.DataFrame:
    """What each study reached: a row each, by the study's name; of its first objective."""
    table = pd.DataFrame([_summary(study) for study in studies])
    return table.set_index("study")


def best_parameters(studies: Sequence[optuna.Study]) -> pd.DataFrame:
    """The parameters of each study's best trial, fixed ones too: a row for each parameter.

    NaN where it has no such parameter: None is a choice as any other.
    """
    by_study = {study.study_name: _best_parameters(study) for study in studies}
    names = list(dict.fromkeys(name for values in by_study.values() for name in values))
    return pd.DataFrame(
        {
            study: [values.get(name, math.nan) for name in names]
            for study, values in by_study.items()
        },
        index=pd.Index(names, name="parameter"),
        dtype=object,
    )


def best_importances(
    studies: Sequence[optuna.Study], method: str = IMPORTANCE_METHODS[0]
) -> pd.DataFrame:
    """The importance of each parameter in each study: a row for each parameter."""
    return importances(studies, method)


def learning_rates(studies: Sequence[optuna.Study]) -> pd.DataFrame:
    """What the learning-rate finder suggested, and what the best trial had.

    A row for each parameter that any study has a suggestion for; of each study the columns
    ``suggested`` and ``best`` under its name.
    """
    curves_by_study = {study.study_name: lr_curves(study) for study in studies}
    names = list(dict.fromkeys(name for curves in curves_by_study.values() for name in curves))
    columns: dict[tuple[str, str], list[float | None]] = {}
    for study in studies:
        chosen = _best_parameters(study)
        curves = curves_by_study[study.study_name]
        columns[study.study_name, "suggested"] = [
            numeric(curves.get(name, {}).get("suggestion")) for name in names
        ]
        columns[study.study_name, "best"] = [numeric(chosen.get(name)) for name in names]
    table = pd.DataFrame(columns, index=pd.Index(names, name="parameter"), dtype=float)
    table.columns = pd.MultiIndex.from_tuples(columns, names=["study", "learning rate"])
    return table


def lr_curves(study: optuna.Study) -> dict[str, dict[str, Any]]:
    """What the learning-rate finder stored: by parameter ``suggestion``, ``lrs``, ``losses``."""
    stored = study.user_attrs.get(attributes.LR_FIND)
    if not isinstance(stored, dict):
        return {}
    return {str(name): curve for name, curve in stored.items() if isinstance(curve, dict)}


def time_to_95(study: optuna.Study) -> TimeTo95 | None:
    """When the study first had 95% of what its best trial gains; see `gain.nearly`.

    Returns:
        None while no trial counts, or where times were not stored.
    """
    first = top(study, 0)
    if first is None:
        return None
    threshold = nearly(study, value(first), 1 - SHARE)
    better = maximizes(study)
    ended = sorted(
        (trial for trial in trials_of(study, EVALUATED) if trial.datetime_complete),
        key=lambda trial: instant(trial.datetime_complete),
    )
    for count, trial in enumerate(ended, start=1):
        if counts(trial) and (value(trial) >= threshold if better else value(trial) <= threshold):
            return TimeTo95(threshold, count, _worked_until(ended, trial))
    return None


def progress(study: optuna.Study) -> pd.DataFrame:
    """The best value so far at the end of each trial that counts.

    Returns:
        A frame with the columns ``trials``, how many had ended COMPLETE or PRUNED, ``seconds`` of
        working time, ``value`` and ``best``.
    """
    better = max if maximizes(study) else min
    ended = sorted(
        (trial for trial in trials_of(study) if trial.state.is_finished()),
        key=lambda trial: instant(trial.datetime_complete),
    )
    times, rows, count = Times(), [], 0
    best: float | None = None
    for trial in ended:
        if trial.datetime_start and trial.datetime_complete:
            times.add(trial.datetime_start, trial.datetime_complete)
        count += evaluated(trial)
        if counts(trial):
            best = value(trial) if best is None else better(best, value(trial))
            now = trial.datetime_complete or datetime.now()
            rows.append((count, times.total(now, now), value(trial), best))
    return pd.DataFrame(rows, columns=["trials", "seconds", "value", "best"])


def _summary(study: optuna.Study) -> dict[str, Any]:
    first, start = top(study, 0), baseline(study)
    best = value(first) if first else math.nan
    reached = time_to_95(study)
    fastest = None if is_multi_objective(study) else fastest_within(study, NEARLY)
    missing = math.nan
    more = gain(study, best) if first else None
    ends = interval(first) if first else None
    return {
        "study": study.study_name,
        "metric": metric_names(study)[0],
        "direction": "maximize" if maximizes(study) else "minimize",
        "trials": len(trials_of(study, EVALUATED)),
        "counted": len(counted(study)),
        "best": best,
        "best_low": ends[0] if ends else missing,
        "best_high": ends[1] if ends else missing,
        "baseline": missing if start is None else start,
        "gain": missing if more is None else more,
        "threshold": reached.threshold if reached else missing,
        "trials_to_95": reached.trials if reached else missing,
        "seconds_to_95": reached.seconds if reached else missing,
        "fastest": value(fastest.trial) if fastest else missing,
        "fastest_seconds": fastest.seconds if fastest else missing,
        "best_trial": first.number if first else missing,
        "fastest_trial": fastest.trial.number if fastest else missing,
    }


def _best_parameters(study: optuna.Study) -> dict[str, Any]:
    first = top(study, 0)
    return parameters(study, first) if first else {}


def _worked_until(trials: Sequence[FrozenTrial], last: FrozenTrial) -> float:
    """Seconds in which at least one of ``trials`` ran, until ``last`` had ended."""
    times, end = Times(), last.datetime_complete
    assert end is not None
    for trial in trials:
        start, complete = trial.datetime_start, trial.datetime_complete
        if start and complete and instant(start) < instant(end):
            times.add(start, min(complete, end, key=instant))
    return times.total(end, end)
