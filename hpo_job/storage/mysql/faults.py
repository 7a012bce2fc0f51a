"""The errors of MySQL and MariaDB: which are retried, and what the others mean for the user."""

import os
import re
from typing import Any

from hpo_job.errors import GoneError, StorageError, UnreachableError, one_line
from hpo_job.storage.tables import GONE
from hpo_job.storage.urls import in_users_words

# Retried: the connection is gone, and nobody knows whether the statement was executed.
LOST = frozenset(
    {
        0,  # pymysql and mysqlclient, on a connection that was closed: (0, "")
        1053,  # server shutdown in progress
        1152,  # aborted connection
        1158,  # communication packets: read error
        1159,  # ... read timeout
        1160,  # ... write error
        1161,  # ... write timeout
        1927,  # MariaDB: connection was killed
        2002,  # no connection through the socket
        2003,  # no connection to the host
        2005,  # unknown host: a headless Service's name goes away with its pod
        2006,  # server has gone away
        2013,  # lost connection during query
        2014,  # commands out of sync: an interrupted answer is still in the pipe
        2055,  # lost connection, with the system's error
        4031,  # MySQL: disconnected because of inactivity
    }
)

# Retried: the server has refused the statement for now, and did not execute it.
BUSY = frozenset(
    {
        1020,  # record has changed since last read (MariaDB's snapshot isolation)
        1040,  # too many connections
        1203,  # too many connections of this user
        1205,  # lock wait timeout
        1213,  # deadlock
        1226,  # the user's share of connections is used up
    }
)

# Retried once a connection has worked; before that they are a mistake in the URL.
SETTLED = frozenset({2026})  # TLS error

LOGIN_REFUSED = 1045
# Retried where the URL is in a file that can be read again: password or certificate were changed.
ROTATED = frozenset({LOGIN_REFUSED, 2026})

DUPLICATE = 1062
# A table that was missing, or a part of it, is there by now, or in this moment (1684): another
# process creates them too
CREATED = frozenset({1050, 1061, DUPLICATE, 1684})
NO_SUCH_TABLE = 1146
NO_SUCH_COLUMN = 1072  # of a key
NO_DEFAULT = 1364  # of a column that an INSERT leaves out
NO_DATABASE = 1044  # this account may not use it
NO_RIGHT = frozenset({NO_DATABASE, 1142})  # of this account, to the database or to a statement
# What an account, or everybody, may not do for now
READ_ONLY = frozenset({1290, 1836})
REFUSED = NO_RIGHT | READ_ONLY | {1143, 1227, 1370}
_ERRNO = re.compile(r"\((\d+)\)$")
# Not retried: somebody has to do something about it.
EXPLANATIONS = {
    1021: "the server's disk is full",
    1114: "the server's disk is full",
    1044: "this account may not use the database",
    LOGIN_REFUSED: "user name or password are wrong",
    1142: "this account may not write",
    1290: "the server is read-only",
    1836: "the server is read-only",
    1046: "there is no such database, or it was dropped",
    1049: "there is no such database, or it was dropped",
    1146: "its tables are missing, or were dropped",
}


def code_of(error: BaseException) -> int:
    """The number of a driver's error, -1 where it has none."""
    first = error.args[0] if error.args else -1
    return first if isinstance(first, int) else -1


def reason(error: BaseException) -> str:
    """What a driver says of a server that does not answer, such as an unknown host, in one line."""
    text = one_line(error.args[1]) if len(error.args) > 1 else ""
    number = _ERRNO.search(text)
    if number:  # mysqlclient gives the system's number only
        text = text.replace(number[0], f"({os.strerror(int(number[1]))})")
    return f"MySQL error {code_of(error)}" + (f": {in_users_words(text)}" if text else "")


def storage_error(error: BaseException, label: str, source: str = "the URL") -> StorageError:
    """One line for an error that is not retried.

    Args:
        error: what the driver raised; the server's text never holds the password.
        label: the storage's name, without the password.
        source: where its URL is, so that it can be corrected.
    """
    return StorageError(_line(error, label, source))


def gone(label: str) -> GoneError:
    """The error for a study or trial that is not there: it was deleted while it was in use."""
    return GoneError(f"{label}: {GONE}")


def unreachable(error: BaseException, label: str, source: str = "the URL") -> UnreachableError:
    """One line for an error that was retried in vain; see `storage_error`."""
    return UnreachableError(_line(error, label, source))


def _line(error: BaseException, label: str, source: str) -> str:
    code = code_of(error)
    detail: Any = error.args[1] if len(error.args) > 1 else error
    if code == 2013 or not detail:
        detail = "no answer"
    explanation = EXPLANATIONS.get(code)
    if code == LOGIN_REFUSED:
        explanation = f"{explanation}; correct them in {source}"
    reason = in_users_words(" ".join(str(detail).split()))
    text = f"{label}: {explanation + ': ' if explanation else ''}{reason}"
    return f"{text} (MySQL error {code})" if code >= 0 else text
