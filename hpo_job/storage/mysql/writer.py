"""Starts, writes to and ends trials.

Guaranteed:
- A write to a trial that has finished is refused, also where the trial was given to another
  worker a moment before: each statement itself checks the state under a row lock.
- A write may be sent twice without harm, since its answer can be lost together with the
  connection. Contents are written under their unique key. A new trial's id is known before its
  COMMIT, and is looked up when the answer to the COMMIT was lost; a trial that is started carries
  a mark by which its worker finds out whether it was the one that started it.
- A trial's values are stored before its state says that it is COMPLETE.

Not guaranteed:
- Parameters and attributes are buffered: parameters until the next report, all of them until the
  trial's end or half a second without a statement. A process that is killed loses those.
"""

import copy
import uuid
from collections.abc import Mapping, Sequence
from itertools import starmap
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from hpo_job.storage import tables, trial_rows
from hpo_job.storage.mysql import faults, statements
from hpo_job.storage.mysql.connection import Connection, Cursor
from hpo_job.storage.mysql.draft import Draft, copy_of
from hpo_job.storage.mysql.reader import Reader, already_finished
from hpo_job.storage.optuna_private import set_trial_id, trial_id_of

BUFFERED = (tables.PARAM, tables.SYSTEM, tables.USER)
# A system attribute of trials that were enqueued: shows, after a lost answer, who started them.
STARTED_BY = "hpo_job:started_by"
PORTION = 1_000_000  # characters of values in one statement; servers accept 4 or 16 MiB
BEAT = 1.0  # seconds after a heartbeat, or the trial's start, in which it is not repeated


class Writer:
    """The writes of a process: to its own trials, and to those of others.

    Not safe for threads: every caller holds the connection's mutex. All methods but `create` raise
    UpdateFinishedTrialError if the trial has finished, which another worker may have decided, and
    GoneError if there is no such trial.

    Args:
        connection: the process' one connection.
        reader: what the process knows.
        drafts: by trial id, the trials that this process runs; shared with the reader.
    """

    def __init__(self, connection: Connection, reader: Reader, drafts: dict[int, Draft]) -> None:
        self._connection = connection
        self._reader = reader
        self._drafts = drafts
        self.start_attrs: dict[str, Any] = {}  # user attributes of the trials that are started

    # -- starting and ending a trial -------------------------------------------------------

    def create(self, study_id: int, template: FrozenTrial | None) -> int:
        """Store a new trial, and return its id.

        Args:
            study_id: the study.
            template: as Optuna defines it; None creates a RUNNING trial.

        Raises:
            GoneError: there is no such study.
            LockLost: the study's lock was lost before the trial was stored.
        """
        if template is not None:
            for name, distribution in template.distributions.items():
                self._reader.check_distribution(study_id, name, distribution)
        trial = self._create(study_id, template)
        trial_id = trial_id_of(trial)
        self._reader.times[trial_id] = (trial.datetime_start, trial.datetime_complete)
        self._reader.stored_new(study_id, trial)
        if trial.state == TrialState.RUNNING:
            self._drafts[trial_id] = Draft(copy_of(trial), study_id)
            self._reader.started = study_id
        return trial_id

    def _create(self, study_id: int, template: FrozenTrial | None) -> FrozenTrial:
        sent: FrozenTrial | None = None

        def create(cursor: Cursor, attempt: int) -> FrozenTrial:
            nonlocal sent
            if sent is not None:
                # The answer to COMMIT was lost, but the id is known, and never given again.
                cursor.execute(statements.SAME_TRIAL, _identity(study_id, sent))
                if cursor.fetchone()[0]:
                    return sent
                sent = None
            if attempt:
                self._connection.check_lock()
            cursor.execute(statements.LOCK_STUDY, (study_id,))
            now = cursor.fetchone()
            if now is None:
                raise faults.gone(self._connection.server.label)
            cursor.execute(statements.LAST_NUMBER, (study_id,))
            last = cursor.fetchone()
            number = last[0] + 1 if last else 0
            trial = _new_trial(template, number, trial_rows.local_time(now[0]), self.start_attrs)
            times = map(trial_rows.stored_time, (trial.datetime_start, trial.datetime_complete))
            row = (study_id, trial.number, trial.state.name, *times)
            cursor.execute(statements.NEW_TRIAL, row)
            trial_id = cursor.lastrowid
            set_trial_id(trial, trial_id)
            for kind, rows in trial_rows.rows_of(trial).items():
                values = [value for row in rows for value in (trial_id, *row)]
                cursor.execute(statements.new_rows(kind, len(rows)), values)
            sent = trial
            return trial

        trial = self._connection.run(create, transaction=True, checks_lock=True)
        if trial.state == TrialState.RUNNING:
            self._connection.lock_is_spent()
        return trial

    def start(self, trial_id: int) -> bool:
        """Set a WAITING trial RUNNING.

        Returns:
            False if another worker was first, or this process runs it already.

        Raises:
            LockLost: the study's lock was lost before the trial was started.
        """
        if trial_id in self._drafts:
            return False
        mark = trial_rows.attr_row(STARTED_BY, uuid.uuid4().hex)
        attrs = {
            tables.SYSTEM: [mark],
            tables.USER: list(starmap(trial_rows.attr_row, self.start_attrs.items())),
        }

        def start(cursor: Cursor, attempt: int) -> bool:
            if attempt:
                cursor.execute(statements.SAME_ATTR, (trial_id, *mark))
                if cursor.fetchone()[0]:
                    return True  # the answer to COMMIT was lost
                self._connection.check_lock()
            cursor.execute(statements.START_TRIAL, (trial_id,))
            if cursor.rowcount:
                for kind, rows in attrs.items():
                    if rows:
                        parameters = statements.rows_parameters(rows, trial_id)
                        cursor.execute(statements.guarded_insert(kind, len(rows)), parameters)
                # replaces one of a worker that had prepared this trial and died
                cursor.execute(statements.HEARTBEAT, (trial_id,))
                return True
            if self._state(cursor, trial_id).is_finished():
                raise already_finished(trial_id)
            return False

        if not self._connection.run(start, transaction=True, checks_lock=True):
            return False
        self._connection.lock_is_spent()
        trial, study_id = self._reader.stored(trial_id)
        self._drafts[trial_id] = Draft(copy_of(trial), study_id)
        self._reader.replace(study_id, trial)
        self._reader.started = study_id
        return True

    def end(self, trial_id: int, state: TrialState, values: Sequence[float] | None) -> None:
        """End a trial: first its values, last its state."""
        self._reader.changed()
        draft = self._drafts.get(trial_id)
        if draft is not None:
            self.flush(draft)
        if values is not None:
            self.write(trial_id, tables.VALUE, trial_rows.value_rows(values))
        elif draft is None:
            # Its worker may have died between writing its values and its state.
            self._connection.run(lambda c, _: c.execute(statements.FORGET_VALUES, (trial_id,)))
        self._end(trial_id, state, draft is not None)
        if draft is not None:
            del self._drafts[trial_id]
            trial = draft.finished(state, values)
            self._reader.times[trial_id] = (trial.datetime_start, trial.datetime_complete)
            self._reader.replace(draft.study_id, trial)

    def _end(self, trial_id: int, state: TrialState, own: bool) -> None:
        def end(cursor: Cursor, attempt: int) -> None:
            cursor.execute(statements.FINISH_TRIAL, (state.name, trial_id))
            if not cursor.rowcount:
                stored = self._state(cursor, trial_id)
                # The first try may have ended it, with its answer lost.
                if not (attempt and own and stored == state):
                    self._drafts.pop(trial_id, None)
                    raise already_finished(trial_id)

        self._connection.run(end)

    # -- contents of a trial -----------------------------------------------------------------

    def param(
        self, trial_id: int, name: str, internal: float, distribution: BaseDistribution
    ) -> None:
        """Buffer a parameter of this process' trial, or write one of another's."""
        draft = self._drafts.get(trial_id)
        study_id = draft.study_id if draft else self._reader.study_of(trial_id)
        self._reader.check_distribution(study_id, name, distribution)
        if draft is not None:
            draft.set_param(name, internal, distribution)
            self._connection.touch()
        else:
            self.write(trial_id, tables.PARAM, [trial_rows.param_row(name, internal, distribution)])

    def report(self, trial_id: int, step: int, value: float) -> None:
        """Write an intermediate value, and before it the parameters that are buffered.

        So whoever sees a report sees the parameters that led to it.
        """
        draft = self._drafts.get(trial_id)
        if draft is not None:
            self.flush(draft, (tables.PARAM,))
        self.write(trial_id, tables.REPORT, [trial_rows.report_row(step, value)])
        if draft is not None:
            draft.set_report(step, value)

    def attr(self, trial_id: int, kind: int, key: str, value: Any) -> None:
        """Buffer an attribute of this process' trial, or write one of another's."""
        draft = self._drafts.get(trial_id)
        if draft is not None:
            draft.set_attr(kind, key, value)
            self._connection.touch()
        else:
            self.write(trial_id, kind, [trial_rows.attr_row(key, value)])
            self._reader.changed()

    def flush(self, draft: Draft, kinds: Sequence[int] = BUFFERED) -> None:
        """Write what is buffered; what could not be written stays in the buffer."""
        for kind in kinds:
            pending = draft.pending.get(kind)
            for names in _portions(pending or {}):
                self.write(draft.trial_id, kind, [draft.pending[kind][name] for name in names])
                draft.written(kind, names)

    def write(self, trial_id: int, kind: int, rows: Sequence[trial_rows.Row]) -> None:
        """Write rows of an unfinished trial in one statement: all of them or none."""
        if not rows:
            return
        statement = statements.guarded_insert(kind, len(rows))
        parameters = statements.rows_parameters(rows, trial_id)

        def write(cursor: Cursor, _: int) -> None:
            cursor.execute(statement, parameters)
            if not cursor.rowcount:
                self._state(cursor, trial_id)
                raise already_finished(trial_id)

        try:
            self._connection.run(write)
        except UpdateFinishedTrialError:
            self._drafts.pop(trial_id, None)
            raise

    def beat(self, trial_id: int) -> None:
        """Write a heartbeat, unless there was one a moment ago."""
        draft = self._drafts.get(trial_id)
        if draft is not None and not draft.beat_is_due(BEAT):
            return
        self._connection.run(lambda cursor, _: cursor.execute(statements.HEARTBEAT, (trial_id,)))
        if draft is not None:
            draft.beat()

    def _state(self, cursor: Cursor, trial_id: int) -> TrialState:
        """A trial's state as it is stored now; GoneError if there is no such trial."""
        cursor.execute(statements.STATE, (trial_id,))
        row = cursor.fetchone()
        if row is None:
            raise faults.gone(self._connection.server.label)
        return TrialState[row[0]]


def _portions(pending: Mapping[str, trial_rows.Row]) -> list[list[str]]:
    """The names of rows, grouped into as few statements as they fit into."""
    portions: list[list[str]] = []
    remaining = 0
    for name, row in pending.items():
        remaining -= len(str(row[-1]))
        if remaining < 0:
            portions.append([])
            remaining = PORTION - len(str(row[-1]))
        portions[-1].append(name)
    return portions


def _identity(study_id: int, trial: FrozenTrial) -> tuple[Any, ...]:
    start = trial_rows.stored_time(trial.datetime_start)
    return trial_id_of(trial), study_id, trial.number, start


def _new_trial(
    template: FrozenTrial | None, number: int, now: trial_rows.Time, attrs: dict[str, Any]
) -> FrozenTrial:
    if template is not None:
        trial = copy.deepcopy(template)
        trial.number = number
        return trial
    return FrozenTrial(
        trial_id=-1,
        number=number,
        state=TrialState.RUNNING,
        value=None,
        datetime_start=now,
        datetime_complete=None,
        params={},
        distributions={},
        user_attrs=dict(attrs),
        system_attrs={},
        intermediate_values={},
    )
