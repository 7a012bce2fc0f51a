"""Makes sure that Optuna's tables exist: missing ones are created, by one process at a time."""

from typing import Any

import sqlalchemy
from optuna.exceptions import StorageInternalError

from hpo_job.errors import StorageError
from hpo_job.storage.locks import LockLost, lock_name
from hpo_job.storage.mysql import faults
from hpo_job.storage.mysql.connection import Connection, Cursor
from hpo_job.storage.optuna_private import SCHEMA_HEAD, create_or_check_schema, create_tables
from hpo_job.storage.tables import NO_TABLES, NoTablesError


def ensure_schema(connection: Connection, *, create: bool = True) -> None:
    """Make sure that the database has the tables of the installed Optuna.

    One query where they are there; else they are created, under a server-wide lock, so that any
    number of workers may start at once on an empty database.

    Args:
        connection: to the database.
        create: whether missing tables are created; a command that only reads must not.

    Raises:
        StorageError: the tables belong to another version of Optuna, or are missing.
    """
    revision = connection.run(_revision)
    if revision == SCHEMA_HEAD:
        return
    if revision is None and not create:
        raise NoTablesError(f"{connection.server.label}: {NO_TABLES}")
    while True:
        try:
            with connection.locked(lock_name(connection.server.database, "schema")):
                if connection.run(_revision) != SCHEMA_HEAD:
                    _create(connection)
            return
        except LockLost:
            continue  # Optuna's statements can all be sent again


def _revision(cursor: Cursor, _: int) -> str | None:
    try:
        cursor.execute("SELECT version_num FROM alembic_version")
    except Exception as error:
        if faults.code_of(error) == faults.NO_SUCH_TABLE:
            return None
        raise
    row = cursor.fetchone()
    return row[0] if row else None


def _create(connection: Connection) -> None:
    server = connection.server
    arguments = server.arguments | {"autocommit": False}

    def connect() -> Any:
        return server.driver.connect(**arguments)

    def create(cursor: Cursor, _: int) -> None:
        cursor.execute("SHOW TABLES")
        try:
            if cursor.fetchall():
                create_or_check_schema(server.dialect, connect)
            else:
                url, pool = f"{server.dialect}://", sqlalchemy.NullPool
                create_tables(sqlalchemy.create_engine(url, creator=connect, poolclass=pool))
        except (sqlalchemy.exc.DBAPIError, StorageInternalError) as error:
            # The driver's own error, so that it is retried, or explained, like any other.
            wrapped = error if isinstance(error, sqlalchemy.exc.DBAPIError) else error.__cause__
            raise getattr(wrapped, "orig", None) or error from None

    try:
        connection.run(create)
    except RuntimeError as error:
        raise StorageError(
            f"{server.label}: its tables were made by another version of Optuna; where that is "
            "an older one, upgrade them with `optuna storage upgrade --storage URL`"
        ) from error
