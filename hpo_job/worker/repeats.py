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
    """What the objective returned.

    Attributes:
        value: a number, or one for each objective; with repeats the mean.
        attrs: with repeats the values and their spread, as user attributes.
        keep: writes the model of the best repeat into a folder.
        kept: the value of that repeat.
    """

    value: Any
    attrs: dict[str, Any]
    keep: Callable[[Path], None] | None
    kept: Any


def run(train: Train, context: Context, repeats: int, compared: bool) -> Trained:
    """Call the objective once for each seed: the study's own, and those that follow it.

    Args:
        train: the objective.
        context: what it is called with.
        repeats: how often.
        compared: whether the value of each repeat is reported to the pruner, instead of its
            epochs. If not, the first repeat reports its epochs, and the others are not pruned.
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
    """Call the objective.

    Raises:
        optuna.TrialPruned: it was pruned, even if it hid that: it went on and returned a value,
            or raised something else.
    """
    try:
        value = train(context.trial, context)
    except Exception as error:
        if context.pruned and not isinstance(error, optuna.TrialPruned):
            raise optuna.TrialPruned from error  # a library may wrap what a callback raises
        raise
    if context.pruned:  # a user's function may catch every exception
        raise optuna.TrialPruned
    return value


def _numbers(value: Any) -> list[float]:
    """The one value, or several, as a list; raises what ``float`` does for anything else."""
    many = isinstance(value, Sequence) and not isinstance(value, str)
    return [float(each) for each in (value if many else [value])]
