"""The storage that a study's workers share: opened, locked, and named without its password."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any, TypeVar

from filelock import Timeout as LockTimeout
from optuna.exceptions import DuplicatedStudyError, StorageInternalError
from optuna.storages import RDBStorage
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError

from hpo_job.errors import StorageError, StudyError
from hpo_job.storage import mysql, postgresql, postgresql_rights, rdb_faults, sqlite_file, urls
from hpo_job.storage.defaults import EMBEDDED, GRACE, PATIENCE
from hpo_job.storage.locks import LockLost
from hpo_job.storage.mysql import MySQLStorage
from hpo_job.storage.opening import Options, opened
from hpo_job.storage.optuna_private import stale_trial_ids
from hpo_job.storage.rights import Rights
from hpo_job.storage.shared_rdb import SharedRDBStorage
from hpo_job.storage.timeouts import STOPPING_PATIENCE

# What a database, its driver or Optuna's storage raises
DATABASE_ERRORS = (SQLAlchemyError, StorageInternalError, sqlite3.Error, LockTimeout)
# What ends a worker, or costs a heartbeat: the above, or our own one-line errors
STORAGE_ERRORS = (*DATABASE_ERRORS, StorageError)
T = TypeVar("T")


def is_new(url: str) -> bool:
    """Whether this is a SQLite file that does not exist yet, so that no study can be in it."""
    file = urls.sqlite_path(urls.parse(url))
    return file is not None and not file.exists()


def warning(url: str) -> str | None:
    """One line where the password would travel to another machine as plain text."""
    return mysql.plain_text_warning(url) if urls.is_mysql(urls.parse(url)) else None


def worker_capacity(url: str) -> int | None:
    """How many more workers the server at ``url`` has connections for; None for a file.

    Raises:
        StorageError: the server does not answer, or refuses.
    """
    parsed = urls.parse(url)
    if urls.sqlite_path(parsed):
        return None
    if urls.is_mysql(parsed):
        return mysql.capacity(url).workers
    label = f"storage {urls.redacted_url(parsed)}"
    try:
        return postgresql.worker_capacity(parsed, label)
    except (*DATABASE_ERRORS, ImportError) as error:
        raise StorageError(f"{label}: {_reason(error, parsed)}") from error


def try_rights(url: str) -> Rights:
    """Try what a worker does with the database at ``url``, without changing anything in it.

    Raises:
        StorageError: the server does not answer, or lets nobody in; or the file cannot be read.
    """
    parsed = urls.parse(url)
    if path := urls.sqlite_path(parsed):
        return sqlite_file.try_rights(path)
    if urls.is_mysql(parsed):
        return mysql.try_rights(url)
    label = f"storage {urls.redacted_url(parsed)}"
    try:
        return postgresql_rights.try_rights(parsed, label)
    except (*DATABASE_ERRORS, ImportError) as error:
        raise StorageError(f"{label}: {_reason(error, parsed)}") from error


def _reason(error: Exception, url: URL) -> str:
    source = urls.source(url.render_as_string(hide_password=False))
    return rdb_faults.reason(error, source, lambda text: urls.redact(text, url))


class Storage:
    """An Optuna storage, the lock that its workers share, and a name without the password.

    Attributes:
        optuna: the storage.
        lock_wait: seconds for which this process has waited for studies' locks so far.

    A MySQL or MariaDB server gets `MySQLStorage`, everything else `SharedRDBStorage`.

    Args:
        url: of a SQLite file, a MySQL or MariaDB, or a PostgreSQL server; `EMBEDDED` needs no
            setup.
        grace: seconds without a heartbeat after which a running trial counts as lost.
        create: whether a missing SQLite file, or missing tables, are created.
        read_only: whether nothing will be written. No right to write is needed then.
        once: whether what was read may be answered from memory from then on, for a command that
            reads a study and ends: a server may be far away.
        patience: seconds to wait for a server that is away or busy.

    Raises:
        StorageError: it cannot be opened.
    """

    optuna: SharedRDBStorage | MySQLStorage

    def __init__(
        self,
        url: str = EMBEDDED,
        *,
        grace: int = GRACE,
        create: bool = False,
        read_only: bool = False,
        patience: float = PATIENCE,
        once: bool = False,
    ) -> None:
        self._url = urls.parse(url)
        self._studies: dict[str, int] = {}
        self.lock_wait = 0.0
        options = Options(f"storage {self}", grace, create, read_only, patience, once)
        try:
            self.optuna, self._lock = opened(self._url, options)
        except (*DATABASE_ERRORS, ImportError, OSError, TypeError) as error:
            raise self.error(error) from error

    def __str__(self) -> str:
        return urls.redacted_url(self._url)

    def run_exclusively(self, name: str, work: Callable[[], T]) -> T:
        """What ``work()`` returns, called while no other worker holds the lock of ``name``.

        It is called again if the lock was lost before it ended: others may have been inside
        meanwhile, so it must start from what is stored, and be safe to repeat.
        """
        while True:
            try:
                with self.exclusive(name):
                    return work()
            except LockLost:
                continue

    @contextmanager
    def exclusive(self, name: str) -> Iterator[None]:
        """Hold the lock of ``name``: one worker at a time. It is free again if the worker dies.

        Raises:
            LockLost: it was lost inside the block; see `run_exclusively`.
        """
        asked = time.monotonic()
        with self._lock.exclusive(name):
            self.lock_wait += time.monotonic() - asked
            yield

    def study_id(self, name: str) -> int:
        """The storage's own number of a study, looked up once."""
        if name not in self._studies:
            self._studies[name] = self.optuna.get_study_id_from_name(name)
        return self._studies[name]

    def rename_study(self, name: str, new: str) -> None:
        """Give a study another name; all else of it stays.

        Raises:
            StudyError: there is a study of that name.
        """
        try:
            self.optuna.rename_study(self.study_id(name), new)
        except DuplicatedStudyError as error:
            raise StudyError(
                f"{self}: there is a study {new!r} already; use another name"
            ) from error
        self._studies.pop(name)

    @contextmanager
    def starting_with(self, attrs: Mapping[str, Any]) -> Iterator[bool]:
        """Give a trial that is started inside these user attributes, in the same transaction.

        Yields:
            Whether it also has its first heartbeat then, and whether that holds for a trial that
            was enqueued. If not, the caller has to see to both.
        """
        with self.optuna.starting_with(attrs):
            yield isinstance(self.optuna, MySQLStorage)

    def now(self) -> datetime:
        """The time by the clock that trials start and end by, naive and local as theirs is.

        It is the server's on MySQL, where trials start and end by it.
        """
        if isinstance(self.optuna, MySQLStorage):
            return self.optuna.now()
        return datetime.now()

    def flush(self) -> None:
        """Write what is buffered: attributes of this process's trials, on MySQL.

        Raises:
            UpdateFinishedTrialError: a trial of them has been ended by another worker.
        """
        if isinstance(self.optuna, MySQLStorage):
            self.optuna.flush()

    def close(self) -> None:
        """Write what is buffered, and give the connections back."""
        self.optuna.remove_session()
        if isinstance(self.optuna, RDBStorage):
            self.optuna.engine.dispose()

    def require_writable(self) -> None:
        """Check that this account may write to a MySQL server; of other databases nothing is asked.

        Raises:
            StorageError: it may not.
        """
        if isinstance(self.optuna, MySQLStorage):
            self.optuna.require_writable()

    def hurry(self) -> None:
        """Do not wait long for a server any more: this process was asked to stop."""
        if isinstance(self.optuna, MySQLStorage):
            self.optuna.hurry(STOPPING_PATIENCE)
        else:
            retries = self.optuna.retries
            retries.patience = min(retries.patience, STOPPING_PATIENCE)

    def stale_trial_ids(self, study_id: int) -> list[int]:
        """The running trials that are lost, by the database's clock.

        Those are trials whose last heartbeat, or without one their start, is longer ago than the
        grace.
        """
        return stale_trial_ids(self.optuna, study_id)

    def error(self, error: Exception) -> StorageError:
        """What the database answered, as one line without the password."""
        if isinstance(error, StorageError):
            return error
        reason = _reason(error, self._url)
        if isinstance(error, ImportError):
            reason += (
                "; pip install 'hpo-job[postgresql]'"
                if error.name == "psycopg"
                else "; install the database's driver, into the environment of hpo-job"
            )
        return StorageError(f"storage {self}: {reason}")

    @contextmanager
    def reaching(self) -> Iterator[None]:
        """Turn what the database or its driver raises in here into a StorageError."""
        try:
            yield
        except DATABASE_ERRORS as error:
            raise self.error(error) from error
