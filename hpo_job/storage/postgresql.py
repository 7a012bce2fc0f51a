"""How many workers a PostgreSQL server has connections for."""

from __future__ import annotations

import sqlalchemy
from sqlalchemy.engine import URL

from hpo_job.storage.defaults import CONNECT_TIMEOUT, PROMPT
from hpo_job.storage.rdb_retries import Retries

# A worker keeps one connection, and has another while it holds, or waits for, the study's lock.
CONNECTIONS_PER_WORKER = 2
# Each limit less what counts against it; -1 is no limit, and LEAST leaves a NULL out. All of these
# can be read by any account, which sees no more of other accounts' connections than their number.
_FREE = sqlalchemy.text(
    "SELECT 1 + LEAST("
    " current_setting('max_connections')::int"
    " - current_setting('superuser_reserved_connections')::int"
    " - (SELECT SUM(numbackends) FROM pg_stat_database),"
    " (SELECT NULLIF(datconnlimit, -1) - numbackends FROM pg_database"
    " JOIN pg_stat_database ON pg_stat_database.datid = pg_database.oid"
    " WHERE pg_database.datname = current_database()),"
    " (SELECT NULLIF(rolconnlimit, -1) FROM pg_roles WHERE rolname = current_user)"
    " - (SELECT COUNT(*) FROM pg_stat_activity WHERE usename = current_user))"
)


def connect_args(url: URL) -> dict[str, int]:
    """Arguments of the driver's ``connect`` that every connection of ours has."""
    known = url.get_driver_name() in ("psycopg", "psycopg2")
    return {"connect_timeout": CONNECT_TIMEOUT} if known else {}


def worker_capacity(url: URL, label: str) -> int:
    """How many more workers can be connected at the same time.

    Args:
        url: of the server.
        label: the storage's name in errors, without its password.
    """
    engine = sqlalchemy.create_engine(
        url, connect_args=connect_args(url), poolclass=sqlalchemy.NullPool
    )

    def ask() -> int:
        with engine.connect() as connection:
            return int(connection.execute(_FREE).scalar_one())

    free = Retries(label, PROMPT).until_answered(ask)
    return max(0, free // CONNECTIONS_PER_WORKER)
