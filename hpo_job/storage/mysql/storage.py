"""The Optuna storage for MySQL and MariaDB, on Optuna's own tables."""

import copy
import math
import threading
import uuid
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from hpo_job.storage import tables
from hpo_job.storage.defaults import IDLE, PATIENCE
from hpo_job.storage.locks import lock_name
from hpo_job.storage.mysql.connection import Connection, Cursor
from hpo_job.storage.mysql.draft import Draft
from hpo_job.storage.mysql.reader import Reader
from hpo_job.storage.mysql.rights import require_can_write
from hpo_job.storage.mysql.schema import ensure_schema
from hpo_job.storage.mysql.studies import StudyTable
from hpo_job.storage.mysql.url import read_url
from hpo_job.storage.mysql.writer import Writer
from hpo_job.storage.optuna_private import (
    DEFAULT_STUDY_NAME_PREFIX,
    BaseHeartbeat,
    FrozenStudy,
)


class MySQLStorage(BaseStorage, BaseHeartbeat):
    """A study shared by many workers, on a MySQL or MariaDB server.

    Args:
        url: `mysql+mysqldb://` or `mysql+pymysql://`, see docs/storage.md.
        heartbeat_interval: seconds between heartbeats, None for none.
        grace_period: seconds without a heartbeat after which a trial is stale; by default twice
            the interval.
        heartbeat_stale_trial_callback: as in Optuna's own storage.
        patience: seconds for which statements are retried when the server is away or busy.
        create: whether missing tables are created.
        idle: seconds without a statement after which the connection is given back.
        fresh_for: seconds for which reads are answered from the last one, for commands that only
            look.

    Raises:
        StorageError: the server refuses, or the tables are missing or belong to another version
            of Optuna.
    """

    def __init__(
        self,
        url: str,
        *,
        heartbeat_interval: int | None = None,
        grace_period: int | None = None,
        heartbeat_stale_trial_callback: (Callable[[optuna.Study, FrozenTrial], None] | None) = None,
        patience: float = PATIENCE,
        create: bool = True,
        idle: float = IDLE,
        fresh_for: float = 0.0,
    ) -> None:
        for name, value in (("interval", heartbeat_interval), ("grace", grace_period)):
            if value is not None and value <= 0:
                raise ValueError(f"heartbeat {name}: {value}, but seconds above 0 are expected")
        self._url = url
        self._interval = heartbeat_interval
        self._grace = grace_period or (2 * heartbeat_interval if heartbeat_interval else None)
        self._stale_callback = heartbeat_stale_trial_callback
        self._patience = patience
        self._idle = idle
        self._fresh_for = fresh_for
        self._start()
        try:
            ensure_schema(self._connection, create=create)
        except BaseException:
            self._connection.drop()  # nobody will close it
            raise

    def _start(self) -> None:
        server = read_url(self._url, brief=math.isinf(self._fresh_for))
        self._connection = Connection(server, self._patience, self.flush, self._idle)
        self._turnstile = threading.Lock()
        self._drafts: dict[int, Draft] = {}
        self._studies = StudyTable(self._connection, self._fresh_for)
        self._reader = Reader(self._connection, self._drafts, self._fresh_for)
        self._writer = Writer(self._connection, self._reader, self._drafts)

    def __getstate__(self) -> dict[str, Any]:
        self.flush()
        kept = (
            "_url",
            "_interval",
            "_grace",
            "_stale_callback",
            "_patience",
            "_idle",
            "_fresh_for",
        )
        return {name: self.__dict__[name] for name in kept}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._start()

    # -- for workers -----------------------------------------------------------------------

    @contextmanager
    def exclusive(self, name: str) -> Iterator[None]:
        """Hold the lock of a study: one worker at a time is inside.

        Inside, trials are read once: later reads are answered from the first, until this worker
        changes something other than by adding a trial. Once a trial has been started, the block
        has done its work: losing the connection does no harm from there, and the trial's first
        read of the study is answered from the one inside.

        Args:
            name: of the study.

        Raises:
            LockLost: the connection was lost before a trial was started. What was read is
                void: enter the block again.
        """
        lock = lock_name(self._connection.server.database, name)
        with self._turnstile, self._connection.locked(lock):
            self._reader.enter()
            try:
                yield
            finally:
                self._reader.leave()

    @contextmanager
    def starting_with(self, attrs: Mapping[str, Any]) -> Iterator[None]:
        """Give trials that are started inside these user attributes, in the same transaction."""
        self._writer.start_attrs = dict(attrs)
        try:
            yield
        finally:
            self._writer.start_attrs = {}

    def counts(self, study_id: int) -> dict[TrialState, int]:
        """How many trials are in each state, at a cost that does not grow with the study."""
        with self._connection.mutex:
            return self._reader.refreshed(study_id).counts()

    def execute(self, sql: str, parameters: Mapping[str, str]) -> list[Any]:
        """The rows that a statement of hpo-job's own answers; it must be safe to repeat."""

        def send(cursor: Cursor, _: int) -> list[Any]:
            cursor.execute(sql, dict(parameters))
            return list(cursor.fetchall()) if cursor.description else []

        return self._connection.run(send, transaction=True)

    def now(self) -> datetime:
        """The server's time, as naive local time like that of the trials."""
        with self._connection.mutex:
            return self._reader.now()

    def require_writable(self) -> None:
        """Check that this account may write, without changing anything.

        Raises:
            StorageError: it may not.
        """
        require_can_write(self._connection)

    def hurry(self, patience: float) -> None:
        """Wait no longer than ``patience`` seconds from here on: this process has to end."""
        self._patience = self._connection.patience = min(patience, self._patience)

    def flush(self) -> None:
        """Write what is buffered: parameters and attributes of this process' trials."""
        with self._connection.mutex:
            for draft in list(self._drafts.values()):
                self._writer.flush(draft)

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
            self._reader.forget(study_id)
            for draft in list(self._drafts.values()):
                if draft.study_id == study_id:
                    del self._drafts[draft.trial_id]
            self._studies.delete(study_id)

    def rename_study(self, study_id: int, name: str) -> None:
        """Give a study another name; Optuna's storages cannot.

        Raises:
            DuplicatedStudyError: there is one of that name.
        """
        self._studies.rename(study_id, name)

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
        with self._connection.mutex:
            return self._studies.user_attrs(study_id, self._reader.attrs_checksum(study_id))

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        return self._studies.attrs("study_system_attributes", study_id)

    def get_all_studies(self) -> list[FrozenStudy]:
        return self._studies.all()

    # -- trials: written ----------------------------------------------------------------------

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        with self._connection.mutex:
            return self._writer.create(study_id, template_trial)

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        with self._connection.mutex:
            self._reader.refuse_finished(trial_id)
            if state == TrialState.RUNNING:
                return self._writer.start(trial_id)
            self._writer.end(trial_id, state, values)
            return True

    def set_trial_param(
        self,
        trial_id: int,
        param_name: str,
        param_value_internal: float,
        distribution: BaseDistribution,
    ) -> None:
        with self._connection.mutex:
            self._reader.refuse_finished(trial_id)
            self._writer.param(trial_id, param_name, param_value_internal, distribution)

    def set_trial_intermediate_value(
        self, trial_id: int, step: int, intermediate_value: float
    ) -> None:
        with self._connection.mutex:
            self._reader.refuse_finished(trial_id)
            self._writer.report(trial_id, step, intermediate_value)

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        with self._connection.mutex:
            self._reader.refuse_finished(trial_id)
            self._writer.attr(trial_id, tables.USER, key, value)

    def set_trial_user_attrs(self, trial_id: int, attrs: Mapping[str, Any]) -> None:
        """Store several user attributes; they are buffered, and written together.

        Raises:
            UpdateFinishedTrialError: the trial has finished.
        """
        with self._connection.mutex:
            self._reader.refuse_finished(trial_id)
            for key, value in attrs.items():
                self._writer.attr(trial_id, tables.USER, key, value)

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        with self._connection.mutex:
            self._reader.refuse_finished(trial_id)
            self._writer.attr(trial_id, tables.SYSTEM, key, value)

    # -- trials: read -------------------------------------------------------------------------

    def get_trial_id_from_study_id_trial_number(self, study_id: int, trial_number: int) -> int:
        with self._connection.mutex:
            return self._reader.id_of_number(study_id, trial_number)

    def get_trial(self, trial_id: int) -> FrozenTrial:
        with self._connection.mutex:
            return self._reader.trial(trial_id)

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        with self._connection.mutex:
            trials = self._reader.all_trials(study_id, states)
            return copy.deepcopy(trials) if deepcopy else trials

    # -- heartbeat ----------------------------------------------------------------------------

    def record_heartbeat(self, trial_id: int) -> None:
        with self._connection.mutex:
            self._writer.beat(trial_id)

    def _get_stale_trial_ids(self, study_id: int) -> list[int]:
        if self._grace is None:
            return []
        with self._connection.mutex:
            return self._reader.stale(study_id, self._grace)

    def get_heartbeat_interval(self) -> int | None:
        return self._interval

    def get_heartbeat_stale_trial_callback(
        self,
    ) -> Callable[[optuna.Study, FrozenTrial], None] | None:
        return self._stale_callback
