"""Joins Optuna's tables, or has Optuna create them: one process at a time."""

import hashlib

import sqlalchemy.exc
from optuna.exceptions import StorageInternalError

from hpo_job.errors import StorageError
from hpo_job.storage.mysql import faults
from hpo_job.storage.mysql.connection import Connection, Cursor
from hpo_job.storage.mysql.optuna_private import SCHEMA_HEAD, create_or_check_schema


def ensure_schema(connection: Connection, *, create: bool = True) -> None:
    """Make sure that the database has the tables of the installed Optuna.

    One query where they are there; else Optuna creates them, under a server-wide lock, so
    that any number of workers may start at once on an empty database.

    create: whether tables that are not there are made; whoever only reads has no use for them.

    Raises:
        StorageError: the tables belong to another version of Optuna, or are not there.
    """
    found = connection.run(_revision)
    if found == SCHEMA_HEAD:
        return
    if found is None and not create:
        raise StorageError(
            f"{connection.server.shown}: has no studies yet; the first worker makes its tables"
        )
    while True:
        try:
            with connection.locked(lock_name(connection.server.database, "schema")):
                if connection.run(_revision) != SCHEMA_HEAD:
                    _let_optuna(connection)
            return
        except faults.LockLost:
            continue  # Optuna's statements can all be sent again


def lock_name(database: str, what: str) -> str:
    """A lock's name: server-wide, so the database is in it; 64 characters at most."""
    return "hpo-job:" + hashlib.sha256(f"{database}:{what}".encode()).hexdigest()[:48]


def _revision(cursor: Cursor, _: int) -> str | None:
    try:
        cursor.execute("SELECT version_num FROM alembic_version")
    except Exception as error:
        if faults.code_of(error) == faults.NO_SUCH_TABLE:
            return None
        raise
    row = cursor.fetchone()
    return row[0] if row else None


def _let_optuna(connection: Connection) -> None:
    server = connection.server
    arguments = server.arguments | {"autocommit": False}

    def create(_cursor: Cursor, _: int) -> None:
        try:
            create_or_check_schema(server.dialect, lambda: server.driver.connect(**arguments))
        except (sqlalchemy.exc.DBAPIError, StorageInternalError) as error:
            # The driver's own error, so that it is retried, or explained, like any other.
            wrapped = error if isinstance(error, sqlalchemy.exc.DBAPIError) else error.__cause__
            raise getattr(wrapped, "orig", None) or error from None

    try:
        connection.run(create)
    except RuntimeError as error:
        raise StorageError(
            f"{server.shown}: its tables were made by another version of Optuna; where that is "
            "an older one, upgrade them with `optuna storage upgrade --storage URL`"
        ) from error
