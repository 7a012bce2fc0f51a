"""What this process knows of the studies, and how it is brought up to date."""

import time
from collections.abc import Container
from datetime import datetime
from typing import Any

from optuna.distributions import BaseDistribution, check_distribution_compatibility
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from hpo_job.storage.mysql import queries, rows, tables
from hpo_job.storage.mysql import statements as sql
from hpo_job.storage.mysql.connection import Connection, Cursor
from hpo_job.storage.mysql.draft import Draft, copy_of
from hpo_job.storage.mysql.view import StudyView
from hpo_job.trial.clock import later, local_time

JUST_READ = 1.0  # seconds for which the look under the lock serves a trial that was started there


class Reader:
    """The views of the studies, and the statements that refresh them.

    Whoever calls it holds the connection's mutex.

    Args:
        connection: the process' one connection.
        drafts: by trial id, the trials that this process runs; shared with the writer.
    """

    def __init__(self, connection: Connection, drafts: dict[int, Draft]) -> None:
        # By trial id, start and end as this process knows them: the tables keep whole seconds.
        self.times: dict[int, tuple[rows.Time, rows.Time]] = {}
        self.fresh: set[int] = set()  # studies that were read since the lock was taken
        self.started: int | None = None  # the study of a trial that was started under the lock
        self._connection = connection
        self._drafts = drafts
        self._views: dict[int, StudyView] = {}
        self._clock: tuple[datetime, float] | None = None  # the server's, and this process' ticks
        self._sums: dict[int, int] = {}  # of the attributes of studies, at the last look
        self._just_read: tuple[int, float] | None = None  # a study, and until when that counts

    # -- whole studies ------------------------------------------------------------------------

    def refreshed(self, study_id: int) -> StudyView:
        """The view after one statement that brings it up to date.

        Raises:
            KeyError: there is no such study.
        """
        view = self.view(study_id)
        if not self.is_fresh(study_id) and not self._was_just_read(study_id):
            self._refresh(view)
        return view

    def is_fresh(self, study_id: int) -> bool:
        """Whether the study was read under the lock that the calling thread holds."""
        return study_id in self.fresh and self._connection.holds_lock()

    def enter(self) -> None:
        """The lock was taken: what was read before it does not count."""
        self.fresh.clear()
        self.started = self._just_read = None

    def leave(self) -> None:
        """The lock goes. A trial that was started under it sees the study as it was then."""
        if self.started in self.fresh and self.started is not None:
            self._just_read = self.started, time.monotonic() + JUST_READ
        self.fresh.clear()

    def _was_just_read(self, study_id: int) -> bool:
        just, self._just_read = self._just_read, None
        return just is not None and just[0] == study_id and time.monotonic() < just[1]

    def sum_of(self, study_id: int) -> int | None:
        """Changes with the study's attributes; None unless it was read under the lock."""
        return self._sums.get(study_id) if self.is_fresh(study_id) else None

    def stale(self, study_id: int, grace: int) -> list[int]:
        """The ids of running trials without a heartbeat for `grace` seconds.

        None while those may be missing because the server was: workers have the grace anew.
        """
        stale = self._refresh(self.view(study_id), grace)
        return [] if stale and self._connection.was_away(grace) else stale

    def all_trials(
        self, study_id: int, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """The trials in some states, or all, with this process' own as they are now."""
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

    def told(self, study_id: int, trial: FrozenTrial) -> None:
        """Take in how this process ended a trial, until it is read as it is stored."""
        if study_id in self._views:
            self._views[study_id].place(trial)

    def stored_new(self, study_id: int, trial: FrozenTrial) -> None:
        """Take in a trial that this process has stored, without a look if no other came between."""
        if not (self.is_fresh(study_id) and self.view(study_id).add(trial)):
            self.fresh.discard(study_id)

    def forget(self, study_id: int) -> None:
        """The study is gone."""
        self._views.pop(study_id, None)

    def now(self) -> datetime:
        """The server's time as naive local time; told with every look at a study."""
        if self._clock is None:
            self._told_time(self.query(sql.NOW)[0][0])
        assert self._clock is not None
        then, ticks = self._clock
        return later(then, time.monotonic() - ticks)

    def check_distribution(self, study_id: int, name: str, distribution: BaseDistribution) -> None:
        """Refuse a parameter that the study knows with another distribution.

        Raises:
            ValueError: the two cannot stand in one study.
        """
        view = self.view(study_id)
        if view.last_id < 0:
            self.refreshed(study_id)
        known = view.distributions.setdefault(name, distribution)
        if known is not distribution:
            check_distribution_compatibility(known, distribution)

    # -- one trial ------------------------------------------------------------------------------

    def known(self, trial_id: int) -> FrozenTrial | None:
        """A trial as some view has it, None where none does."""
        for view in self._views.values():
            trial = view.known(trial_id)
            if trial is not None:
                return trial
        return None

    def refuse_finished(self, trial_id: int) -> None:
        """Raise UpdateFinishedTrialError where the trial is known to have finished."""
        trial = self.known(trial_id)
        if trial is not None and trial.state.is_finished():
            raise already_finished(trial_id)

    def trial(self, trial_id: int) -> FrozenTrial:
        """A trial as it is now. KeyError where there is none."""
        draft = self._drafts.get(trial_id)
        if draft is not None:
            return copy_of(draft.snapshot())
        known = self.known(trial_id)
        if known is not None and known.state.is_finished():
            return known
        return self.stored(trial_id)[0]

    def stored(self, trial_id: int) -> tuple[FrozenTrial, int]:
        """A trial as it is stored now, and the id of its study. KeyError where there is none."""
        found = self.query(queries.trial_query(trial_id))
        row = next((row for row in found if row[0] == tables.TRIAL), None)
        if row is None:
            raise KeyError(f"there is no trial with the id {trial_id}")
        contents = rows.collect(found).get(trial_id) or rows.Contents()
        return rows.freeze(row, contents, self.times.get(trial_id)), int(row[4])

    def study_of(self, trial_id: int) -> int:
        """The id of the study of an unfinished trial."""
        trial, study_id = self.stored(trial_id)
        if trial.state.is_finished():
            raise already_finished(trial_id)
        return study_id

    def id_of_number(self, study_id: int, number: int) -> int:
        """The id of a trial. KeyError where the study has none of that number."""
        known = self.view(study_id).id_of_number(number)
        if known is not None:
            return known
        found = self.query(sql.TRIAL_ID, (study_id, number))
        if not found:
            raise KeyError(f"study {study_id} has no trial with the number {number}")
        return int(found[0][0])

    # -- statements -----------------------------------------------------------------------------

    def query(self, statement: str, parameters: tuple[Any, ...] | None = None) -> list[rows.Row]:
        """All rows that the server answers."""

        def read(cursor: Cursor, _: int) -> list[rows.Row]:
            cursor.execute(statement, parameters)
            return list(cursor.fetchall())

        return self._connection.run(read)

    def _refresh(self, view: StudyView, grace: int | None = None) -> list[int]:
        found = self.query(view.query(grace))
        try:
            finished, stale = view.apply(found)
        except KeyError:
            self.forget(view.study_id)
            raise
        told = next(row for row in found if row[0] == tables.STUDY)
        self._sums[view.study_id] = int(told[4])
        self._told_time(told[6])
        for trial_id in finished:
            self._drafts.pop(trial_id, None)
        renewal = view.renewal()
        if renewal:
            view.apply_running(self.query(renewal))
        if self._connection.holds_lock():
            self.fresh.add(view.study_id)
        return stale

    def _told_time(self, stored: datetime) -> None:
        self._clock = local_time(stored), time.monotonic()

    def _content(self, study_id: int, trial_id: int, name: str) -> dict[Any, Any]:
        """A content of an unfinished trial, the first time that somebody looks at it."""
        with self._connection.mutex:
            view = self.view(study_id)
            content = view.contents_of(trial_id, name)
            if content is None and trial_id in view.unfinished():
                view.apply_running(self.query(view.want([rows.KINDS[name]])))
                content = view.contents_of(trial_id, name)
            if content is None:
                # It has finished since it was handed out.
                content = dict(getattr(self.trial(trial_id), name))
            return content


def already_finished(trial_id: int) -> UpdateFinishedTrialError:
    """What a write to a finished trial is answered with."""
    return UpdateFinishedTrialError(f"the trial with the id {trial_id} has already finished")
