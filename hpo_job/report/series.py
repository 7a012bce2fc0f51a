"""What figures draw, before any library draws it: pages and pictures show the same.

plotly draws it for pages and notebooks, matplotlib for picture files.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import numpy.typing as npt
import optuna
from optuna.trial import FrozenTrial, TrialState
from sklearn.neighbors import KNeighborsRegressor

from hpo_job.report.axes import Axis, axis
from hpo_job.results.trials import (
    baselines,
    finite,
    is_multi_objective,
    maximizes,
    trials_of,
    value,
)
from hpo_job.trial.counting import infeasible
from hpo_job.trial.phases import measured_value

GRID = 40  # cells of a surface each way
NEAR = 5  # trials whose mean a cell of a surface shows, at least

Points = list[tuple[FrozenTrial, float]]  # trials with the value each is drawn at


@dataclass(frozen=True)
class History:
    """The values of one objective in the order of the trials.

    Args:
        counted: the trials that count.
        infeasible: trials that ended COMPLETE but break a constraint.
        pruned: with the last value of the study's metric, of those that came to it.
        best: the best value so far at each trial that counts.
        baseline: the value of always giving the same answer; None where unknown.
        last: the number of the last trial.
    """

    counted: Points
    infeasible: Points
    pruned: Points
    best: list[float]
    baseline: float | None
    last: int


def history(study: optuna.Study, objective: int = 0) -> History | None:
    """The history of one objective; None while no trial has a value that can be drawn."""
    counted = [(trial, value(trial, objective)) for trial in finite(study, objective)]
    broken = broken_points(study, objective)
    pruned = [] if is_multi_objective(study) else _pruned(study)
    if not (counted or broken or pruned):
        return None
    pick = max if maximizes(study, objective) else min
    best = list(accumulate((each for _, each in counted), pick))
    last = max(trial.number for trial in trials_of(study))
    return History(counted, broken, pruned, best, baselines(study)[objective], last)


def broken_points(study: optuna.Study, objective: int = 0) -> Points:
    """The infeasible trials with their values, which no figure counts but most show."""
    broken = [(trial, trial.values[objective]) for trial in trials_of(study) if infeasible(trial)]
    return [(trial, each) for trial, each in broken if math.isfinite(each)]


def _pruned(study: optuna.Study) -> Points:
    pruned = trials_of(study, (TrialState.PRUNED,))
    last = [(trial, measured_value(trial)) for trial in pruned]
    return [(trial, each) for trial, each in last if each is not None and math.isfinite(each)]


def varied(trials: Sequence[FrozenTrial], params: Sequence[str] | None = None) -> list[str]:
    """The parameters that at least one trial has, in the order they are suggested.

    Args:
        trials: any trials.
        params: only these; all where None.
    """
    names = dict.fromkeys(name for trial in trials for name in trial.params)
    return [name for name in names if params is None or name in params]


@dataclass(frozen=True)
class Parallel:
    """The trials that count as lines through their value and their parameters.

    Args:
        axes: one for each parameter.
        ranked: the trials, the worst first.
        low: the lowest value.
        high: the highest value.
    """

    axes: list[Axis]
    ranked: Points
    low: float
    high: float

    def heights(self, trial: FrozenTrial, achieved: float) -> list[float | None]:
        """Where the line of a trial crosses each axis, from 0 to 1; None where it has a gap."""
        width = self.high - self.low
        return [
            (achieved - self.low) / width if width else 0.5,
            *(
                each.fraction(trial.params[each.name]) if each.name in trial.params else None
                for each in self.axes
            ),
        ]


def parallel(
    study: optuna.Study, objective: int = 0, params: Sequence[str] | None = None
) -> Parallel | None:
    """The lines of parallel coordinates; None with fewer than two trials or no parameter."""
    trials = finite(study, objective)
    names = varied(trials, params)
    if len(trials) < 2 or not names:
        return None
    points = [(trial, value(trial, objective)) for trial in trials]
    ranked = sorted(points, key=lambda pair: pair[1], reverse=not maximizes(study, objective))
    values = [each for _, each in points]
    return Parallel([axis(trials, name) for name in names], ranked, min(values), max(values))


@dataclass(frozen=True)
class Surface:
    """The value over two parameters: each cell the mean of the trials near it.

    Args:
        across: the horizontal axis.
        up: the vertical axis.
        xs: the positions of the cells on the horizontal axis.
        ys: the positions of the cells on the vertical axis.
        means: by row and column.
        trials: the trials that have both parameters.
    """

    across: Axis
    up: Axis
    xs: list[float]
    ys: list[float]
    means: npt.NDArray[np.float64]
    trials: list[FrozenTrial]


def surface(study: optuna.Study, names: Sequence[str], objective: int = 0) -> Surface | None:
    """The surface over two parameters; None where too few trials have both, or one never varied.

    Optuna's own contour has a cell for each pair of values, which is a million cells at a
    thousand trials, and goes through every trial, however noisy.
    """
    trials = [
        trial for trial in finite(study, objective) if all(name in trial.params for name in names)
    ]
    if len(trials) < 2 * NEAR:
        return None
    across, up = (axis(trials, name) for name in names)
    if across.low == across.high or up.low == up.high:
        return None
    points = np.array(
        [[each.fraction(trial.params[each.name]) for each in (across, up)] for trial in trials]
    )
    values = [value(trial, objective) for trial in trials]
    near = KNeighborsRegressor(min(len(trials), max(NEAR, len(trials) // 40)), weights="distance")
    xs, ys = _cells(across), _cells(up)
    grid = np.array([[x, y] for y in ys for x in xs])
    means = near.fit(points, values).predict(grid).reshape(len(ys), len(xs))
    return Surface(across, up, _positions(across, xs), _positions(up, ys), means.round(6), trials)


def _cells(each: Axis) -> list[float]:
    """Where the cells of an axis are, from 0 to 1."""
    if each.choices:
        return [position / each.high for position in range(len(each.choices))]
    return [cell / (GRID - 1) for cell in range(GRID)]


def _positions(each: Axis, fractions: Sequence[float]) -> list[float]:
    return [each.low + fraction * (each.high - each.low) for fraction in fractions]
