"""What a value gains over the baseline, and which values are nearly as good as the best.

"Nearly as good" is a share of that gain, so that it means the same for an accuracy and for an
error in grams.
"""

from __future__ import annotations

import math

import optuna
from optuna.trial import FrozenTrial

from hpo_job.results.formatting import number
from hpo_job.results.trials import baseline, baselines, maximizes, metric_names, value
from hpo_job.trial.counting import counted


def gain(study: optuna.Study, achieved: float, objective: int = 0) -> float | None:
    """How much better than the baseline a value is, below 0 if worse; None without a baseline."""
    start = baselines(study)[objective]
    return None if start is None else _better(study, achieved, start, objective)


def _better(study: optuna.Study, achieved: float, start: float, objective: int = 0) -> float:
    return achieved - start if maximizes(study, objective) else start - achieved


def nearly(study: optuna.Study, best: float, share: float) -> float:
    """The worst value that keeps all but ``share`` of what the best value gains.

    Args:
        study: its first objective is looked at.
        best: its best value.
        share: such as 0.05, for the value with 95% of the gain.

    Returns:
        A value on the way from the baseline to ``best``. Where no baseline is known, or nothing
        was gained, on the way from 0 (to infinity, if less is better); or, where ``best`` is
        not above 0, from the first trial that counts.
    """
    start = baseline(study)
    if start is not None and (gain(study, best) or 0.0) <= 0:
        start = None
    if start is None and best > 0:
        return (1 - share) * best if maximizes(study) else best / (1 - share)
    if start is None:
        start = value(counted(study)[0])
    if not math.isfinite(best - start):
        return best
    return best - share * (best - start)


def within(study: optuna.Study, share: float) -> str:
    """How `nearly` is named to people: ``within 1% of the gain``, or ``of the best value``."""
    start = baseline(study)  # looked up once, for however many trials
    known = start is not None and any(
        _better(study, value(trial), start) > 0 for trial in counted(study)
    )
    return f"within {100 * share:.3g}% of the {'gain' if known else 'best value'}"


def comparison_with_baseline(study: optuna.Study, achieved: float, objective: int = 0) -> str:
    """The baseline as it is printed after a value, and a warning where nothing was gained.

    Returns:
        ``baseline 0.5301``, ``no better than the baseline 0.5301``, ``WORSE than the baseline
        0.5301``; nothing where no baseline is known.
    """
    start, more = baselines(study)[objective], gain(study, achieved, objective)
    if start is None or more is None:
        return ""
    if more > 0:
        return f"baseline {number(start)}"
    return f"{'no better' if more == 0 else 'WORSE'} than the baseline {number(start)}"


def shortfalls(study: optuna.Study, leaders: list[FrozenTrial]) -> list[str]:
    """A sentence for each metric whose best value is no better than its baseline.

    Args:
        study: any study.
        leaders: its best trial, or its Pareto front.
    """
    sentences = []
    for objective, metric in enumerate(metric_names(study)):
        if not leaders or baselines(study)[objective] is None:
            continue
        pick = max if maximizes(study, objective) else min
        best = pick(leaders, key=lambda trial: value(trial, objective))
        text = comparison_with_baseline(study, value(best, objective), objective)
        if not text.startswith("baseline"):
            sentences.append(
                f"the best {metric}, {number(value(best, objective))} of trial #{best.number}, is "
                f"{text}"
            )
    return sentences
