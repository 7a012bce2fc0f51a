"""Parameters as axes of figures: numbers, logarithms, and words in a row."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial

from hpo_job.report.style import label
from hpo_job.results.formatting import plain

FEW = 12  # whole numbers that each get a tick


@dataclass(frozen=True)
class Axis:
    """One parameter's axis.

    words: of a categorical one the choices, in their places 0, 1, ...; empty for numbers.
    low, high: the ends, as `place` gives them.
    whole: the values are ints, so that there is nothing between two of them.
    """

    name: str
    words: tuple[str, ...]
    log: bool
    low: float
    high: float
    whole: bool = False

    def place(self, found: Any) -> float:
        """Where a value lies: the number, its logarithm, or the word's place."""
        if self.words:
            return float(self.words.index(plain(found)))
        return math.log10(found) if self.log else float(found)

    def share(self, found: Any) -> float:
        """The same between 0 and 1."""
        width = self.high - self.low
        return (self.place(found) - self.low) / width if width else 0.5

    def value(self, place: float) -> str:
        """What a place between `low` and `high` is, in few characters."""
        if self.words:
            return self.words[round(place)]
        return plain(float(f"{10**place if self.log else place:.3g}"))

    def settings(self) -> dict[str, Any]:
        """As plotly has an axis, for values that are not yet placed."""
        if self.words:
            return {
                "type": "category",
                "categoryorder": "array",
                "categoryarray": list(map(label, self.words)),
            }
        return self.numbers()

    def numbers(self) -> dict[str, Any]:
        """The same of numbers, placed by plotly itself."""
        if self.log:
            return {"type": "log", "dtick": 1}
        few = self.whole and self.high - self.low <= FEW
        return {"type": "linear", **({"dtick": 1} if few else {})}


def axis(trials: Sequence[FrozenTrial], name: str) -> Axis:
    """The axis of a parameter that at least one of ``trials`` has.

    Its range is that of the values: a sampler need not have gone through all of it.
    """
    having = [trial for trial in trials if name in trial.params]
    values = [trial.params[name] for trial in having]
    kinds = [trial.distributions[name] for trial in having]
    numbers = all(isinstance(kind, FloatDistribution | IntDistribution) for kind in kinds) and all(
        isinstance(found, int | float) and not isinstance(found, bool) for found in values
    )
    if not numbers:
        words = {
            plain(found): None
            for kind in kinds
            if isinstance(kind, CategoricalDistribution)
            for found in kind.choices
        }
        words |= {plain(found): None for found in values}
        return Axis(name, tuple(words), False, 0.0, max(len(words) - 1.0, 0.0))
    log = min(values) > 0 and all(
        isinstance(kind, FloatDistribution | IntDistribution) and kind.log for kind in kinds
    )
    places = [math.log10(found) if log else float(found) for found in values]
    whole = all(isinstance(found, int) for found in values)
    return Axis(name, (), log, min(places), max(places), whole)
