"""How trials are started, written to and ended: each write guarded, and safe to send twice."""

import copy
import uuid
from collections.abc import Mapping, Sequence
from itertools import starmap
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from hpo_job.storage.mysql import rows, tables
from hpo_job.storage.mysql import statements as sql
from hpo_job.storage.mysql.connection import Connection, Cursor
from hpo_job.storage.mysql.draft import Draft, copy_of
from hpo_job.storage.mysql.optuna_private import trial_id_of
from hpo_job.storage.mysql.reader import Reader, already_finished

BUFFERED = (tables.PARAM, tables.SYSTEM, tables.USER)
# A system attribute of trials that were enqueued: tells after a lost answer who started them.
STARTED_BY = "hpo_job:started_by"
PORTION = 1_000_000  # characters of a statement's values; servers take 16 MiB, or 4
BEAT = 1.0  # seconds: a heartbeat younger than this, or the trial's start, is not repeated


class Writer:
    """What a process tells of its trials, and of those of others.

    Whoever calls it holds the connection's mutex. All but `create` and `start` raise
    UpdateFinishedTrialError where the trial has finished, given away by another worker say,
    and KeyError where there is no such trial.

    Args:
        connection: the process' one connection.
        reader: what the process knows.
        drafts: by trial id, the trials that this process runs; shared with the reader.
    """

    def __init__(self, connection: Connection, reader: Reader, drafts: dict[int, Draft]) -> None:
        self._connection = connection
        self._reader = reader
        self._drafts = drafts
        self.marks: dict[str, Any] = {}  # user attributes of trials that are started

    # -- starting and ending a trial -------------------------------------------------------

    def create(self, study_id: int, template: FrozenTrial | None) -> int:
        """Store a new trial, RUNNING where there is no template; its id.

        Raises:
            KeyError: there is no such study.
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
                cursor.execute(sql.SAME_TRIAL, _identity(study_id, sent))
                if cursor.fetchone()[0]:
                    return sent
                sent = None
            if attempt:
                self._connection.check_lock()
            cursor.execute(sql.LOCK_STUDY, (study_id,))
            now = cursor.fetchone()
            if now is None:
                raise KeyError(f"there is no study with the id {study_id}")
            cursor.execute(sql.LAST_NUMBER, (study_id,))
            last = cursor.fetchone()
            number = last[0] + 1 if last else 0
            trial = _new_trial(template, number, rows.local_time(now[0]), self.marks)
            start, end = map(rows.stored_time, (trial.datetime_start, trial.datetime_complete))
            cursor.execute(sql.NEW_TRIAL, (study_id, trial.number, trial.state.name, start, end))
            trial._trial_id = trial_id = cursor.lastrowid
            for kind, found in rows.rows_of(trial).items():
                values = [value for row in found for value in (trial_id, *row)]
                cursor.execute(sql.new_rows(kind, len(found)), values)
            sent = trial
            return trial

        trial = self._connection.run(create, transaction=True, adopts=True)
        if trial.state == TrialState.RUNNING:
            self._connection.lock_is_spent()
        return trial

    def start(self, trial_id: int) -> bool:
        """Set a WAITING trial RUNNING; False where another worker was first, or it is ours.

        Raises:
            LockLost: the study's lock was lost before the trial was started.
        """
        if trial_id in self._drafts:
            return False
        mark = rows.attr_row(STARTED_BY, uuid.uuid4().hex)
        marks = {
            tables.SYSTEM: [mark],
            tables.USER: list(starmap(rows.attr_row, self.marks.items())),
        }

        def start(cursor: Cursor, attempt: int) -> bool:
            if attempt:
                cursor.execute(sql.SAME_ATTR, (trial_id, *mark))
                if cursor.fetchone()[0]:
                    return True  # the answer to COMMIT was lost
                self._connection.check_lock()
            cursor.execute(sql.START_TRIAL, (trial_id,))
            if cursor.rowcount:
                for kind, found in marks.items():
                    if found:
                        parameters = sql.rows_parameters(found, trial_id)
                        cursor.execute(sql.guarded_insert(kind, len(found)), parameters)
                cursor.execute(sql.HEARTBEAT, (trial_id,))  # over one of whoever had it before
                return True
            if _state(cursor, trial_id).is_finished():
                raise already_finished(trial_id)
            return False

        if not self._connection.run(start, transaction=True, adopts=True):
            return False
        self._connection.lock_is_spent()
        trial, study_id = self._reader.stored(trial_id)
        self._drafts[trial_id] = Draft(copy_of(trial), study_id)
        self._reader.told(study_id, trial)
        self._reader.started = study_id
        return True

    def end(self, trial_id: int, state: TrialState, values: Sequence[float] | None) -> None:
        """End a trial: first its values, last its state."""
        self._reader.fresh.clear()
        draft = self._drafts.get(trial_id)
        if draft is not None:
            self.flush(draft)
        if values is not None:
            self.write(trial_id, tables.VALUE, rows.value_rows(values))
        elif draft is None:
            # A worker that died within its `tell` may have left values.
            self._connection.run(lambda c, _: c.execute(sql.FORGET_VALUES, (trial_id,)))
        self._end(trial_id, state, draft is not None)
        if draft is not None:
            del self._drafts[trial_id]
            trial = draft.finished(state, values)
            self._reader.times[trial_id] = (trial.datetime_start, trial.datetime_complete)
            self._reader.told(draft.study_id, trial)

    def _end(self, trial_id: int, state: TrialState, own: bool) -> None:
        def end(cursor: Cursor, attempt: int) -> None:
            cursor.execute(sql.FINISH_TRIAL, (state.name, trial_id))
            if not cursor.rowcount:
                there = _state(cursor, trial_id)
                if not (attempt and own and there == state):
                    self._drafts.pop(trial_id, None)
                    raise already_finished(trial_id)

        self._connection.run(end)

    # -- contents of a trial -----------------------------------------------------------------

    def param(
        self, trial_id: int, name: str, internal: float, distribution: BaseDistribution
    ) -> None:
        """Note a parameter of this process' trial, or write one of another's."""
        draft = self._drafts.get(trial_id)
        study_id = draft.study_id if draft else self._reader.study_of(trial_id)
        self._reader.check_distribution(study_id, name, distribution)
        if draft is not None:
            draft.set_param(name, internal, distribution)
            self._connection.touch()
        else:
            self.write(trial_id, tables.PARAM, [rows.param_row(name, internal, distribution)])

    def report(self, trial_id: int, step: int, value: float) -> None:
        """Write an intermediate value, and before it the parameters that led to it."""
        draft = self._drafts.get(trial_id)
        if draft is not None:
            self.flush(draft, (tables.PARAM,))
        self.write(trial_id, tables.REPORT, [rows.report_row(step, value)])
        if draft is not None:
            draft.set_report(step, value)

    def attr(self, trial_id: int, kind: int, key: str, value: Any) -> None:
        """Note an attribute of this process' trial, or write one of another's."""
        draft = self._drafts.get(trial_id)
        if draft is not None:
            draft.set_attr(kind, key, value)
            self._connection.touch()
        else:
            self.write(trial_id, kind, [rows.attr_row(key, value)])
            self._reader.fresh.clear()

    def flush(self, draft: Draft, kinds: Sequence[int] = BUFFERED) -> None:
        """Write what was noted."""
        for kind in kinds:
            pending = draft.pending.get(kind)
            for names in _portions(pending or {}):
                self.write(draft.trial_id, kind, [draft.pending[kind][name] for name in names])
                draft.written(kind, names)

    def write(self, trial_id: int, kind: int, found: Sequence[rows.Row]) -> None:
        """Write rows of an unfinished trial in one statement; else refuse."""
        statement = sql.guarded_insert(kind, len(found))
        parameters = sql.rows_parameters(found, trial_id)

        def write(cursor: Cursor, _: int) -> None:
            cursor.execute(statement, parameters)
            if not cursor.rowcount and found:
                _state(cursor, trial_id)
                raise already_finished(trial_id)

        try:
            if found:
                self._connection.run(write)
        except UpdateFinishedTrialError:
            self._drafts.pop(trial_id, None)
            raise

    def beat(self, trial_id: int) -> None:
        """Write a heartbeat, unless there was one a moment ago."""
        draft = self._drafts.get(trial_id)
        if draft is not None and not draft.beat_is_due(BEAT):
            return
        self._connection.run(lambda cursor, _: cursor.execute(sql.HEARTBEAT, (trial_id,)))
        if draft is not None:
            draft.beat()


def _portions(pending: Mapping[str, rows.Row]) -> list[list[str]]:
    """The names of rows, as many together as fit into one statement."""
    portions: list[list[str]] = []
    room = 0
    for name, row in pending.items():
        room -= len(str(row[-1]))
        if room < 0:
            portions.append([])
            room = PORTION - len(str(row[-1]))
        portions[-1].append(name)
    return portions


def _identity(study_id: int, trial: FrozenTrial) -> tuple[Any, ...]:
    start = rows.stored_time(trial.datetime_start)
    return trial_id_of(trial), study_id, trial.number, start


def _new_trial(
    template: FrozenTrial | None, number: int, now: rows.Time, marks: dict[str, Any]
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
        user_attrs=dict(marks),
        system_attrs={},
        intermediate_values={},
    )


def _state(cursor: Cursor, trial_id: int) -> TrialState:
    cursor.execute(sql.STATE, (trial_id,))
    row = cursor.fetchone()
    if row is None:
        raise KeyError(f"there is no trial with the id {trial_id}")
    return TrialState[row[0]]
