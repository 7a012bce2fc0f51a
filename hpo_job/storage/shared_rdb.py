"""Optuna's storage for a study that many processes share on PostgreSQL or SQLite.

Guaranteed, beyond what Optuna's own RDBStorage does:
- A statement that meets a deadlock, a busy file or a lost connection is sent again, for as long
  as the patience. Sending it twice does no harm: contents are written under their unique key, a
  trial whose creation was not answered is looked up by its id, and a trial that was ended with
  these values counts as ended.
- A RUNNING trial without a heartbeat is stale once its start is longer ago than the grace.
- After an outage, every worker has the grace anew.
- A storage that reads once asks the database for a study's trials once, and for each other thing
  of a study once, however often a report looks at them.

Not guaranteed, unlike on MySQL: start and end of a trial are by the clock of its worker's
machine; nothing is buffered, so a trial is more statements.
"""

from __future__ import annotations

import functools
import json
import threading
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Concatenate, ParamSpec, TypeVar

import sqlalchemy
from optuna.exceptions import DuplicatedStudyError, UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState, create_trial

from hpo_job.errors import GoneError
from hpo_job.storage.fast_rdb import FastRDBStorage
from hpo_job.storage.rdb_retries import Retries
from hpo_job.storage.tables import GONE

P = ParamSpec("P")
T = TypeVar("T")

# One statement, which is safe to repeat; a trial that is gone gets no heartbeat.
_HEARTBEAT = sqlalchemy.text(
    "INSERT INTO trial_heartbeats (trial_id, heartbeat)"
    " SELECT trial_id, CURRENT_TIMESTAMP FROM trials WHERE trial_id = :trial"
    " ON CONFLICT (trial_id) DO UPDATE SET heartbeat = CURRENT_TIMESTAMP"
)
# A write comes first, so that SQLite waits for its turn instead of refusing a late change of mind.
_ATTRIBUTE = sqlalchemy.text(
    "INSERT INTO trial_user_attributes (trial_id, key, value_json)"
    " SELECT trial_id, :key, :value FROM trials WHERE trial_id = :trial"
    " AND state IN ('RUNNING', 'WAITING')"
    " ON CONFLICT (trial_id, key) DO UPDATE SET value_json = excluded.value_json"
)
_STATE = sqlalchemy.text("SELECT state FROM trials WHERE trial_id = :trial")
# A trial's start is stored in UTC. PostgreSQL's heartbeats are in the session's time zone: where
# that has summer time, both the difference of the local times and that of the points in time have
# to exceed the grace.
_STALE = (
    "SELECT t.trial_id FROM trials t LEFT JOIN trial_heartbeats h ON h.trial_id = t.trial_id"
    " WHERE t.study_id = :study AND t.state = 'RUNNING' AND ({heartbeat}"
    " OR (h.trial_id IS NULL AND (t.datetime_start IS NULL OR t.datetime_start < {utc})))"
)
_STALE_IN = {
    "sqlite": _STALE.format(
        heartbeat="h.heartbeat < datetime('now', '-' || :grace || ' seconds')",
        utc="datetime('now', '-' || :grace || ' seconds')",
    ),
    "postgresql": _STALE.format(
        heartbeat="(h.heartbeat < CAST(now() AS timestamp) - :grace * interval '1 second'"
        " AND h.heartbeat AT TIME ZONE current_setting('TimeZone')"
        " < now() - :grace * interval '1 second')",
        utc="(now() AT TIME ZONE 'UTC') - :grace * interval '1 second'",
    ),
}
_UPTIME = sqlalchemy.text("SELECT EXTRACT(EPOCH FROM now() - pg_postmaster_start_time())")


def _retried(
    method: Callable[Concatenate[SharedRDBStorage, P], T],
) -> Callable[Concatenate[SharedRDBStorage, P], T]:
    """Send what the method sends until it is answered, or for the patience."""

    @functools.wraps(method)
    def repeat(self: SharedRDBStorage, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._answer(lambda: method(self, *args, **kwargs))

    return repeat


def _remembered(
    method: Callable[Concatenate[SharedRDBStorage, P], T],
) -> Callable[Concatenate[SharedRDBStorage, P], T]:
    """Answer from memory what was asked before, in a storage that reads once."""

    @functools.wraps(method)
    def ask(self: SharedRDBStorage, /, *args: P.args, **kwargs: P.kwargs) -> T:
        if not self._once:
            return method(self, *args, **kwargs)
        question = (method.__name__, *args, *kwargs.values())
        if question not in self._answers:
            self._answers[question] = method(self, *args, **kwargs)
        answer: T = self._answers[question]
        return answer

    return ask


class SharedRDBStorage(FastRDBStorage):
    """Optuna's RDBStorage, with retries and with stale trials found in every case.

    Args:
        url: as for RDBStorage.
        retries: how long a statement is retried.
        check_lock: called before a trial is started; raises LockLost where others may have been
            inside the study's lock meanwhile.
        once: whether what was read is answered from memory from then on; nothing may be written.
        options: further arguments of RDBStorage.
    """

    def __init__(
        self,
        url: str,
        *,
        retries: Retries,
        check_lock: Callable[[], None] | None = None,
        once: bool = False,
        **options: Any,
    ) -> None:
        self.retries = retries
        self._once = once
        self._answers: dict[tuple[Any, ...], Any] = {}
        self._check_lock = check_lock
        self._sent = threading.local()  # the trial that this thread is creating
        self._start_attrs: dict[str, Any] = {}  # user attributes of the trials that are started
        try:
            super().__init__(url, **options)
        except BaseException:
            if "engine" in self.__dict__:  # without its tables, say: its connection is open
                self.engine.dispose()
            raise

    def __getstate__(self) -> dict[Any, Any]:
        # A copy in another process does not hold the lock.
        return {**super().__getstate__(), "_check_lock": None, "_sent": None, "_start_attrs": {}}

    def __setstate__(self, state: dict[Any, Any]) -> None:
        super().__setstate__(state)
        self._sent = threading.local()

    def _answer(self, work: Callable[[], T]) -> T:
        """What ``work()`` returns, called until it is answered.

        Raises:
            GoneError: a study or trial is not there: it was deleted while it was in use.
        """
        try:
            return self.retries.until_answered(work)
        except KeyError as error:
            raise GoneError(f"{self.retries.label}: {GONE}") from error

    def _require_lock(self) -> None:
        if self._check_lock is not None:
            self._check_lock()

    def execute(self, sql: str, parameters: Mapping[str, str]) -> list[Any]:
        """The rows that a statement of hpo-job's own answers; it must be safe to repeat."""

        def send() -> list[Any]:
            with self.engine.begin() as connection:
                result = connection.execute(sqlalchemy.text(sql), dict(parameters))
                return list(result) if result.returns_rows else []

        return self._answer(send)

    # -- studies ------------------------------------------------------------------------------

    def rename_study(self, study_id: int, name: str) -> None:
        """Give a study another name; Optuna's storages cannot.

        Raises:
            DuplicatedStudyError: there is one of that name.
        """
        statement = sqlalchemy.text("UPDATE studies SET study_name = :name WHERE study_id = :id")

        def rename() -> None:
            with self.engine.begin() as connection:
                connection.execute(statement, {"name": name, "id": study_id})

        try:
            self._answer(rename)
        except sqlalchemy.exc.IntegrityError as error:
            raise DuplicatedStudyError(f"there is a study named {name} already") from error

    @_remembered
    def get_study_id_from_name(self, study_name: str) -> int:
        # raises a plain KeyError: a study that nobody has made yet is not gone
        return self.retries.until_answered(
            lambda: FastRDBStorage.get_study_id_from_name(self, study_name)
        )

    # -- trials -------------------------------------------------------------------------------

    def _get_trials(
        self,
        study_id: int,
        states: Container[TrialState] | None,
        included_trial_ids: set[int],
        trial_id_greater_than: int,
    ) -> list[FrozenTrial]:
        def read(*wanted: Any) -> list[FrozenTrial]:
            return self._answer(lambda: FastRDBStorage._get_trials(self, study_id, *wanted))

        if not self._once:
            return read(states, included_trial_ids, trial_id_greater_than)
        question = ("trials", study_id)
        if question not in self._answers:
            self._answers[question] = read(None, set(), -1)
        elif trial_id_greater_than >= 0 or included_trial_ids:
            return []  # Optuna's cache has them, and asks for what is newer
        trials: list[FrozenTrial] = self._answers[question]
        return trials if states is None else [each for each in trials if each.state in states]

    @contextmanager
    def starting_with(self, attrs: Mapping[str, Any]) -> Iterator[None]:
        """Give new trials that are started inside these user attributes, in the same transaction.

        A trial that was enqueued gets none of them.
        """
        self._start_attrs = dict(attrs)
        try:
            yield
        finally:
            self._start_attrs = {}

    def _create_new_trial(
        self, study_id: int, template_trial: FrozenTrial | None = None
    ) -> FrozenTrial:
        self._sent.trial = None
        self._require_lock()
        if template_trial is None and self._start_attrs:
            template_trial = create_trial(state=TrialState.RUNNING, user_attrs=self._start_attrs)
        return self._answer(
            lambda: FastRDBStorage._create_new_trial(self, study_id, template_trial)
        )

    def _get_prepared_new_trial(
        self, study_id: int, template_trial: FrozenTrial | None, session: Any
    ) -> Any:
        """Optuna's row of the new trial; that of an earlier try whose answer was lost, if any."""
        if self._sent.trial is not None:
            model, trial_id = self._sent.trial
            trial = session.get(model, trial_id)
            if trial is not None:
                return trial
            self._require_lock()
        trial = super()._get_prepared_new_trial(study_id, template_trial, session)
        self._sent.trial = type(trial), trial.trial_id
        return trial

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        if state == TrialState.RUNNING:
            self._require_lock()
        tries = 0

        def end() -> bool:
            nonlocal tries
            tries += 1
            try:
                return FastRDBStorage.set_trial_state_values(self, trial_id, state, values)
            except UpdateFinishedTrialError:
                if tries > 1 and self._ended_with(trial_id, state, values):
                    return True  # by an earlier try, whose answer was lost
                raise

        return self._answer(end)

    def _ended_with(self, trial_id: int, state: TrialState, values: Sequence[float] | None) -> bool:
        trial = FastRDBStorage.get_trial(self, trial_id)
        stored = None if trial.values is None else list(trial.values)
        return trial.state == state and (values is None or stored == list(values))

    @_retried
    def set_trial_user_attrs(self, trial_id: int, attrs: Mapping[str, Any]) -> None:
        """Store several user attributes in one transaction; Optuna's storage makes one for each.

        Raises:
            UpdateFinishedTrialError: the trial has finished; nothing is stored.
        """
        rows = [
            {"trial": trial_id, "key": key, "value": json.dumps(value)}
            for key, value in attrs.items()
        ]
        with self.engine.begin() as connection:
            if rows:
                connection.execute(_ATTRIBUTE, rows)
            state = connection.execute(_STATE, {"trial": trial_id}).scalar_one_or_none()
            if state is None:
                raise KeyError(trial_id)
            self.check_trial_is_updatable(trial_id, TrialState[state])

    # -- heartbeat ----------------------------------------------------------------------------

    @_retried
    def record_heartbeat(self, trial_id: int) -> None:
        with self.engine.begin() as connection:
            connection.execute(_HEARTBEAT, {"trial": trial_id})

    @_retried
    def _get_stale_trial_ids(self, study_id: int) -> list[int]:
        grace = self.grace_period or 2 * (self.heartbeat_interval or 0)
        if not grace:
            return []
        dialect = self.engine.dialect.name
        query = sqlalchemy.text(_STALE_IN[dialect])
        with self.engine.connect() as connection:
            stale = list(connection.execute(query, {"study": study_id, "grace": grace}).scalars())
            if stale and self._was_away(connection, grace):
                return []  # heartbeats may be missing because the server was
            return stale

    def _was_away(self, connection: sqlalchemy.Connection, seconds: float) -> bool:
        if self.retries.outage.was_within(seconds):
            return True
        if self.engine.dialect.name != "postgresql":
            return False
        return float(connection.execute(_UPTIME).scalar_one()) < seconds


def _retry_the_others() -> None:
    for name in (
        "create_new_study",
        "delete_study",
        "set_study_user_attr",
        "set_study_system_attr",
        "_set_trial_param",
        "set_trial_intermediate_value",
        "set_trial_user_attr",
        "set_trial_system_attr",
        "get_trial_id_from_study_id_trial_number",
        "get_trial",
        "_get_best_trial_id",
    ):
        setattr(SharedRDBStorage, name, _retried(getattr(FastRDBStorage, name)))
    for name in (
        "get_study_name_from_id",
        "get_study_directions",
        "get_study_user_attrs",
        "get_study_system_attrs",
        "get_all_studies",
    ):
        setattr(SharedRDBStorage, name, _remembered(_retried(getattr(FastRDBStorage, name))))


_retry_the_others()
