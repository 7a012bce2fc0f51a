"""The storage that a study's workers share: opened, locked, and spoken of without its password."""

from __future__ import annotations

import sqlite3
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy
from filelock import FileLock
from filelock import Timeout as LockTimeout
from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.storages import RDBStorage
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from hpo_job.errors import StorageError

EMBEDDED = "sqlite:///.hpo/studies.db"
CONNECT_TIMEOUT = 10  # seconds
BUSY_TIMEOUT = 60  # seconds that one SQLite writer waits for the others
GRACE = 60  # seconds without a heartbeat after which a running trial is lost
LOCK_TIMEOUT = 120  # seconds; the lock is held for milliseconds
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


def is_new(url: str) -> bool:
    """Whether this is a SQLite file that does not exist yet, so that no study can be in it."""
    file = _sqlite_file(_parse(url))
    return file is not None and not file.exists()


class Storage:
    """An Optuna RDBStorage, the lock its workers share, and a name without the password.

    url: anything Optuna's RDBStorage takes; `EMBEDDED` needs nothing set up.
    grace: seconds without a heartbeat after which a running trial counts as lost.
    create: whether a SQLite file that does not exist is made.

    Raises StorageError where it cannot be opened.
    """

    def __init__(self, url: str = EMBEDDED, *, grace: int = GRACE, create: bool = False) -> None:
        self._url = _parse(url)
        self._file = _sqlite_file(self._url)
        try:
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
        with self.exclusive("schema"), warnings.catch_warnings():
            # the heartbeat has been "experimental" in Optuna since 2.9
            warnings.simplefilter("ignore", ExperimentalWarning)
            self.optuna = RDBStorage(
                self._url.render_as_string(hide_password=False),
                engine_kwargs={"connect_args": self._connect_args()},
                heartbeat_interval=max(1, grace // 6),
                grace_period=grace,
            )

    def __str__(self) -> str:
        return self._url.set(query=dict.fromkeys(self._url.query, "***")).render_as_string()

    @contextmanager
    def exclusive(self, name: str) -> Iterator[None]:
        """Hold what one worker of this storage may do at a time; given back if the worker dies."""
        if self._file:
            with FileLock(f"{self._file}.lock", timeout=LOCK_TIMEOUT):
                yield
            return
        lock, unlock = map(sqlalchemy.text, _SERVER_LOCKS[self._url.get_backend_name()])
        values = {"name": f"hpo-job/{name}"[:64], "timeout": LOCK_TIMEOUT}
        with self._lock_engine.connect() as connection:
            if connection.execute(lock, values).scalar() != 1:
                raise StorageError(f"{self}: no lock within {LOCK_TIMEOUT} s; try again")
            try:
                yield
            finally:
                connection.execute(unlock, values)

    def stale_trial_ids(self, study_id: int) -> list[int]:
        """The running trials without a heartbeat for the grace, by the database's clock.

        Optuna keeps this question private; its public `fail_stale_trials` answers it by failing
        them without a reason.
        """
        return list(self.optuna._get_stale_trial_ids(study_id))

    def error(self, error: Exception) -> StorageError:
        """What the database answered, as one line without the password."""
        cause: BaseException = error
        while isinstance(cause, StorageInternalError) and cause.__cause__ is not None:
            cause = cause.__cause__  # Optuna's text guesses, the driver's knows
        reason = " ".join(str(getattr(cause, "orig", None) or cause).split())
        if isinstance(cause, ImportError):
            reason += "; install the database's driver beside hpo-job"
        for secret in _secrets(self._url):
            reason = reason.replace(secret, "***")
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


def _secrets(url: URL) -> list[str]:
    """What of ``url`` is not to be shown: the password, which may stand in the query as well."""
    values = (value for value in url.query.values() if isinstance(value, str))
    return [secret for secret in (str(url.password or ""), *values) if len(secret) > 3]
