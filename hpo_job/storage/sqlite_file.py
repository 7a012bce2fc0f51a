"""A SQLite file that holds studies: made, opened for writing or for reading only, and watched.

Who only looks needs no right to write, neither to the file nor to its folder. SQLite itself wants
to write for that: in WAL mode, readers keep notes in a file next to the database. Where that is
not possible, the file is read as it stands, together with what is still in its log.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from pathlib import Path
from urllib.parse import quote

from filelock import FileLock

from hpo_job.errors import StorageError, problem
from hpo_job.storage.locks import held
from hpo_job.storage.rights import CREATE, LOCK, WRITE, Rights
from hpo_job.storage.timeouts import BUSY_TIMEOUT

NO_DATABASE = "is not a database; name another file"


class SQLiteFile:
    """The file of an embedded storage.

    Args:
        path: of the file.
        create: whether a missing file is made; its folder too.
        read_only: whether nothing will be written, so that no right to write is needed.

    Raises:
        StorageError: there is no such file, it is not a database, or it may not be read.
    """

    def __init__(self, path: Path, *, create: bool, read_only: bool) -> None:
        self.path = path
        self._read_only = read_only and not _may_write(path)
        self._copy: tempfile.TemporaryDirectory[str] | None = None
        self._copied_state: tuple[object, object] | None = None
        if not path.exists() and not (create and not read_only):
            raise StorageError(
                f"storage {path}: no such file; create a study first, or see --storage"
            )
        if path.exists() and not _is_sqlite(path):
            raise StorageError(f"storage {path}: {NO_DATABASE}")
        if not read_only:
            try:
                self._prepare()
            except PermissionError as error:
                raise StorageError(
                    f"storage {path}: this account may not write to the file or its folder; a "
                    "worker has to write to both"
                ) from error
        self._identity = _identity(path)

    def connect(self) -> sqlite3.Connection:
        """A connection that may be used by any thread, one at a time.

        Connections for reading only should be used once: how the file can be read changes with
        what others do to it.
        """
        self.check()
        # mode=rw: a file that was deleted must not be made anew
        uri = self._readable() if self._read_only else _uri(self.path, "mode=rw")
        return sqlite3.connect(uri, uri=True, timeout=BUSY_TIMEOUT, check_same_thread=False)

    def check(self) -> None:
        """Make sure that the file is still the one that was opened.

        SQLite does not notice that a file was deleted: it goes on writing to what has no name
        any more.

        Raises:
            StorageError: it was deleted, or another stands in its place.
        """
        if _identity(self.path) != self._identity:
            raise StorageError(
                f"storage {self.path}: the file was deleted or replaced while it was in use; what "
                "was written since is lost"
            )

    def close(self) -> None:
        """Remove what was made for reading."""
        if self._copy is not None:
            self._copy.cleanup()
            self._copy = self._copied_state = None

    def _prepare(self) -> None:
        """Make the file where it is missing, in WAL mode: readers then never wait for a writer."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with held(self.path):
            connection = sqlite3.connect(self.path, timeout=BUSY_TIMEOUT)
            try:
                connection.execute("PRAGMA journal_mode = WAL")
            finally:
                connection.close()

    def _readable(self) -> str:
        """The URI by which the file can be read, with the rights that this account has."""
        uri = _uri(self.path, "mode=ro")
        if _answers(uri):
            return uri
        # WAL mode, and no right to keep notes in the folder. Without a log nobody writes.
        log = Path(f"{self.path}-wal")
        if not log.exists() or not log.stat().st_size:
            return _uri(self.path, "immutable=1")
        return _uri(self._copied(log), "mode=rw")

    def _copied(self, log: Path) -> Path:
        """A copy of the file and the log that a process left when it was killed."""
        if self._copy is None:
            self._copy = tempfile.TemporaryDirectory(prefix="hpo-job-")
        copy = Path(self._copy.name, self.path.name)
        while self._copied_state != (state := (_state(self.path), _state(log))):
            for leftover in Path(self._copy.name).iterdir():
                leftover.unlink()
            shutil.copyfile(self.path, copy)
            shutil.copyfile(log, f"{copy}-wal")
            self._copied_state = state  # once more, if it changed meanwhile
        return copy


def try_rights(path: Path) -> Rights:
    """Try what a worker does with a file, and the folder that it is in, without changing them.

    Raises:
        StorageError: the file may not be read, or is not a database.
    """
    if path.exists() and not _is_sqlite(path):
        raise StorageError(f"storage {path}: {NO_DATABASE}")
    # a folder that is missing is made by the first worker, below the first one that is there
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    answer = None
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".hpo-job-check-") as probe:
            with FileLock(probe.name, timeout=0):
                pass
            if path.exists():
                answer = _refused_write(path)
    except OSError as error:
        answer = f"{folder}: {problem(error)}"
    if answer is None:
        return Rights({}, path.exists())
    remedy = f"let it write to the folder {folder}, and to {path.name} and what is next to it"
    return Rights(dict.fromkeys((WRITE, CREATE, LOCK), answer), False, (remedy,))


def _refused_write(path: Path) -> str | None:
    """Why this account may not write to a file; None where nothing is refused."""
    if not _may_write(path):  # trying it would leave files next to it, just as read-only
        return f"{path.name} is read-only for it"
    connection = sqlite3.connect(_uri(path, "mode=rw"), uri=True, timeout=BUSY_TIMEOUT)
    try:
        connection.execute("BEGIN IMMEDIATE")  # which a file that is read-only allows
        connection.execute("PRAGMA user_version = 1")
        connection.rollback()
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN):
            raise
        return str(error)
    finally:
        connection.close()
    return None


def _uri(path: Path, options: str) -> str:
    return f"file:{quote(os.fsencode(path.absolute()))}?{options}"


def _answers(uri: str) -> bool:
    try:
        connection = sqlite3.connect(uri, uri=True, timeout=BUSY_TIMEOUT)
    except sqlite3.OperationalError:
        return False
    try:
        connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY):
            return False
        raise
    finally:
        connection.close()
    return True


def _may_write(path: Path) -> bool:
    # whoever writes to a database makes files next to it
    return os.access(path, os.W_OK) and os.access(path.absolute().parent, os.W_OK)


def _state(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _is_sqlite(path: Path) -> bool:
    if not path.is_file():
        return False
    if not os.access(path, os.R_OK):
        raise StorageError(f"storage {path}: may not be read by this account")
    # By SQLite itself: closing a file of ours would release the locks that this process has on
    # it (POSIX), and the last worker to end would delete a log that is still used
    connection = sqlite3.connect(_uri(path, "mode=ro&immutable=1"), uri=True)
    try:
        connection.execute("PRAGMA schema_version")
    except sqlite3.DatabaseError as error:
        return error.sqlite_errorcode != sqlite3.SQLITE_NOTADB
    finally:
        connection.close()
    return True
