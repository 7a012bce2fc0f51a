"""Plain SQL on any of the databases, past everything that is tested."""

from __future__ import annotations

import socket
from typing import Any

import sqlalchemy


def connect(url: str) -> sqlalchemy.Connection:
    """A connection of its own, in autocommit mode."""
    engine = sqlalchemy.create_engine(
        url, isolation_level="AUTOCOMMIT", poolclass=sqlalchemy.NullPool
    )
    return engine.connect()


def sql(url: str, *statements: str) -> list[Any]:
    """Run statements on a connection of their own; the last one's rows, as tuples."""
    with connect(url) as connection:
        rows: list[Any] = []
        cursor = connection.connection.cursor()  # the driver's: nothing in a statement is special
        for statement in statements:
            cursor.execute(statement)
            rows = [tuple(row) for row in cursor.fetchall()] if cursor.description else []
        return rows


def free_port() -> int:
    """A port of the loopback interface that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
