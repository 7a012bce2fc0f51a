"""What the budget has to know of a study, kept up to date by reading each finished trial once."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from datetime import datetime

from optuna.trial import FrozenTrial, TrialState

from hpo_job.study.grid import Grid
from hpo_job.study.improvements import Improvements
from hpo_job.trial import attributes
from hpo_job.trial.clock import instant
from hpo_job.trial.counting import is_promotion, takes_place


class Ledger:
    """A study's trials as the budget sees them.

    A finished trial never changes, so an `update` costs what is new, not the whole study: it is
    called for every trial that starts, while the other workers wait.
    """

    def __init__(self) -> None:
        self.evaluated = 0  # trials that used up a place in the budget
        self.open: list[FrozenTrial] = []  # WAITING and RUNNING
        self.broken_off: dict[int, FrozenTrial] = {}  # by number: no other trial retries them yet
        self.grid: Grid | None = None  # of a study that tries all combinations
        self.improvements: Improvements | None = None  # of a study whose budget has a patience
        self.draws = 0  # how many were drawn, which is the number of the next one
        self._retried: set[int] = set()
        self._read = 0
        self._times = Times()

    @property
    def running(self) -> int:
        return sum(trial.state == TrialState.RUNNING for trial in self.open)

    @property
    def holding(self) -> int:
        """How many running trials hold a place in the budget."""
        running = (trial for trial in self.open if trial.state == TrialState.RUNNING)
        return sum(not is_promotion(trial) for trial in running)

    def update(self, trials: Sequence[FrozenTrial]) -> None:
        """Read what changed; ``trials`` are all of the study, in the order of their numbers."""
        new = trials[self._read :]
        self._read = len(trials)
        for trial in new:
            earlier = trial.user_attrs.get(attributes.RETRY_OF)
            if earlier is not None:
                self._retried.add(earlier)
                self.broken_off.pop(earlier, None)
        changed = [*(trials[trial.number] for trial in self.open), *new]
        self.open = [trial for trial in changed if not trial.state.is_finished()]
        if self.grid:
            self.grid.update(changed)
        if self.improvements:
            self.improvements.update(changed)
        for trial in changed:
            self.draws = max(self.draws, 1 + int(trial.user_attrs.get(attributes.DRAW, -1)))
            if trial.state.is_finished():
                self._end(trial)

    def working_time(self, now: datetime) -> float:
        """The seconds in which at least one trial was running, until ``now``.

        Nights in which no worker ran do not count. Neither do lost trials, since nobody knows
        when they ended.
        """
        running = [trial.datetime_start for trial in self.open if trial.datetime_start]
        return self._times.total(min(running, default=now, key=instant), now)

    def _end(self, trial: FrozenTrial) -> None:
        self.evaluated += takes_place(trial)
        reason = trial.user_attrs.get(attributes.REASON)
        broken_off = trial.state == TrialState.FAIL and reason in attributes.RETRIED
        if broken_off and trial.number not in self._retried:
            self.broken_off[trial.number] = trial
        lost = broken_off and reason == attributes.LOST
        if trial.datetime_start and trial.datetime_complete and not lost:
            self._times.add(trial.datetime_start, trial.datetime_complete)


class Times:
    """Stretches of time, in which overlapping ones count once.

    They are kept as disjoint stretches in ascending order, in seconds since the epoch, together
    with their sum; so adding one costs little, however many there are.
    """

    def __init__(self) -> None:
        self._starts: list[float] = []
        self._ends: list[float] = []
        self._sum = 0.0

    def add(self, start: datetime, end: datetime) -> None:
        """Add a stretch; one that ends before it starts, since the clock was set back, is none."""
        begin, finish = instant(start), instant(end)
        first = bisect.bisect_left(self._ends, begin)
        last = bisect.bisect_right(self._starts, finish)
        touched = range(first, last)
        if touched:
            begin = min(begin, self._starts[first])
            finish = max(finish, self._ends[last - 1])
            self._sum -= sum(self._ends[i] - self._starts[i] for i in touched)
        if begin > finish:
            return
        self._starts[first:last], self._ends[first:last] = [begin], [finish]
        self._sum += finish - begin

    def total(self, start: datetime, now: datetime) -> float:
        """The seconds of all stretches, the one from ``start`` to ``now`` included."""
        begin, finish = instant(start), instant(now)
        total = self._sum + max(finish - begin, 0.0)
        for position in range(len(self._ends) - 1, -1, -1):
            if self._ends[position] <= begin:
                break
            overlap = min(self._ends[position], finish) - max(self._starts[position], begin)
            total -= max(overlap, 0.0)
        return total


def working_time(trials: Sequence[FrozenTrial], now: datetime) -> float:
    """The seconds a study has been worked on; see `Ledger.working_time`."""
    ledger = Ledger()
    ledger.update(trials)
    return ledger.working_time(now)
