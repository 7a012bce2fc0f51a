"""What the budget has to know of a study, kept up by looking at each finished trial once."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from datetime import datetime, timedelta

from optuna.trial import FrozenTrial, TrialState

from hpo_job.trial import attributes

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)


class Ledger:
    """A study's trials as the budget sees them.

    A finished trial never changes, so that an `update` costs what is new, not the whole study:
    it is called for every trial that starts, while the other workers wait.
    """

    def __init__(self) -> None:
        self.finished = 0  # COMPLETE and PRUNED
        self.open: list[FrozenTrial] = []  # WAITING and RUNNING
        self.broken_off: dict[int, FrozenTrial] = {}  # by number: no other trial retries them yet
        self.draws = 0  # how many were drawn, which is the number of the next one
        self._retried: set[int] = set()
        self._seen = 0
        self._times = Times()

    @property
    def running(self) -> int:
        return sum(trial.state == TrialState.RUNNING for trial in self.open)

    def update(self, trials: Sequence[FrozenTrial]) -> None:
        """Look at all trials of the study, in the order of their numbers."""
        new = trials[self._seen :]
        self._seen = len(trials)
        for trial in new:
            earlier = trial.user_attrs.get(attributes.RETRY_OF)
            if earlier is not None:
                self._retried.add(earlier)
                self.broken_off.pop(earlier, None)
        now = [*(trials[trial.number] for trial in self.open), *new]
        self.open = [trial for trial in now if not trial.state.is_finished()]
        for trial in now:
            self.draws = max(self.draws, 1 + int(trial.user_attrs.get(attributes.DRAW, -1)))
            if trial.state.is_finished():
                self._end(trial)

    def working_time(self, now: datetime) -> timedelta:
        """How long the study has been worked on: the time in which at least one trial was running.

        Nights in which no worker ran do not count, nor do lost trials, whose end nobody saw.
        """
        running = [trial.datetime_start for trial in self.open if trial.datetime_start]
        return self._times.total(min(running, default=now), now)

    def _end(self, trial: FrozenTrial) -> None:
        self.finished += trial.state in FINISHED
        reason = trial.user_attrs.get(attributes.REASON)
        broken_off = trial.state == TrialState.FAIL and reason in attributes.RETRIED
        if broken_off and trial.number not in self._retried:
            self.broken_off[trial.number] = trial
        lost = broken_off and reason == attributes.LOST
        if trial.datetime_start and trial.datetime_complete and not lost:
            self._times.add(trial.datetime_start, trial.datetime_complete)


class Times:
    """Stretches of time, those that overlap made one; their sum is at hand."""

    def __init__(self) -> None:
        self._starts: list[datetime] = []
        self._ends: list[datetime] = []
        self._sum = timedelta()

    def add(self, start: datetime, end: datetime) -> None:
        first = bisect.bisect_left(self._ends, start)
        last = bisect.bisect_right(self._starts, end)
        touched = range(first, last)
        if touched:
            start = min(start, self._starts[first])
            end = max(end, self._ends[last - 1])
            self._sum -= sum((self._ends[i] - self._starts[i] for i in touched), start=timedelta())
        if start > end:
            return  # the clock was put back while the trial ran
        self._starts[first:last], self._ends[first:last] = [start], [end]
        self._sum += end - start

    def total(self, start: datetime, now: datetime) -> timedelta:
        """The sum, with all from ``start`` until ``now`` counted in."""
        total = self._sum + max(now - start, timedelta())
        for position in range(len(self._ends) - 1, -1, -1):
            if self._ends[position] <= start:
                break
            inside = min(self._ends[position], now) - max(self._starts[position], start)
            total -= max(inside, timedelta())
        return total


def fixed_params(trial: FrozenTrial) -> dict[str, object]:
    """The parameters a trial was enqueued with; Optuna keeps them under a name of its own."""
    return dict(trial.system_attrs.get("fixed_params", {}))


def working_time(trials: Sequence[FrozenTrial], now: datetime) -> timedelta:
    """How long a study has been worked on; see `Ledger.working_time`."""
    ledger = Ledger()
    ledger.update(trials)
    return ledger.working_time(now)
