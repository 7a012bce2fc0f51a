"""A worker's view of one study: each finished trial once, running trials as far as needed."""

import bisect
import time
from collections.abc import Callable, Container, Iterable, Sequence
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from hpo_job.machine import collector_paused
from hpo_job.storage.mysql import queries, tables
from hpo_job.storage.mysql.optuna_private import LazyTrial, trial_id_of
from hpo_job.storage.mysql.rows import KINDS, STATES, Contents, Row, Time, collect, freeze

# Keys are handed out before the rows are committed, so a lower key may appear after a higher
# one: each look goes back this far.
WINDOW = 256
# Seconds after which contents of running trials are read anew: rows that were overwritten
# keep their key.
RENEW = 30.0


class StudyView:
    """The trials of a study as of the last refresh, sorted by id.

    Args:
        study_id: the study.
        read: called with a trial's id and the name of a content when it is first used.
        times: by trial id, start and end as this process knows them, to the microsecond.
    """

    def __init__(
        self,
        study_id: int,
        read: Callable[[int, str], Any],
        times: dict[int, tuple[Time, Time]],
    ) -> None:
        self.study_id = study_id
        self.last_id = -1
        self.distributions: dict[str, BaseDistribution] = {}
        self._read = read
        self._times = times
        self._trials: list[FrozenTrial] = []
        self._position: dict[int, int] = {}
        self._by_state: dict[TrialState, list[int]] = {state: [] for state in TrialState}
        self._unfinished: dict[int, TrialState] = {}
        self._running: dict[int, Contents] = {}
        self._tails: dict[int, int] = {}
        self._seen: dict[int, set[int]] = {}
        self._renewed = 0.0

    # -- reading the tables -------------------------------------------------------------

    def query(self, grace: int | None = None) -> str:
        """The statement whose answer `apply` takes."""
        by_state: dict[TrialState, list[int]] = {TrialState.RUNNING: [], TrialState.WAITING: []}
        for trial_id, state in self._unfinished.items():
            by_state[state].append(trial_id)
        return queries.view_query(
            self.study_id,
            self.last_id,
            by_state[TrialState.RUNNING],
            by_state[TrialState.WAITING],
            tails=self._tails,
            grace=grace,
        )

    def apply(self, rows: Iterable[Row]) -> tuple[list[int], list[int]]:
        """Take in what changed.

        Returns:
            ids of trials that finished, and ids of trials without a heartbeat.

        Raises:
            KeyError: there is no such study (any more).
        """
        rows = list(rows)
        if not any(row[0] == tables.STUDY for row in rows):
            raise KeyError(f"there is no study with the id {self.study_id}")
        with collector_paused():
            contents = collect(rows)
            changed = sorted(
                (row for row in rows if row[0] == tables.TRIAL), key=lambda row: row[1]
            )
            finished = [row[1] for row in changed if self._take(row, contents)]
        self._take_running([row for row in rows if row[0] >= tables.TAIL])
        return finished, [row[1] for row in rows if row[0] == tables.STALE]

    def renewal(self) -> str | None:
        """A statement for `apply_running`, when contents of running trials are due again."""
        if not self._tails or time.monotonic() - self._renewed < RENEW:
            return None
        return self.want(self._tails)

    def want(self, kinds: Iterable[int]) -> str:
        """A statement for `apply_running`: some contents of all unfinished trials."""
        self._renewed = time.monotonic()
        return queries.running_query(self._unfinished, kinds)

    def apply_running(self, rows: Sequence[Row], keep: bool = True) -> None:
        """Take in contents of unfinished trials; with `keep`, follow them from here on."""
        for trial_id, found in collect(rows).items():
            if trial_id in self._unfinished:
                mine = self._running.setdefault(trial_id, Contents())
                for kind in {row[0] for row in rows if row[0] in tables.TABLES}:
                    for name, of in KINDS.items():
                        if of == kind and (new := found.attribute(name)) != mine.attribute(name):
                            mine.replace(name, new)
                            self._thaw(trial_id)
        if keep:
            for row in rows:
                if row[0] >= tables.HIGHEST:
                    self._tails[row[0] - tables.HIGHEST] = max(0, row[2] - WINDOW)

    def _take(self, row: Row, contents: dict[int, Contents]) -> bool:
        trial_id, state = row[1], STATES[row[3]]
        found = contents.get(trial_id) or Contents()
        trial = freeze(row, found, self._times.get(trial_id))
        if state.is_finished():
            self._unfinished.pop(trial_id, None)
            self._running.pop(trial_id, None)
            self._times.pop(trial_id, None)
            for name, distribution in found.distributions.items():
                self.distributions.setdefault(name, distribution)
        else:
            self._unfinished[trial_id] = state
            trial = LazyTrial(trial, self._read)
        if trial_id not in self._position:
            self._append(trial_id, trial)
        else:
            self.place(trial)
        return state.is_finished()

    def _append(self, trial_id: int, trial: FrozenTrial) -> None:
        self._position[trial_id] = len(self._trials)
        self._by_state[trial.state].append(len(self._trials))
        self._trials.append(trial)
        self.last_id = max(self.last_id, trial_id)

    def _take_running(self, rows: Sequence[Row]) -> None:
        for row in rows:
            kind = row[0] - tables.TAIL
            key = int(row[5]) if kind == tables.REPORT else row[2]
            seen = self._seen.setdefault(kind, set())
            if key in seen:
                continue
            seen.add(key)
            self._tails[kind] = max(self._tails[kind], key - WINDOW)
            if row[1] in self._unfinished:
                self._running.setdefault(row[1], Contents()).add(kind, row)
                self._thaw(row[1])
        for kind, seen in self._seen.items():
            if len(seen) > 2 * WINDOW:
                self._seen[kind] = {key for key in seen if key > self._tails[kind]}

    def _thaw(self, trial_id: int) -> None:
        """Hand out a new lazy trial from here on, as the old one may have been read."""
        old = self._trials[self._position[trial_id]]
        if isinstance(old, LazyTrial) and old.was_read():
            self.place(LazyTrial(old.bare(), self._read))

    # -- what it knows ----------------------------------------------------------------------

    def add(self, trial: FrozenTrial) -> bool:
        """Take in a trial that this process has just stored; False where there is one between."""
        if trial.number != len(self._trials):
            return False
        trial_id = trial_id_of(trial)
        self._unfinished[trial_id] = trial.state
        self._append(trial_id, trial)
        return True

    def place(self, trial: FrozenTrial) -> None:
        """Replace a trial that is in the view by a newer one."""
        position = self._position.get(trial_id_of(trial))
        if position is None:
            return
        old = self._trials[position]
        if old.state != trial.state:
            of_state = self._by_state[old.state]
            del of_state[bisect.bisect_left(of_state, position)]
            bisect.insort(self._by_state[trial.state], position)
        self._trials[position] = trial

    def known(self, trial_id: int) -> FrozenTrial | None:
        """A trial as of the last refresh, None where it is not in the view."""
        position = self._position.get(trial_id)
        return None if position is None else self._trials[position]

    def unfinished(self) -> Container[int]:
        """The ids of the trials that were unfinished at the last refresh."""
        return self._unfinished.keys()

    def contents_of(self, trial_id: int, name: str) -> dict[Any, Any] | None:
        """A content of an unfinished trial, None where it has not been asked for yet."""
        if KINDS[name] not in self._tails or trial_id not in self._unfinished:
            return None
        return self._running.setdefault(trial_id, Contents()).attribute(name)

    def id_of_number(self, number: int) -> int | None:
        """The id of a trial, None where the view does not have it."""
        if number < len(self._trials) and self._trials[number].number == number:
            return trial_id_of(self._trials[number])
        return None

    def listed(self, states: Container[TrialState] | None) -> list[FrozenTrial]:
        """The trials in some states, or all, by id."""
        wanted = [s for s in TrialState if states is None or s in states]
        if len(wanted) == len(TrialState):
            return self._trials.copy()
        positions = [self._by_state[s] for s in wanted]
        merged = positions[0] if len(positions) == 1 else sorted(sum(positions, []))
        return [self._trials[position] for position in merged]

    def counts(self) -> dict[TrialState, int]:
        """How many trials are in each state."""
        return {state: len(positions) for state, positions in self._by_state.items()}
