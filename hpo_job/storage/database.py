"""The storage that a study's workers share: opened, locked, and spoken of without its password."""

from __future__ import annotations

import os
import sqlite3
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy
from filelock import FileLock
from filelock import Timeout as LockTimeout
from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.storages import RDBStorage
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from hpo_job.errors import StorageError
from hpo_job.storage import urls
from hpo_job.storage.defaults import CONNECT_TIMEOUT, EMBEDDED, GRACE, IDLE, PATIENCE
from hpo_job.storage.fast_rdb import SwiftRDBStorage
from hpo_job.storage.mysql import LockLost, MySQLStorage, capacity, plain_text_warning
from hpo_job.storage.mysql.schema import lock_name

BUSY_TIMEOUT = 60  # seconds that one SQLite writer waits for the others
LOCK_TIMEOUT = 120  # seconds; the lock is held for milliseconds
LEAVING = 15  # seconds that it still waits when it was asked to stop: Kubernetes kills after 30
STOCK = "HPO_JOB_STOCK_STORAGE"  # set to 1: Optuna's own storage for every database
# How a server is asked for a lock that is free again when the connection ends. PostgreSQL's
# waits as long as it takes.
_MYSQL = ("SELECT GET_LOCK(:name, :timeout)", "SELECT RELEASE_LOCK(:name)")
_SERVER_LOCKS = {
    "mysql": _MYSQL,
    "mariadb": _MYSQL,
    "postgresql": (
        "SELECT 1 FROM pg_advisory_lock(hashtext(:name))",
        "SELECT pg_advisory_unlock(hashtext(:name))",
    ),
}

# What a database, its driver or Optuna's storage raises
DATABASE_ERRORS = (SQLAlchemyError, StorageInternalError, sqlite3.Error, LockTimeout)
# What ends a worker, or costs a heartbeat: the above, or their one line from the MySQL storage
STORAGE_ERRORS = (*DATABASE_ERRORS, StorageError)
T = TypeVar("T")


def is_new(url: str) -> bool:
    """Whether this is a SQLite file that does not exist yet, so that no study can be in it."""
    file = _sqlite_file(_parse(url))
    return file is not None and not file.exists()


def warning(url: str) -> str | None:
    """One line where the password would travel to another machine as plain text."""
    return plain_text_warning(url) if _is_mysql(_parse(url)) else None


def worker_capacity(url: str) -> int | None:
    """How many workers the server at ``url`` has connections for now; None where it is no MySQL.

    Raises StorageError where it cannot be asked.
    """
    return capacity(url).workers if _is_mysql(_parse(url)) else None


class Storage:
    """An Optuna storage, the lock its workers share, and a name without the password.

    A MySQL or MariaDB server gets `MySQLStorage`, everything else Optuna's RDBStorage.

    url: anything Optuna's RDBStorage takes; `EMBEDDED` needs nothing set up.
    grace: seconds without a heartbeat after which a running trial counts as lost.
    create: whether a SQLite file, or a MySQL server's tables, are made where there are none.
    patience: seconds to wait for a MySQL server that is away or busy.
    idle: seconds without a statement after which a connection to MySQL is closed.

    Raises StorageError where it cannot be opened.
    """

    optuna: RDBStorage | MySQLStorage

    def __init__(
        self,
        url: str = EMBEDDED,
        *,
        grace: int = GRACE,
        create: bool = False,
        patience: float = PATIENCE,
        idle: float = IDLE,
    ) -> None:
        self._url = _parse(url)
        self._file = _sqlite_file(self._url)
        self._studies: dict[str, int] = {}
        try:
            if _is_mysql(self._url) and os.environ.get(STOCK) != "1":
                self.optuna = MySQLStorage(
                    url,
                    heartbeat_interval=_interval(grace),
                    grace_period=grace,
                    patience=patience,
                    create=create,
                    idle=idle,
                )
            else:
                self._open(grace, create)
        except (*DATABASE_ERRORS, ImportError, RuntimeError, OSError, TypeError) as error:
            # RuntimeError is how Optuna reports a schema of another version
            raise self.error(error) from error

    def _open(self, grace: int, create: bool) -> None:
        self._lock_engine = sqlalchemy.create_engine(
            self._url, connect_args=self._connect_args(), poolclass=sqlalchemy.NullPool
        )
        if self._file:
            _prepare_sqlite(self._file, create)
        # One at a time: of two processes that create the tables at once, one fails.
        with self._exclusive("schema"), warnings.catch_warnings():
            # the heartbeat has been "experimental" in Optuna since 2.9
            warnings.simplefilter("ignore", ExperimentalWarning)
            self.optuna = SwiftRDBStorage(
                self._url.render_as_string(hide_password=False),
                engine_kwargs={"connect_args": self._connect_args()},
                heartbeat_interval=_interval(grace),
                grace_period=grace,
            )

    def __str__(self) -> str:
        return urls.redacted_url(self._url)

    def run_exclusively(self, name: str, work: Callable[[], T]) -> T:
        """What ``work()`` returns, called while no other worker of this storage is in ``name``.

        It is called again where a server went away with the lock before it ended: others may
        have been in between, so it must start from what is stored, and not mind having begun.
        """
        while True:
            try:
                with self.exclusive(name):
                    return work()
            except LockLost:
                continue

    @contextmanager
    def exclusive(self, name: str) -> Iterator[None]:
        """Hold what one worker of this storage may do at a time; given back if the worker dies.

        Raises LockLost where it was given back too early: see `run_exclusively`.
        """
        if isinstance(self.optuna, MySQLStorage):
            with self.optuna.exclusive(name):
                yield
            return
        with self._exclusive(name):
            yield

    @contextmanager
    def _exclusive(self, name: str) -> Iterator[None]:
        if self._file:
            with FileLock(f"{self._file}.lock", timeout=LOCK_TIMEOUT):
                yield
            return
        lock, unlock = map(sqlalchemy.text, _SERVER_LOCKS[self._url.get_backend_name()])
        # the same name as MySQLStorage's, so that workers on both keep out of each other's way
        name = lock_name(str(self._url.database), name)
        values = {"name": name, "timeout": LOCK_TIMEOUT}
        with self._lock_engine.connect() as connection:
            if connection.execute(lock, values).scalar() != 1:
                raise StorageError(f"{self}: no lock within {LOCK_TIMEOUT} s; try again")
            try:
                yield
            finally:
                connection.execute(unlock, values)

    def study_id(self, name: str) -> int:
        """The storage's own number of a study, looked up once."""
        if name not in self._studies:
            self._studies[name] = self.optuna.get_study_id_from_name(name)
        return self._studies[name]

    @contextmanager
    def starting_with(self, attrs: Mapping[str, Any]) -> Iterator[bool]:
        """Whether trials started inside have these user attributes, and are known to be alive.

        False where the storage cannot do that in one step, and whoever asks has to see to it.
        """
        if isinstance(self.optuna, MySQLStorage):
            with self.optuna.starting_with(attrs):
                yield True
        else:
            yield False

    def now(self) -> datetime:
        """The time by the clock that trials start and end by, naive and local as theirs is.

        The server's, where trials are started by it: this machine's may be off.
        """
        if isinstance(self.optuna, MySQLStorage):
            return self.optuna.now()
        return datetime.now()

    def close(self) -> None:
        """Write what is buffered, and give the connections back."""
        self.optuna.remove_session()
        if isinstance(self.optuna, RDBStorage):
            self.optuna.engine.dispose()

    def hurry(self) -> None:
        """Do not wait long for a server any more: this process was asked to stop."""
        if isinstance(self.optuna, MySQLStorage):
            self.optuna.hurry(LEAVING)

    def stale_trial_ids(self, study_id: int) -> list[int]:
        """The running trials without a heartbeat for the grace, by the database's clock.

        Optuna keeps this question private; its public `fail_stale_trials` answers it by failing
        them without a reason.
        """
        return list(self.optuna._get_stale_trial_ids(study_id))

    def error(self, error: Exception) -> StorageError:
        """What the database answered, as one line without the password."""
        if isinstance(error, StorageError):
            return error
        cause: BaseException = error
        while isinstance(cause, StorageInternalError) and cause.__cause__ is not None:
            cause = cause.__cause__  # Optuna's text guesses, the driver's knows
        reason = urls.redact(str(getattr(cause, "orig", None) or cause), self._url)
        if isinstance(cause, ImportError):
            reason += "; install the database's driver beside hpo-job"
        return StorageError(f"storage {self}: {reason}")

    @contextmanager
    def reaching(self) -> Iterator[None]:
        """Turn what the database or its driver raises in here into a StorageError."""
        try:
            yield
        except DATABASE_ERRORS as error:
            raise self.error(error) from error

    def _connect_args(self) -> dict[str, Any]:
        if self._file:
            return {"timeout": BUSY_TIMEOUT}
        if self._url.get_driver_name() in ("mysqldb", "pymysql", "psycopg", "psycopg2"):
            return {"connect_timeout": CONNECT_TIMEOUT}
        return {}


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
        parsed.get_dialect()
    except (ArgumentError, NoSuchModuleError, ImportError, ValueError):
        # the text is not shown: it may hold a password in a place where none is looked for
        raise StorageError(
            "storage: not a database URL; write it like sqlite:///file.db or "
            "mysql://user:password@host/database"
        ) from None
    backend = parsed.get_backend_name()
    if backend not in ("sqlite", *_SERVER_LOCKS):
        raise StorageError(f"storage: {backend} is none of sqlite, mysql and postgresql")
    if backend == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise StorageError("storage: an in-memory database serves one process only; name a file")
    return parsed


def _is_mysql(url: URL) -> bool:
    return url.get_backend_name() in ("mysql", "mariadb")


def _sqlite_file(url: URL) -> Path | None:
    return Path(str(url.database)) if url.get_backend_name() == "sqlite" else None


def _prepare_sqlite(file: Path, create: bool) -> None:
    """Make sure of the file, in WAL mode: readers and the one writer then do not wait."""
    if not create and not file.exists():
        raise StorageError(f"storage {file}: no such file; create a study first, or see --storage")
    if file.exists() and not _is_sqlite(file):
        raise StorageError(f"storage {file}: is not a database; name another file")
    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{file}.lock", timeout=LOCK_TIMEOUT):
        connection = sqlite3.connect(file, timeout=BUSY_TIMEOUT)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        finally:
            connection.close()


def _is_sqlite(file: Path) -> bool:
    if not file.is_file():
        return False
    with file.open("rb") as stream:
        return stream.read(16) in (b"", b"SQLite format 3\0")


def _interval(grace: int) -> int:
    """Seconds between heartbeats, at which workers also look for lost trials."""
    return min(max(1, grace // 6), 8)
