"""Which trials improved a study, and how many have ended since: what ``[budget] patience`` counts.

An improvement is a trial that counts and is better than the last improvement by at least
``min_delta``; the first trial that counts is one. As in fastai's and Keras' early stopping, smaller
gains do not move the mark, so that many of them add up to an improvement.

Trials are taken in the order of their numbers, not of their ends: whoever looks, and whenever a
worker has read which trial, a set of trials always has the same improvements.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterable
from operator import itemgetter

from optuna.trial import FrozenTrial

from hpo_job.trial.counting import counts, takes_place
from hpo_job.trial.phases import Direction


class Improvements:
    """The trials of a study with one metric that have ended.

    Only trials that are better than all before them can be improvements, whatever ``min_delta``
    is; there are few of these, so taking in a trial and counting cost little.

    Args:
        direction: which way is better.
    """

    def __init__(self, direction: Direction) -> None:
        self._sign = 1.0 if direction == "maximize" else -1.0
        self._places: list[int] = []  # the numbers of those that took a place in the budget
        self._records: list[tuple[int, float]] = []  # number and value, each better than the last

    def update(self, trials: Iterable[FrozenTrial]) -> None:
        """Take in trials that have ended since; those that still wait or run are passed over."""
        for trial in trials:
            if takes_place(trial):
                bisect.insort(self._places, trial.number)
            if counts(trial):
                assert trial.values is not None
                self._add(trial.number, self._sign * trial.values[0])

    def latest(self, min_delta: float) -> int | None:
        """The number of the last trial that was an improvement; None if none was."""
        last: tuple[int, float] | None = None
        for number, value in self._records:
            if last is None or _gains(value - last[1], min_delta):
                last = number, value
        return None if last is None else last[0]

    def since(self, min_delta: float) -> int:
        """How many parameter sets with later numbers than the last improvement have ended."""
        last = self.latest(min_delta)
        return len(self._places) - (0 if last is None else bisect.bisect(self._places, last))

    def _add(self, number: int, value: float) -> None:
        position = bisect.bisect(self._records, number, key=itemgetter(0))
        if position and self._records[position - 1][1] >= value:
            return
        end = position
        while end < len(self._records) and self._records[end][1] <= value:
            end += 1
        self._records[position:end] = [(number, value)]


def _gains(gain: float, min_delta: float) -> bool:
    """Whether a gain is ``min_delta``; 1.001 - 1 is not quite 0.001."""
    return gain >= min_delta or math.isclose(gain, min_delta, rel_tol=1e-9, abs_tol=0.0)
