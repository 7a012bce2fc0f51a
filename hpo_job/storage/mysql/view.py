"""A process' copy of one study, which grows by what is new and never forgets a finished trial."""

import bisect
import time
from collections.abc import Callable, Container, Iterable, Sequence
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from hpo_job.machine import collector_paused
from hpo_job.storage import tables
from hpo_job.storage.mysql import queries
from hpo_job.storage.optuna_private import LazyTrial, trial_id_of
from hpo_job.storage.trial_rows import KINDS, STATES, Contents, Row, Time, collect, freeze

# Auto-increment keys are assigned before the rows are committed, so a lower key may become
# visible after a higher one: each read goes back this far behind the highest key. A transaction
# that stays open while 256 others write to the same table would be missed until `RENEW`.
WINDOW = 256
# Seconds after which all contents of running trials are read anew: a row that is overwritten
# keeps its key, and is not seen as new.
RENEW = 30.0


class StudyView:
    """The trials of a study as of the last refresh, sorted by id.

    Finished trials are complete. An unfinished one is a `LazyTrial`, whose contents are read when
    somebody looks at them: a counter of trials looks at none.

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
        self._running: dict[int, Contents] = {}  # contents of unfinished trials, as far as read
        # The kinds of contents that are followed for running trials, and the key after which.
        self._tails: dict[int, int] = {}
        self._seen: dict[int, set[int]] = {}  # keys within the window that were taken in already
        self._renewed = 0.0  # when contents of running trials were last read whole

    # -- reading the tables -------------------------------------------------------------

    def query(self, grace: int | None = None) -> str:
        """The statement whose answer `apply` takes in."""
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
            the ids of trials that have finished, and those of trials without a heartbeat.

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
        """A statement for `apply_running`, if contents of running trials are to be read anew."""
        if not self._tails or time.monotonic() - self._renewed < RENEW:
            return None
        return self.want(self._tails)

    def want(self, kinds: Iterable[int]) -> str:
        """A statement for `apply_running`: some kinds of contents of all unfinished trials."""
        self._renewed = time.monotonic()
        return queries.running_query(self._unfinished, kinds)

    def apply_running(self, rows: Sequence[Row]) -> None:
        """Take in contents of unfinished trials, and follow these kinds from here on."""
        kinds = {row[0] for row in rows if row[0] in tables.TABLES}
        for trial_id, contents in collect(rows).items():
            if trial_id in self._unfinished:
                self._compare(trial_id, contents, kinds)
        for row in rows:
            if row[0] >= tables.HIGHEST:
                self._tails[row[0] - tables.HIGHEST] = max(0, row[2] - WINDOW)

    def _compare(self, trial_id: int, contents: Contents, kinds: Container[int]) -> None:
        """Replace what has changed of an unfinished trial's contents."""
        known = self._running.setdefault(trial_id, Contents())
        for name, kind in KINDS.items():
            if kind in kinds and (content := contents.attribute(name)) != known.attribute(name):
                known.replace(name, content)
                self._hand_out_anew(trial_id)

    def _take(self, row: Row, contents: dict[int, Contents]) -> bool:
        """Take in one trial that is new or changed its state; whether it has finished."""
        trial_id, state = row[1], STATES[row[3]]
        stored = contents.get(trial_id) or Contents()
        trial = freeze(row, stored, self._times.get(trial_id))
        if state.is_finished():
            self._unfinished.pop(trial_id, None)
            self._running.pop(trial_id, None)
            self._times.pop(trial_id, None)
            for name, distribution in stored.distributions.items():
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
        """Take in what was added to running trials."""
        for row in rows:
            kind = row[0] - tables.TAIL
            key = int(row[5]) if kind == tables.REPORT else row[2]
            seen = self._seen.setdefault(kind, set())
            if key in seen:
                continue
            seen.add(key)
            self._tails[kind] = max(self._tails[kind], key - WINDOW)
            if row[1] in self._unfinished:
                self._running.setdefault(row[1], Contents()).add(row, kind)
                self._hand_out_anew(row[1])
        for kind, seen in self._seen.items():
            if len(seen) > 2 * WINDOW:
                self._seen[kind] = {key for key in seen if key > self._tails[kind]}

    def _hand_out_anew(self, trial_id: int) -> None:
        """Hand out a new lazy trial from here on: what was read of the old one never changes."""
        old = self._trials[self._position[trial_id]]
        if isinstance(old, LazyTrial) and old.was_read():
            self.place(LazyTrial(old.bare(), self._read))

    # -- what it knows ----------------------------------------------------------------------

    def add(self, trial: FrozenTrial) -> bool:
        """Take in a trial that this process has just created.

        Returns:
            False if the view lacks the trials before it, and has to be read.
        """
        if trial.number != len(self._trials):
            return False
        trial_id = trial_id_of(trial)
        self._unfinished[trial_id] = trial.state
        self._append(trial_id, trial)
        return True

    def place(self, trial: FrozenTrial) -> None:
        """Replace a trial by a newer one; one that is not in the view is ignored."""
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
        """A trial as of the last refresh, None if it is not in the view."""
        position = self._position.get(trial_id)
        return None if position is None else self._trials[position]

    def unfinished(self) -> Container[int]:
        """The ids of the trials that were unfinished at the last refresh."""
        return self._unfinished.keys()

    def contents_of(self, trial_id: int, name: str) -> dict[Any, Any] | None:
        """A content of an unfinished trial; None if it is not followed yet, or has finished."""
        if KINDS[name] not in self._tails or trial_id not in self._unfinished:
            return None
        return self._running.setdefault(trial_id, Contents()).attribute(name)

    def id_of_number(self, number: int) -> int | None:
        """The id of a trial, None if it is not in the view."""
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
