"""Which trials were best: alone, for their speed, and as text that can be pasted."""

from __future__ import annotations

from dataclasses import dataclass

import optuna
import tomli_w
from optuna.trial import FrozenTrial

from hpo_job.errors import StudyError
from hpo_job.results.formatting import number
from hpo_job.results.trials import (
    baselines,
    feasible,
    is_multi_objective,
    maximizes,
    measure,
    metric_names,
    parameters,
    value,
)

NEARLY = 0.01  # "within one point": how much of the metric a faster trial may cost


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
    """The COMPLETE trial with the best value, or None while there is none.

    One that breaks a constraint is never the best, as in Optuna.
    """
    if is_multi_objective(study):
        raise StudyError(f"study {study.study_name!r} has several objectives, so no one best trial")
    return top(study, 0)


def top(study: optuna.Study, objective: int) -> FrozenTrial | None:
    """The COMPLETE trial with the best value of one objective; the earliest of several."""
    pick = max if maximizes(study, objective) else min
    return pick(feasible(study), key=lambda trial: value(trial, objective), default=None)


def leading(study: optuna.Study, count: int) -> list[FrozenTrial]:
    """The ``count`` best COMPLETE trials, best first; of several objectives, those of the front."""
    if is_multi_objective(study):
        return front(study)[:count]
    ranked = sorted(feasible(study), key=value, reverse=maximizes(study))
    return ranked[:count]


def front(study: optuna.Study) -> list[FrozenTrial]:
    """The Pareto front of a study of several objectives, by its first one."""
    return sorted(study.best_trials, key=value, reverse=maximizes(study))


def fastest_within(study: optuna.Study, points: float = NEARLY) -> Fastest | None:
    """The fastest COMPLETE trial whose value is at most ``points`` worse than the best."""
    first = best(study)
    if first is None:
        return None
    near = [
        trial
        for trial in feasible(study)
        if value(trial) == value(first) or abs(value(trial) - value(first)) <= points + 1e-12
    ]
    fastest = min(near, key=lambda trial: measure(trial, near)[0])
    return Fastest(fastest, *measure(fastest, near), len(near))


def score(study: optuna.Study, trial: FrozenTrial) -> str:
    """The values of ``trial`` start the baseline: ``accuracy 0.9281 (baseline 0.5301)``."""
    scores = []
    for name, each, start in zip(
        metric_names(study), trial.values or (), baselines(study), strict=False
    ):
        scores.append(
            f"{name} {number(each)}{f' (baseline {number(start)})' * (start is not None)}"
        )
    return ", ".join(scores)


def as_toml(study: optuna.Study, trial: FrozenTrial, *remarks: str) -> str:
    """The parameters of ``trial`` as an ``[[enqueue]]`` entry, ready to paste into a study.toml.

    remarks: more lines of comment above it.
    """
    values = parameters(study, trial)
    entry = tomli_w.dumps({name: each for name, each in values.items() if each is not None})
    # a function may suggest None, for which TOML has no word
    nothing = [f"{name} is None" for name, each in values.items() if each is None]
    title = f"{study.study_name} trial {trial.number}: {score(study, trial)}"
    comments = "".join(f"# {line}\n" for line in (title, *remarks, *nothing))
    return f"{comments}[[enqueue]]\n{entry}"
