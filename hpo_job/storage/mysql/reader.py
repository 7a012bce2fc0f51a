"""Reads studies and trials, and keeps what this process has read of them.

Guaranteed:
- A view (`StudyView`) is brought up to date by one statement, so all of it is as of one moment.
  Isolation level REPEATABLE READ or READ COMMITTED gives the same: there is no transaction around
  several reads.
- A finished trial is read once and kept. It is never read again: every write in this package,
  and Optuna's own, is refused for a trial that has finished.
- All contents of a trial are in the tables before its state says that it has finished: whoever
  sees it finished sees it whole.
- A trial that this process runs is known without reading (`Draft`); its own writes are seen at
  once, whether they are stored already or still buffered.
- Between `enter` and `leave`, that is under the study's lock, the first read of a study counts
  until this process itself changes something: nobody who uses the lock can have changed it.
- A lost connection loses nothing that is kept here. A read is repeated on a new connection; a
  read under a lock that went with the connection raises `LockLost` instead.

Not guaranteed:
- Outside of the lock, what is returned may be out of date when it arrives: another worker may
  start, report to or end a trial at any time.
- Contents of another worker's running trial lag. They are read when somebody first looks at them
  and followed from there; a value that is overwritten is seen after `view.RENEW` seconds, or
  when the trial finishes. What the worker has buffered is not seen at all (see `writer`).
- Attributes that another process sets on a trial of this one are seen here when it has finished.
- Workers that do not use the lock, such as Optuna's own, may start trials in between.
- Deleted trials are not noticed, since Optuna deletes whole studies only. A deleted study is:
  the next read of it raises GoneError.
"""

import time
from collections.abc import Container
from datetime import datetime, timedelta
from typing import Any

from optuna.distributions import BaseDistribution, check_distribution_compatibility
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from hpo_job.storage import tables, trial_rows
from hpo_job.storage.mysql import faults, queries, statements
from hpo_job.storage.mysql.connection import Connection, Cursor
from hpo_job.storage.mysql.draft import Draft, copy_of
from hpo_job.storage.mysql.freshness import fresh_until
from hpo_job.storage.mysql.view import StudyView
from hpo_job.trial import clock

# Seconds for which what was read under the lock also serves the trial that was started there.
JUST_READ = 1.0


class Reader:
    """The views of the studies, and the statements that refresh them.

    Not safe for threads: every caller holds the connection's mutex.

    Args:
        connection: the process' one connection.
        drafts: by trial id, the trials that this process runs; shared with the writer.
        fresh_for: seconds for which a view counts at least as up to date, unless this process
            changes it, see `fresh_until`.
    """

    def __init__(
        self, connection: Connection, drafts: dict[int, Draft], fresh_for: float = 0.0
    ) -> None:
        # By trial id, start and end as this process knows them: the tables keep whole seconds.
        self.times: dict[int, tuple[trial_rows.Time, trial_rows.Time]] = {}
        # Ids of the studies whose view was read under the lock that is held, and is still true.
        self._fresh: set[int] = set()
        self._fresh_for = fresh_for
        self._fresh_until: dict[int, float] = {}  # by study id
        self.started: int | None = None  # the study of a trial that was started under the lock
        self._connection = connection
        self._drafts = drafts
        self._views: dict[int, StudyView] = {}
        # The server's time in UTC, and this process' monotonic clock at that moment.
        self._clock: tuple[datetime, float] | None = None
        self._checksums: dict[int, int] = {}  # of the studies' attributes, when last read
        # A study whose view is good for one more read, and until when.
        self._just_read: tuple[int, float] | None = None

    # -- whole studies ------------------------------------------------------------------------

    def refreshed(self, study_id: int) -> StudyView:
        """The view of a study, brought up to date by one statement.

        There is no statement where the view was read under the lock that is held, nor for the
        first read after a trial was started under it.

        Raises:
            GoneError: there is no such study (any more).
        """
        view = self.view(study_id)
        if not self.is_fresh(study_id) and not self._was_just_read(study_id):
            self._refresh(view)
        return view

    def is_fresh(self, study_id: int) -> bool:
        """Whether the view was read under the lock that the calling thread holds, or just now."""
        if study_id in self._fresh and self._connection.holds_lock():
            return True
        return time.monotonic() < self._fresh_until.get(study_id, 0.0)

    def changed(self) -> None:
        """Call when this process has changed a study in another way than by a new trial."""
        self._fresh.clear()
        self._fresh_until.clear()

    def enter(self) -> None:
        """Call when the lock was taken: what was read before it does not count."""
        self._fresh.clear()
        self.started = self._just_read = None

    def leave(self) -> None:
        """Call before the lock is released.

        A trial that was started under it gets by without another read: its sampler sees the study
        as it was under the lock.
        """
        if self.started in self._fresh and self.started is not None:
            self._just_read = self.started, time.monotonic() + JUST_READ
        self._fresh.clear()

    def _was_just_read(self, study_id: int) -> bool:
        if self._just_read is None:
            return False
        (read, until), self._just_read = self._just_read, None
        return read == study_id and time.monotonic() < until

    def attrs_checksum(self, study_id: int) -> int | None:
        """A number that changes with the study's attributes.

        Returns:
            None unless the study was read under the lock: attributes may have changed since.
        """
        return self._checksums.get(study_id) if self.is_fresh(study_id) else None

    def stale(self, study_id: int, grace: int) -> list[int]:
        """The ids of running trials without a heartbeat for ``grace`` seconds.

        A trial that never had a heartbeat counts from its start. All times are the server's.

        Returns:
            an empty list for ``grace`` seconds after the server, or the way to it, was away:
            heartbeats may be missing for that reason.
        """
        stale = self._refresh(self.view(study_id), grace)
        return [] if stale and self._connection.was_away(grace) else stale

    def all_trials(
        self, study_id: int, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """The trials in some states, or all; this process' own with what is still buffered.

        Raises:
            GoneError: there is no such study (any more).
        """
        view = self.refreshed(study_id)
        for draft in self._drafts.values():
            if draft.study_id == study_id:
                view.place(draft.snapshot())
        return view.listed(states)

    def view(self, study_id: int) -> StudyView:
        """The view as it is, without a statement."""
        if study_id not in self._views:
            self._views[study_id] = StudyView(
                study_id, lambda i, name: self._content(study_id, i, name), self.times
            )
        return self._views[study_id]

    def replace(self, study_id: int, trial: FrozenTrial) -> None:
        """Take in a trial that this process has started or ended, until it is read again."""
        if study_id in self._views:
            self._views[study_id].place(trial)

    def stored_new(self, study_id: int, trial: FrozenTrial) -> None:
        """Take in a trial that this process has created.

        The view stays fresh if the trial's number follows those in it. Otherwise a worker that
        does not use the lock has created one in between, and the study is read again.
        """
        if not (self.is_fresh(study_id) and self.view(study_id).add(trial)):
            self.changed()

    def forget(self, study_id: int) -> None:
        """Drop the view of a study that was deleted."""
        self._views.pop(study_id, None)

    def now(self) -> datetime:
        """The server's time as naive local time, as those of trials are.

        Every read of a study brings it; from there it is advanced by this process' monotonic
        clock. This machine's own time is never used.
        """
        if self._clock is None:
            self._set_clock(self.query(statements.NOW)[0][0])
        assert self._clock is not None
        then, ticks = self._clock
        return clock.local_time(then + timedelta(seconds=time.monotonic() - ticks))

    def check_distribution(self, study_id: int, name: str, distribution: BaseDistribution) -> None:
        """Refuse a parameter that the study has with another distribution.

        Raises:
            ValueError: the two distributions are not compatible.
        """
        view = self.view(study_id)
        if view.last_id < 0:
            self.refreshed(study_id)
        stored = view.distributions.setdefault(name, distribution)
        if stored is not distribution:
            check_distribution_compatibility(stored, distribution)

    # -- one trial ------------------------------------------------------------------------------

    def known(self, trial_id: int) -> FrozenTrial | None:
        """A trial as it was last read, without a statement; None if it was never read."""
        for view in self._views.values():
            trial = view.known(trial_id)
            if trial is not None:
                return trial
        return None

    def refuse_finished(self, trial_id: int) -> None:
        """Raise UpdateFinishedTrialError if the trial was read as finished.

        If it was not, it may have finished since: the write's own statement finds out.
        """
        trial = self.known(trial_id)
        if trial is not None and trial.state.is_finished():
            raise already_finished(trial_id)

    def trial(self, trial_id: int) -> FrozenTrial:
        """A trial as it is now; a finished one, or one of this process, without a statement.

        Raises:
            GoneError: there is no such trial.
        """
        draft = self._drafts.get(trial_id)
        if draft is not None:
            return copy_of(draft.snapshot())
        known = self.known(trial_id)
        if known is not None and known.state.is_finished():
            return known
        return self.stored(trial_id)[0]

    def stored(self, trial_id: int) -> tuple[FrozenTrial, int]:
        """A trial as it is stored now, and the id of its study.

        Raises:
            GoneError: there is no such trial.
        """
        rows = self.query(queries.trial_query(trial_id))
        row = next((row for row in rows if row[0] == tables.TRIAL), None)
        if row is None:
            raise faults.gone(self._connection.server.label)
        contents = trial_rows.collect(rows).get(trial_id) or trial_rows.Contents()
        return trial_rows.freeze(row, contents, self.times.get(trial_id)), int(row[4])

    def study_of(self, trial_id: int) -> int:
        """The id of the study of an unfinished trial.

        Raises:
            GoneError: there is no such trial.
            UpdateFinishedTrialError: it has finished.
        """
        trial, study_id = self.stored(trial_id)
        if trial.state.is_finished():
            raise already_finished(trial_id)
        return study_id

    def id_of_number(self, study_id: int, number: int) -> int:
        """The id of a trial; without a statement if it was read before.

        Raises:
            GoneError: the study has no trial of that number.
        """
        known = self.view(study_id).id_of_number(number)
        if known is not None:
            return known
        rows = self.query(statements.TRIAL_ID, (study_id, number))
        if not rows:
            raise faults.gone(self._connection.server.label)
        return int(rows[0][0])

    # -- statements -----------------------------------------------------------------------------

    def query(
        self, statement: str, parameters: tuple[Any, ...] | None = None
    ) -> list[trial_rows.Row]:
        """All rows of an answer; the statement is repeated if the connection is lost."""

        def read(cursor: Cursor, _: int) -> list[trial_rows.Row]:
            cursor.execute(statement, parameters)
            return list(cursor.fetchall())

        return self._connection.run(read)

    def _refresh(self, view: StudyView, grace: int | None = None) -> list[int]:
        """Bring a view up to date; the ids of stale trials, if a grace is given."""
        begin = time.monotonic()
        rows = self.query(view.query(grace))
        try:
            finished, stale = view.apply(rows)
        except KeyError as error:
            self.forget(view.study_id)
            raise faults.gone(self._connection.server.label) from error
        study = next(row for row in rows if row[0] == tables.STUDY)
        self._checksums[view.study_id] = int(study[4])
        self._set_clock(study[6])
        for trial_id in finished:
            self._drafts.pop(trial_id, None)
        renewal = view.renewal()
        if renewal:
            view.apply_running(self.query(renewal))
        if self._connection.holds_lock():
            self._fresh.add(view.study_id)
        self._fresh_until[view.study_id] = fresh_until(begin, self._fresh_for)
        return stale

    def _set_clock(self, utc: datetime) -> None:
        self._clock = utc, time.monotonic()

    def _content(self, study_id: int, trial_id: int, name: str) -> dict[Any, Any]:
        """Read a content of an unfinished trial when a `LazyTrial` is first asked for it.

        The same content of all unfinished trials is read with it, since a sampler that looks at
        one looks at all of them.
        """
        with self._connection.mutex:
            view = self.view(study_id)
            content = view.contents_of(trial_id, name)
            if content is None and trial_id in view.unfinished():
                view.apply_running(self.query(view.want([trial_rows.KINDS[name]])))
                content = view.contents_of(trial_id, name)
            if content is None:
                # The trial has finished since it was handed out.
                content = dict(getattr(self.trial(trial_id), name))
            return content


def already_finished(trial_id: int) -> UpdateFinishedTrialError:
    """The error that a write to a finished trial is answered with."""
    return UpdateFinishedTrialError(f"the trial with the id {trial_id} has already finished")
