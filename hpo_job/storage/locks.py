"""The lock of a study, which lets one worker at a time decide what is started.

MySQL's lock is part of the storage for MySQL (`mysql.connection`); here are those of SQLite and
PostgreSQL. Each is free again when its holder dies. What differs is in docs/storage.md.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

import sqlalchemy
from filelock import BaseFileLock, FileLock
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from hpo_job.errors import UnreachableError
from hpo_job.storage import timeouts, waiting
from hpo_job.storage.rdb_retries import Retries

LOCK_NOT_AVAILABLE = "55P03"  # PostgreSQL's answer when lock_timeout has passed
POLL = 0.02  # seconds between two looks at a file's lock, which a start holds for about as long


class LockLost(Exception):
    """The study's lock went with its connection: what was read under it is void."""


class StudyLock(Protocol):
    """One worker at a time holds the lock of a name."""

    def exclusive(self, name: str) -> AbstractContextManager[None]:
        """Hold the lock of a study; raises LockLost where it was lost inside the block."""


def lock_name(database: str, what: str) -> str:
    """The name of a lock on a server. Locks are server-wide, so the database is part of it.

    Hashed, because MySQL allows 64 characters.
    """
    return "hpo-job:" + hashlib.sha256(f"{database}:{what}".encode()).hexdigest()[:48]


def held(file: Path) -> AbstractContextManager[BaseFileLock]:
    """The lock on the file next to a SQLite file, taken.

    Raises:
        filelock.Timeout: another process has held it for `LOCK_TIMEOUT` seconds.
    """
    lock = FileLock(f"{file}.lock")
    return lock.acquire(timeout=timeouts.LOCK_TIMEOUT, poll_interval=POLL)


class FileStudyLock:
    """A lock on a file next to the SQLite file; all studies of the file share it.

    The operating system frees it when its holder dies. A holder that is frozen keeps it.
    """

    def __init__(self, file: Path) -> None:
        self._file = file

    @contextmanager
    def exclusive(self, name: str) -> Iterator[None]:
        """Hold the lock, whatever the study's name.

        Raises:
            filelock.Timeout: another process has held it for `LOCK_TIMEOUT` seconds.
        """
        with held(self._file):
            yield


class AdvisoryLock:
    """PostgreSQL's advisory lock, held by a separate connection.

    The server frees it when the connection ends. It ends the connection of a holder that has
    been frozen, or whose machine has been gone, for `FROZEN_TIMEOUT` seconds.

    Args:
        engine: opens a new connection each time.
        database: part of the lock's name.
        retries: how long another holder, or the server, is waited for.
    """

    def __init__(self, engine: sqlalchemy.Engine, database: str, retries: Retries) -> None:
        self._engine = engine
        self._database = database
        self._retries = retries
        self._held = threading.local()

    @contextmanager
    def exclusive(self, name: str) -> Iterator[None]:
        """Hold the lock of a study.

        Raises:
            LockLost: the server ended the connection, and with it the lock, inside the block.
            UnreachableError: another worker held it for all of the patience.
        """
        connection = self._retries.until_answered(lambda: self._acquired(name))
        self._held.connection = connection
        try:
            yield
            self.check()
        except UnreachableError:
            raise
        except Exception:
            self.check()  # what others have done meanwhile may be the reason
            raise
        finally:
            self._held.connection = None
            _release(connection)

    @contextmanager
    def transaction(self, name: str) -> Iterator[Connection]:
        """A transaction that holds the lock of ``name``.

        If the connection is lost, so are both. The caller tries again.
        """
        connection = self._acquired(name)
        try:
            yield connection
            connection.commit()
        finally:
            _release(connection)

    def _acquired(self, name: str) -> Connection:
        """A new connection that holds the lock; closed again if it does not get it."""
        connection = self._engine.connect()
        try:
            self._acquire(connection, name)
        except BaseException:
            _release(connection)
            raise
        return connection

    def _acquire(self, connection: Connection, name: str) -> None:
        key = {"name": lock_name(self._database, name)}
        started, attempt = time.monotonic(), 0
        while True:
            # All for this transaction, which is as long as the lock. Waits of one second: signal
            # handlers run between them.
            connection.execute(sqlalchemy.text("SET LOCAL lock_timeout = '1s'"))
            frozen = f"SET LOCAL idle_in_transaction_session_timeout = '{timeouts.FROZEN_TIMEOUT}s'"
            connection.execute(sqlalchemy.text(frozen))
            try:
                lock = "SELECT pg_advisory_xact_lock(hashtext(:name))"
                connection.execute(sqlalchemy.text(lock), key)
                return
            except DBAPIError as error:
                if getattr(error.orig, "sqlstate", None) != LOCK_NOT_AVAILABLE:
                    raise
                connection.rollback()
            if time.monotonic() - started > self._retries.patience:
                raise UnreachableError(
                    f"{self._retries.label}: another worker has held the lock of {name!r} for "
                    f"{self._retries.patience:.0f} s; it may be frozen"
                )
            attempt += 1
            waiting.pause(attempt)

    def check(self) -> None:
        """Raise LockLost if the calling thread's lock went with its connection."""
        connection: Connection | None = getattr(self._held, "connection", None)
        if connection is None:
            return
        try:
            connection.execute(sqlalchemy.text("SELECT 1"))
        except SQLAlchemyError as error:
            raise LockLost(f"{self._retries.label}: the lock went with its connection") from error


def _release(connection: Connection) -> None:
    try:
        connection.rollback()
    except SQLAlchemyError:
        connection.invalidate()  # lost, and so the server has freed the lock
    connection.close()
