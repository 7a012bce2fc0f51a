"""The errors of SQLite and PostgreSQL: which are retried, and what the others mean for the user.

Those of MySQL are in `mysql.faults`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import DBAPIError

# PostgreSQL's SQLSTATEs that pass by themselves
LOST = frozenset(
    {
        "08000",  # connection exception
        "08001",  # the client could not connect
        "08003",  # connection does not exist
        "08004",  # the server rejected the connection
        "08006",  # connection failure
        "25P03",  # the server ended an idle transaction
        "57P01",  # the server shuts down, or an administrator ended the connection
        "57P02",  # the server crashed, and restarts
        "57P03",  # the server is starting up
        "57P05",  # the server ended an idle connection
    }
)
BUSY = frozenset(
    {
        "40001",  # serialization failure
        "40P01",  # deadlock
        "53300",  # too many connections
        "55P03",  # a lock was not available
    }
)
# A table that was missing, or a type of it, is there by now: another process creates them too
CREATED = frozenset({"23505", "42710", "42P07"})
# SQLite: another process writes, has the table locked, or recovers the log
SQLITE_BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL})
# What PostgreSQL says, without a SQLSTATE, to a client that it does not let in now
NOT_NOW = (
    "the database system is in recovery mode",
    "the database system is not yet accepting connections",
    "the database system is shutting down",
    "the database system is starting up",
    "canceling authentication due to timeout",
    "remaining connection slots",
    "terminating connection",
    "too many clients",
    "too many connections for",
)

LOGIN_REFUSED = ("28000", "28P01")
# The same, to a client that has no connection yet and so no SQLSTATE
NOBODY = ("password authentication failed", "no password supplied")

EXPLANATIONS: dict[str | int, str] = {
    "25006": "the server is read-only",
    "3D000": "there is no such database, or it was dropped",
    "3F000": "this account may use no schema of the database",
    "42501": "this account may not do that",
    "42P01": "its tables are missing, or were dropped",
    "53100": "the server's disk is full",
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_READONLY: "this account may not write to the file or its folder",
    sqlite3.SQLITE_CANTOPEN: "the file, or one next to it, cannot be opened by this account",
}


def driver_error(error: BaseException) -> BaseException:
    """What the driver raised, under what Optuna and SQLAlchemy made of it."""
    while isinstance(error, StorageInternalError) and error.__cause__ is not None:
        error = error.__cause__
    return getattr(error, "orig", None) or error


def is_transient(error: BaseException, ever_connected: bool) -> bool:
    """Whether sending a statement again may help.

    Args:
        error: what the storage raised.
        ever_connected: whether this process has reached the server before. If not, a refused
            login is a mistake in the URL.
    """
    cause = driver_error(error)
    if isinstance(cause, sqlite3.OperationalError):
        return _sqlite_code(cause) in SQLITE_BUSY
    state = _state(cause)
    if state:
        return state in LOST | BUSY
    outer = error.__cause__ if isinstance(error, StorageInternalError) else error
    if not isinstance(outer, DBAPIError):
        return False
    text = str(cause)
    if "FATAL" in text:  # the server answered, but let nobody in
        return any(words in text for words in NOT_NOW)
    if outer.connection_invalidated:
        return True
    # No answer: connection refused, unknown host, timeout
    return type(cause).__name__ in ("OperationalError", "ConnectionTimeout") and (
        ever_connected or "connect" in text.lower() or "resolve" in text.lower()
    )


def reason(
    error: BaseException,
    source: str = "the URL",
    redact: Callable[[str], str] = lambda text: text,
) -> str:
    """What went wrong, in one line; it may hold what was stored, but never the URL's password.

    Args:
        error: what the storage raised.
        source: where its URL is, so that it can be corrected.
        redact: takes the URL's secrets out of what the server said.
    """
    cause = driver_error(error)
    code = _sqlite_code(cause) if isinstance(cause, sqlite3.Error) else _state(cause)
    primary = getattr(getattr(cause, "diag", None), "message_primary", None)
    text = " ".join(str(primary or cause).split())
    explanation = EXPLANATIONS.get(code) if code else None
    if explanation is None and text.startswith("no such table"):
        explanation = EXPLANATIONS["42P01"]
    if explanation is None and 'database "' in text and text.endswith("does not exist"):
        explanation = EXPLANATIONS["3D000"]
    if code in LOGIN_REFUSED or any(words in text for words in NOBODY):
        explanation = f"user name or password are wrong; correct them in {source}"
    said = redact(text)
    return f"{explanation}: {said}" if explanation else said


def is_without_tables(error: BaseException) -> bool:
    """Whether the database has none of Optuna's tables."""
    cause = driver_error(error)
    return _state(cause) == "42P01" or str(cause).startswith("no such table")


def is_forbidden(error: BaseException) -> bool:
    """Whether the account has no right to what the statement does."""
    cause = driver_error(error)
    return _state(cause) == "42501" or (
        isinstance(cause, sqlite3.Error) and _sqlite_code(cause) == sqlite3.SQLITE_READONLY
    )


def is_read_only(error: BaseException) -> bool:
    """Whether the server takes no changes from anybody, as a PostgreSQL standby."""
    return state_of(error) == "25006"


def state_of(error: BaseException) -> str | None:
    """PostgreSQL's SQLSTATE, under what Optuna and SQLAlchemy made of it."""
    return _state(driver_error(error))


def _state(error: BaseException) -> str | None:
    return getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)


def _sqlite_code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF
