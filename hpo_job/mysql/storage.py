"""The Optuna storage for MySQL and MariaDB: Optuna's tables, few statements, no lost writes."""

import copy
import threading
import uuid
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, check_distribution_compatibility
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from hpo_job.mysql import rows
from hpo_job.mysql import statements as sql
from hpo_job.mysql.connection import PATIENCE, Connection, Cursor
from hpo_job.mysql.draft import Draft, copy_of
from hpo_job.mysql.optuna_private import (
    DEFAULT_STUDY_NAME_PREFIX,
    BaseHeartbeat,
    FrozenStudy,
    trial_id_of,
)
from hpo_job.mysql.schema import ensure_schema, lock_name
from hpo_job.mysql.studies import StudyTable
from hpo_job.mysql.url import read_url
from hpo_job.mysql.view import StudyView

BUFFERED = (sql.PARAM, sql.SYSTEM, sql.USER)
# A system attribute of trials that were enqueued: tells after a lost answer who started them.
STARTED_BY = "hpo_job:started_by"
BEAT = 1.0  # seconds: a heartbeat younger than this, or the trial's start, is not repeated


class MySQLStorage(BaseStorage, BaseHeartbeat):
    """A study shared by many workers, on a MySQL or MariaDB server.

    Args:
        url: `mysql+mysqldb://` or `mysql+pymysql://`, see docs/storage.md.
        heartbeat_interval: seconds between heartbeats, None for none.
        grace_period: seconds without a heartbeat after which a trial is stale; twice the
            interval where not given.
        heartbeat_stale_trial_callback: as in Optuna's own storage.
        patience: seconds for which statements are retried when the server is away or busy.

    Raises:
        StorageError: the server refuses, or its tables are of another version of Optuna.
    """

    def __init__(
        self,
        url: str,
        *,
        heartbeat_interval: int | None = None,
        grace_period: int | None = None,
        heartbeat_stale_trial_callback: (Callable[[optuna.Study, FrozenTrial], None] | None) = None,
        patience: float = PATIENCE,
    ) -> None:
        for name, value in (("interval", heartbeat_interval), ("grace", grace_period)):
            if value is not None and value <= 0:
                raise ValueError(f"heartbeat {name}: {value}, but seconds above 0 are expected")
        self._url = url
        self._interval = heartbeat_interval
        self._grace = grace_period or (2 * heartbeat_interval if heartbeat_interval else None)
        self._stale_callback = heartbeat_stale_trial_callback
        self._patience = patience
        self._start()
        ensure_schema(self._connection)

    def _start(self) -> None:
        self._connection = Connection(read_url(self._url), self._patience, self.flush)
        self._studies = StudyTable(self._connection)
        self._turnstile = threading.Lock()
        self._drafts: dict[int, Draft] = {}
        self._views: dict[int, StudyView] = {}
        self._times: dict[int, tuple[rows.Time, rows.Time]] = {}
        self._fresh: set[int] = set()  # studies that were read since the lock was taken

    def __getstate__(self) -> dict[str, Any]:
        self.flush()
        kept = ("_url", "_interval", "_grace", "_stale_callback", "_patience")
        return {name: self.__dict__[name] for name in kept}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._start()

    # -- the worker's own -----------------------------------------------------------------

    @contextmanager
    def exclusive(self, name: str) -> Iterator[None]:
        """Keep all other workers that use this method out of a study; ``name`` is its name.

        Inside, the first read of the trials is the one that counts: later ones are answered
        from it, until this worker itself changes something. Once a trial has been started,
        the block is over in effect: losing the connection does no harm from there.

        Raises:
            LockLost: the connection was lost before a trial was started. What was read is
                void: enter the block again.
        """
        lock = lock_name(self._connection.server.database, name)
        with self._turnstile, self._connection.locked(lock):
            self._fresh.clear()
            try:
                yield
            finally:
                self._fresh.clear()

    def counts(self, study_id: int) -> dict[TrialState, int]:
        """How many trials are in each state, at a cost that does not grow with the study."""
        with self._connection.mutex:
            view = self._refreshed(study_id)
            return view.counts()

    def hurry(self, patience: float) -> None:
        """Wait no longer than ``patience`` seconds from here on, as this process has to end."""
        self._patience = self._connection.patience = min(patience, self._patience)

    def flush(self) -> None:
        """Write what is buffered: parameters and attributes of this process' trials."""
        with self._connection.mutex:
            for draft in list(self._drafts.values()):
                self._flush(draft)

    def remove_session(self) -> None:
        """Write what is buffered, and give the connection back."""
        self.flush()
        self._connection.drop()

    # -- studies ------------------------------------------------------------------------------

    def create_new_study(
        self, directions: Sequence[StudyDirection], study_name: str | None = None
    ) -> int:
        name = DEFAULT_STUDY_NAME_PREFIX + str(uuid.uuid4()) if study_name is None else study_name
        return self._studies.create(name, directions)

    def delete_study(self, study_id: int) -> None:
        with self._connection.mutex:
            self._views.pop(study_id, None)
            self._drafts = {i: d for i, d in self._drafts.items() if d.study_id != study_id}
            self._studies.delete(study_id)

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        self._studies.set_attr("study_user_attributes", study_id, key, value)

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        self._studies.set_attr("study_system_attributes", study_id, key, value)

    def get_study_id_from_name(self, study_name: str) -> int:
        return self._studies.id_of(study_name)

    def get_study_name_from_id(self, study_id: int) -> str:
        return self._studies.name_of(study_id)

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        return self._studies.directions(study_id)

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        return self._studies.attrs("study_user_attributes", study_id)

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        return self._studies.attrs("study_system_attributes", study_id)

    def get_all_studies(self) -> list[FrozenStudy]:
        return self._studies.all()

    # -- starting and ending a trial -------------------------------------------------------

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        with self._connection.mutex:
            if template_trial is not None:
                for name, distribution in template_trial.distributions.items():
                    self._check_distribution(study_id, name, distribution)
            trial = self._create(study_id, template_trial)
            trial_id = trial_id_of(trial)
            self._times[trial_id] = (trial.datetime_start, trial.datetime_complete)
            self._fresh.discard(study_id)
            if trial.state == TrialState.RUNNING:
                self._drafts[trial_id] = Draft(trial, study_id)
            return trial_id

    def _create(self, study_id: int, template: FrozenTrial | None) -> FrozenTrial:
        starts = template is None or template.state == TrialState.RUNNING
        sent: FrozenTrial | None = None

        def create(cursor: Cursor, attempt: int) -> FrozenTrial:
            nonlocal sent
            if sent is not None:
                # The answer to COMMIT was lost, but the id is known, and never given again.
                cursor.execute(sql.SAME_TRIAL, self._identity(study_id, sent))
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
            trial = _new_trial(template, number, rows.local_time(now[0]))
            cursor.execute(
                sql.NEW_TRIAL,
                (
                    study_id,
                    trial.number,
                    trial.state.name,
                    rows.stored_time(trial.datetime_start),
                    rows.stored_time(trial.datetime_complete),
                ),
            )
            trial._trial_id = trial_id = cursor.lastrowid
            for kind, found in rows.rows_of(trial).items():
                values = [value for row in found for value in (trial_id, *row)]
                cursor.execute(sql.new_rows(kind, len(found)), values)
            sent = trial
            return trial

        trial = self._connection.run(create, transaction=True, adopts=True)
        if starts:
            self._connection.lock_is_spent()
        return trial

    def _identity(self, study_id: int, trial: FrozenTrial) -> tuple[Any, ...]:
        start = rows.stored_time(trial.datetime_start)
        return trial_id_of(trial), study_id, trial.number, start

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        with self._connection.mutex:
            self._refuse_finished(trial_id)
            draft = self._drafts.get(trial_id)
            if state == TrialState.RUNNING:
                return draft is None and self._start_trial(trial_id)
            self._fresh.clear()
            if draft is not None:
                self._flush(draft)
            if values is not None:
                self._write(trial_id, sql.VALUE, rows.value_rows(values))
            elif draft is None:
                # A worker that died within its `tell` may have left values.
                self._connection.run(lambda c, _: c.execute(sql.FORGET_VALUES, (trial_id,)))
            self._end_trial(trial_id, state, draft is not None)
            if draft is not None:
                del self._drafts[trial_id]
                trial = draft.finished(state, values)
                self._times[trial_id] = (trial.datetime_start, trial.datetime_complete)
                self._told(draft.study_id, trial)
            return True

    def _start_trial(self, trial_id: int) -> bool:
        mark = rows.attr_row(STARTED_BY, uuid.uuid4().hex)

        def start(cursor: Cursor, attempt: int) -> bool:
            if attempt:
                cursor.execute(sql.SAME_ATTR, (trial_id, *mark))
                if cursor.fetchone()[0]:
                    return True  # the answer to COMMIT was lost
                self._connection.check_lock()
            cursor.execute(sql.START_TRIAL, (trial_id,))
            if cursor.rowcount:
                parameters = sql.rows_parameters([mark], trial_id)
                cursor.execute(sql.guarded_insert(sql.SYSTEM, 1), parameters)
                return True
            if _state(cursor, trial_id).is_finished():
                raise _already_finished(trial_id)
            return False  # another worker was first

        if not self._connection.run(start, transaction=True, adopts=True):
            return False
        self._connection.lock_is_spent()
        trial, study_id = self._read_trial(trial_id)
        self._drafts[trial_id] = Draft(copy_of(trial), study_id)
        self._fresh.clear()
        return True

    def _end_trial(self, trial_id: int, state: TrialState, own: bool) -> None:
        def end(cursor: Cursor, attempt: int) -> None:
            cursor.execute(sql.FINISH_TRIAL, (state.name, trial_id))
            if not cursor.rowcount:
                there = _state(cursor, trial_id)
                if not (attempt and own and there == state):
                    self._drafts.pop(trial_id, None)
                    raise _already_finished(trial_id)

        self._connection.run(end)

    def _told(self, study_id: int, trial: FrozenTrial) -> None:
        # Until the next refresh has read the trial as it is stored.
        if study_id in self._views:
            self._views[study_id].place(trial)

    # -- contents of a trial -----------------------------------------------------------------

    def set_trial_param(
        self,
        trial_id: int,
        param_name: str,
        param_value_internal: float,
        distribution: BaseDistribution,
    ) -> None:
        with self._connection.mutex:
            self._refuse_finished(trial_id)
            draft = self._drafts.get(trial_id)
            study_id = draft.study_id if draft else self._study_of(trial_id)
            self._check_distribution(study_id, param_name, distribution)
            if draft is not None:
                draft.set_param(param_name, param_value_internal, distribution)
                self._connection.touch()
            else:
                row = rows.param_row(param_name, param_value_internal, distribution)
                self._write(trial_id, sql.PARAM, [row])

    def set_trial_intermediate_value(
        self, trial_id: int, step: int, intermediate_value: float
    ) -> None:
        with self._connection.mutex:
            self._refuse_finished(trial_id)
            draft = self._drafts.get(trial_id)
            if draft is not None:
                self._flush(draft, (sql.PARAM, sql.SYSTEM))
            self._write(trial_id, sql.REPORT, [rows.report_row(step, intermediate_value)])
            if draft is not None:
                draft.set_report(step, intermediate_value)

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        self._set_attr(trial_id, sql.USER, key, value)

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        self._set_attr(trial_id, sql.SYSTEM, key, value)

    def _set_attr(self, trial_id: int, kind: int, key: str, value: Any) -> None:
        with self._connection.mutex:
            self._refuse_finished(trial_id)
            draft = self._drafts.get(trial_id)
            if draft is not None:
                draft.set_attr(kind, key, value)
                self._connection.touch()
            else:
                self._write(trial_id, kind, [rows.attr_row(key, value)])
                self._fresh.clear()

    def _flush(self, draft: Draft, kinds: Sequence[int] = BUFFERED) -> None:
        for kind in kinds:
            pending = draft.pending.get(kind)
            if pending:
                names = list(pending)
                self._write(draft.trial_id, kind, [pending[name] for name in names])
                draft.written(kind, names)

    def _write(self, trial_id: int, kind: int, found: Sequence[rows.Row]) -> None:
        """Write rows of an unfinished trial in one statement; else refuse."""
        statement = sql.guarded_insert(kind, len(found))
        parameters = sql.rows_parameters(found, trial_id)

        def write(cursor: Cursor, _: int) -> None:
            cursor.execute(statement, parameters)
            if not cursor.rowcount and found:
                _state(cursor, trial_id)
                raise _already_finished(trial_id)

        try:
            if found:
                self._connection.run(write)
        except UpdateFinishedTrialError:
            self._drafts.pop(trial_id, None)
            raise

    def _check_distribution(self, study_id: int, name: str, distribution: BaseDistribution) -> None:
        """Refuse a parameter that the study knows with another distribution."""
        view = self._view(study_id)
        if view.last_id < 0:
            self._refreshed(study_id)
        known = view.distributions.setdefault(name, distribution)
        if known is not distribution:
            check_distribution_compatibility(known, distribution)

    def _refuse_finished(self, trial_id: int) -> None:
        trial = self._known(trial_id)
        if trial is not None and trial.state.is_finished():
            raise _already_finished(trial_id)

    # -- reads ---------------------------------------------------------------------------------

    def get_trial_id_from_study_id_trial_number(self, study_id: int, trial_number: int) -> int:
        with self._connection.mutex:
            known = self._view(study_id).id_of_number(trial_number)
            if known is not None:
                return known

            def look_up(cursor: Cursor, _: int) -> int | None:
                cursor.execute(sql.TRIAL_ID, (study_id, trial_number))
                row = cursor.fetchone()
                return row[0] if row else None

            found = self._connection.run(look_up)
            if found is None:
                raise KeyError(f"study {study_id} has no trial with the number {trial_number}")
            return found

    def get_trial(self, trial_id: int) -> FrozenTrial:
        with self._connection.mutex:
            draft = self._drafts.get(trial_id)
            if draft is not None:
                return copy_of(draft.snapshot())
            known = self._known(trial_id)
            if known is not None and known.state.is_finished():
                return known
            return self._read_trial(trial_id)[0]

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        with self._connection.mutex:
            view = self._refreshed(study_id)
            for draft in self._drafts.values():
                if draft.study_id == study_id:
                    view.place(draft.snapshot())
            trials = view.listed(states)
            return copy.deepcopy(trials) if deepcopy else trials

    def _view(self, study_id: int) -> StudyView:
        if study_id not in self._views:
            self._views[study_id] = StudyView(
                study_id, lambda i, name: self._read_content(study_id, i, name), self._times
            )
        return self._views[study_id]

    def _refreshed(self, study_id: int) -> StudyView:
        """The view after one statement that brings it up to date."""
        view = self._view(study_id)
        if study_id not in self._fresh or not self._connection.holds_lock():
            self._refresh(view)
        return view

    def _refresh(self, view: StudyView, grace: int | None = None) -> list[int]:
        try:
            finished, stale = view.apply(self._query(view.query(grace)))
        except KeyError:
            self._views.pop(view.study_id, None)
            raise
        for trial_id in finished:
            self._drafts.pop(trial_id, None)
        renewal = view.renewal()
        if renewal:
            view.apply_running(self._query(renewal))
        if self._connection.holds_lock():
            self._fresh.add(view.study_id)
        return stale

    def _query(self, statement: str) -> list[rows.Row]:
        def read(cursor: Cursor, _: int) -> list[rows.Row]:
            cursor.execute(statement)
            return list(cursor.fetchall())

        return self._connection.run(read)

    def _read_trial(self, trial_id: int) -> tuple[FrozenTrial, int]:
        """A trial as it is stored now, and the id of its study."""
        found = self._query(sql.trial_query(trial_id))
        row = next((row for row in found if row[0] == sql.TRIAL), None)
        if row is None:
            raise KeyError(f"there is no trial with the id {trial_id}")
        contents = rows.collect(found).get(trial_id) or rows.Contents()
        return rows.freeze(row, contents, self._times.get(trial_id)), int(row[4])

    def _read_content(self, study_id: int, trial_id: int, name: str) -> dict[Any, Any]:
        """A content of an unfinished trial, the first time that somebody looks at it."""
        with self._connection.mutex:
            view = self._view(study_id)
            content = view.contents_of(trial_id, name)
            if content is None and trial_id in view.unfinished():
                view.apply_running(self._query(view.want([rows.KINDS[name]])))
                content = view.contents_of(trial_id, name)
            if content is None:
                # It has finished since it was handed out.
                content = dict(getattr(self.get_trial(trial_id), name))
            return content

    def _known(self, trial_id: int) -> FrozenTrial | None:
        for view in self._views.values():
            trial = view.known(trial_id)
            if trial is not None:
                return trial
        return None

    def _study_of(self, trial_id: int) -> int:
        trial, study_id = self._read_trial(trial_id)
        if trial.state.is_finished():
            raise _already_finished(trial_id)
        return study_id

    # -- heartbeat --------------------------------------------------------------------------

    def record_heartbeat(self, trial_id: int) -> None:
        with self._connection.mutex:
            draft = self._drafts.get(trial_id)
            if draft is not None and not draft.beat_is_due(BEAT):
                return
            self._connection.run(lambda cursor, _: cursor.execute(sql.HEARTBEAT, (trial_id,)))
            if draft is not None:
                draft.beat()

    def _get_stale_trial_ids(self, study_id: int) -> list[int]:
        if self._grace is None:
            return []
        with self._connection.mutex:
            return self._refresh(self._view(study_id), self._grace)

    def get_heartbeat_interval(self) -> int | None:
        return self._interval

    def get_heartbeat_stale_trial_callback(
        self,
    ) -> Callable[[optuna.Study, FrozenTrial], None] | None:
        return self._stale_callback


def _new_trial(template: FrozenTrial | None, number: int, now: rows.Time) -> FrozenTrial:
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
        user_attrs={},
        system_attrs={},
        intermediate_values={},
    )


def _state(cursor: Cursor, trial_id: int) -> TrialState:
    cursor.execute(sql.STATE, (trial_id,))
    row = cursor.fetchone()
    if row is None:
        raise KeyError(f"there is no trial with the id {trial_id}")
    return TrialState[row[0]]


def _already_finished(trial_id: int) -> UpdateFinishedTrialError:
    return UpdateFinishedTrialError(f"the trial with the id {trial_id} has already finished")
