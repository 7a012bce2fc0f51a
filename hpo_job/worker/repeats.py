"""One parameter set on several seeds: its value is their mean, and their spread is kept."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.study import StudyDirection

from hpo_job.objectives import Train
from hpo_job.objectives.context import Context
from hpo_job.trial import attributes


@dataclass(frozen=True)
class Trained:
    """What the objective returned; with repeats their mean, and ``attrs`` of their spread.

    keep: writes the model into a folder: that of the best repeat, which scored ``kept``.
    """

    value: Any
    attrs: dict[str, Any]
    keep: Callable[[Path], None] | None
    kept: Any


def run(train: Train, context: Context, repeats: int, compared: bool) -> Trained:
    """Call the objective once for each seed: the study's own, and those that follow it.

    compared: whether the pruner is shown the value of each repeat, rather than its epochs. If
    not, the first repeat's epochs are reported as ever, and nothing prunes the further ones.
    """
    if repeats == 1:
        value = _once(train, context)
        return Trained(value, {}, context.keep, value)
    values: list[list[float]] = []
    keep, kept = None, None
    maximize = context.trial.study.directions[0] == StudyDirection.MAXIMIZE
    for number in range(repeats):
        quiet = compared or number > 0
        again = replace(context, seed=(context.seed + number) % 2**32, quiet=quiet, keep=None)
        value = _once(train, again)
        values.append(_numbers(value))
        if kept is None or (values[-1] > _numbers(kept)) == maximize:
            keep, kept = again.keep, value
        del again
        gc.collect()
        if compared:
            context.report(values[-1][0], last=number == repeats - 1)
    mean, spread = np.mean(values, axis=0), np.std(values, axis=0)
    one = len(mean) == 1
    attrs = {
        attributes.REPEAT_VALUES: [each[0] for each in values] if one else values,
        attributes.REPEAT_STD: float(spread[0]) if one else spread.tolist(),
    }
    return Trained(float(mean[0]) if one else tuple(map(float, mean)), attrs, keep, kept)


def _once(train: Train, context: Context) -> Any:
    """What the objective returns. Raises TrialPruned where it went on though it was pruned."""
    try:
        value = train(context.trial, context)
    except Exception as error:
        if context.pruned and not isinstance(error, optuna.TrialPruned):
            raise optuna.TrialPruned from error  # a library may wrap what a callback raises
        raise
    if context.pruned:  # a function of the user's own may catch whatever is raised
        raise optuna.TrialPruned
    return value


def _numbers(value: Any) -> list[float]:
    """The one value, or several, as a list. Raises what `float` does where it is no number."""
    many = isinstance(value, Sequence) and not isinstance(value, str)
    return [float(each) for each in (value if many else [value])]
