"""Makes sure that Optuna's tables exist: missing ones are created, by one process at a time."""

import sqlalchemy
from sqlalchemy.exc import DBAPIError

from hpo_job.errors import StorageError
from hpo_job.storage.locks import LockLost, lock_name
from hpo_job.storage.mysql import faults
from hpo_job.storage.mysql.connection import Connection, Cursor
from hpo_job.storage.optuna_private import SCHEMA_HEAD, create_tables
from hpo_job.storage.tables import NO_TABLES, OTHER_VERSION, NoTablesError


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
    found = connection.run(_revision)
    if found is None:
        if not create:
            raise NoTablesError(f"{connection.server.label}: {NO_TABLES}")
        _create(connection)
        found = connection.run(_revision)
    if found != SCHEMA_HEAD:
        raise StorageError(f"{connection.server.label}: {OTHER_VERSION}")


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
    """Create what is missing, on the connection that holds the lock: without it, nothing is."""

    def create(cursor: Cursor, _: int) -> None:
        engine = sqlalchemy.create_engine(
            f"{connection.server.dialect}://",
            creator=lambda: cursor.connection,
            poolclass=sqlalchemy.StaticPool,
        )
        try:
            with engine.connect() as session:
                create_tables(session)
        except DBAPIError as error:
            # The driver's own error, so that it is retried, or explained, like any other.
            raise error.orig or error from None

    while True:
        try:
            with connection.locked(lock_name(connection.server.database, "schema")):
                return connection.run(create, also_retried=faults.CREATED)
        except LockLost:
            continue
        except connection.server.driver.IntegrityError as error:
            raise faults.storage_error(error, connection.server.label) from error
