"""Parameters as axes of figures: numbers, logarithms, and the choices of a categorical one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial

from hpo_job.report.labels import label
from hpo_job.results.formatting import plain

FEW = 12  # integers that each get a tick


@dataclass(frozen=True)
class Axis:
    """One parameter's axis.

    Args:
        name: the parameter.
        choices: of a categorical one the choices, at positions 0, 1, ...; empty for numbers.
        log: whether the axis is logarithmic.
        low: its lowest position; see `position`.
        high: its highest position.
        integer: whether all values are ints, so that there is nothing between two neighbours.
    """

    name: str
    choices: tuple[str, ...]
    log: bool
    low: float
    high: float
    integer: bool = False

    def position(self, value: Any) -> float:
        """Where a value is drawn: at the number, its logarithm, or the choice's position."""
        if self.choices:
            return float(self.choices.index(plain(value)))
        return math.log10(value) if self.log else float(value)

    def fraction(self, value: Any) -> float:
        """Where a value is drawn, from 0 at the low end to 1 at the high end."""
        width = self.high - self.low
        return (self.position(value) - self.low) / width if width else 0.5

    def text(self, position: float) -> str:
        """What a position between `low` and `high` stands for, in few characters."""
        if self.choices:
            return self.choices[round(position)]
        return plain(float(f"{10**position if self.log else position:.3g}"))

    def plotly(self) -> dict[str, Any]:
        """The settings of a plotly axis that takes the values themselves."""
        if self.choices:
            return {
                "type": "category",
                "categoryorder": "array",
                "categoryarray": list(map(label, self.choices)),
            }
        return self.plotly_numbers()

    def plotly_numbers(self) -> dict[str, Any]:
        """The settings of a plotly axis of numbers."""
        if self.log:
            return {"type": "log", "dtick": 1}
        few = self.integer and self.high - self.low <= FEW
        return {"type": "linear", **({"dtick": 1} if few else {})}


def axis(trials: Sequence[FrozenTrial], name: str) -> Axis:
    """The axis of a parameter that at least one of ``trials`` has.

    It ranges over the values of the trials, which need not cover the whole search space.
    """
    having = [trial for trial in trials if name in trial.params]
    values = [trial.params[name] for trial in having]
    distributions = [trial.distributions[name] for trial in having]
    numbers = all(
        isinstance(each, FloatDistribution | IntDistribution) for each in distributions
    ) and all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    if not numbers:
        choices = {
            plain(value): None
            for each in distributions
            if isinstance(each, CategoricalDistribution)
            for value in each.choices
        }
        choices |= {plain(value): None for value in values}
        return Axis(name, tuple(choices), False, 0.0, max(len(choices) - 1.0, 0.0))
    log = min(values) > 0 and all(
        isinstance(each, FloatDistribution | IntDistribution) and each.log for each in distributions
    )
    positions = [math.log10(value) if log else float(value) for value in values]
    integer = all(isinstance(value, int) for value in values)
    return Axis(name, (), log, min(positions), max(positions), integer)
