"""Which trials were best: alone, for their speed, and as text that can be pasted."""

from __future__ import annotations

from dataclasses import dataclass

import optuna
import tomli_w
from optuna.trial import FrozenTrial

from hpo_job.errors import StudyError, plural
from hpo_job.results.formatting import number
from hpo_job.results.gain import comparison_with_baseline, nearly
from hpo_job.results.trials import (
    interval,
    is_multi_objective,
    maximizes,
    measure,
    metric_names,
    parameters,
    value,
)
from hpo_job.spec.metrics import NAMES
from hpo_job.trial.counting import counted, counts

NEARLY = 0.01  # the share of the best trial's gain that a faster trial may cost


@dataclass(frozen=True)
class Fastest:
    """The fastest of the trials that are nearly as good as the best.

    ``seconds`` is its ``measure``: the attribute ``execute_time``, or, where an objective does
    not measure that, the trial's duration. ``among`` is how many trials were near enough.
    """

    trial: FrozenTrial
    seconds: float
    measure: str
    among: int = 1


def best(study: optuna.Study) -> FrozenTrial | None:
    """The trial with the best value of those that count; None while there is none.

    Raises:
        StudyError: the study has several objectives.
    """
    if is_multi_objective(study):
        raise StudyError(f"study {study.study_name!r} has several objectives, so no one best trial")
    return top(study, 0)


def top(study: optuna.Study, objective: int) -> FrozenTrial | None:
    """The best trial for one objective, of those that count; the earliest of several."""
    pick = max if maximizes(study, objective) else min
    return pick(counted(study), key=lambda trial: value(trial, objective), default=None)


def leaders(study: optuna.Study) -> list[FrozenTrial]:
    """The best trial, or of several objectives the Pareto front; empty while there is none."""
    return front(study) if is_multi_objective(study) else leading(study, 1)


def leading(study: optuna.Study, count: int) -> list[FrozenTrial]:
    """The ``count`` best trials, best first; of several objectives, those of the front."""
    if is_multi_objective(study):
        return front(study)[:count]
    ranked = sorted(counted(study), key=value, reverse=maximizes(study))
    return ranked[:count]


def front(study: optuna.Study) -> list[FrozenTrial]:
    """The Pareto front of a study of several objectives, by its first one."""
    trials = [trial for trial in study.best_trials if counts(trial)]
    return sorted(trials, key=value, reverse=maximizes(study))


def fastest_within(study: optuna.Study, share: float = NEARLY) -> Fastest | None:
    """The fastest trial that is nearly as good as the best.

    Args:
        study: a study with one objective.
        share: how much of the best trial's gain over the baseline a faster one may cost; see
            `gain.nearly`.
    """
    first = best(study)
    if first is None:
        return None
    least = nearly(study, value(first), share)
    near = [
        trial
        for trial in counted(study)
        if value(trial) == value(first)
        or (value(trial) >= least if maximizes(study) else value(trial) <= least)
    ]
    fastest = min(near, key=lambda trial: measure(trial, near)[0])
    return Fastest(fastest, *measure(fastest, near), len(near))


def score(study: optuna.Study, trial: FrozenTrial) -> str:
    """The values of ``trial``, each with the baseline: ``accuracy 0.9281 (baseline 0.5301)``."""
    scores = []
    for objective, name in enumerate(metric_names(study)):
        achieved = value(trial, objective)
        text = comparison_with_baseline(study, achieved, objective)
        chance = f" {interval_text(trial)}" if name in NAMES and interval(trial) else ""
        scores.append(f"{name} {number(achieved)}{chance}{f' ({text})' if text else ''}")
    return ", ".join(scores)


def interval_text(trial: FrozenTrial) -> str:
    """The bootstrap interval of a trial's value: ``[0.5200, 0.7000]``."""
    ends = interval(trial)
    return "" if ends is None else f"[{number(ends[0])}, {number(ends[1])}]"


def within_chance(study: optuna.Study) -> list[FrozenTrial]:
    """The other trials whose values lie inside the best one's interval, the earliest first.

    The validation items cannot tell them from the best. Empty where no interval is stored.
    """
    first = None if is_multi_objective(study) else best(study)
    ends = interval(first) if first else None
    if first is None or ends is None:
        return []
    return [
        trial
        for trial in counted(study)
        if trial.number != first.number and ends[0] <= value(trial) <= ends[1]
    ]


def within_chance_text(study: optuna.Study) -> str | None:
    """How many trials that is, for people: ``#0 at 0.5670 and 3 others are within chance``."""
    trials = within_chance(study)
    if not trials:
        return None
    text = f"#{trials[0].number} at {number(value(trials[0]))}"
    if len(trials) == 1:
        return f"{text} is within chance of it"
    others = plural(len(trials) - 1, "other")
    return f"{text} and {others} are within chance of it"


def as_toml(study: optuna.Study, trial: FrozenTrial, *remarks: str) -> str:
    """The parameters of ``trial`` as an ``[[enqueue]]`` entry, ready to paste into a study.toml.

    Args:
        study: the study of ``trial``.
        trial: a trial that counts.
        remarks: more lines of comment above the entry.
    """
    values = parameters(study, trial)
    entry = tomli_w.dumps({name: each for name, each in values.items() if each is not None})
    # a function may suggest None, for which TOML has no word
    nothing = [f"{name} is None" for name, each in values.items() if each is None]
    title = f"{study.study_name} trial {trial.number}: {score(study, trial)}"
    comments = "".join(f"# {line}\n" for line in (title, *remarks, *nothing))
    return f"{comments}[[enqueue]]\n{entry}"
