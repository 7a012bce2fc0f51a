"""What an account may do on a PostgreSQL server, tried in a transaction that is rolled back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import sqlalchemy
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError

from hpo_job.storage import rdb_faults
from hpo_job.storage.defaults import PROMPT
from hpo_job.storage.postgresql import connect_args
from hpo_job.storage.rdb_retries import Retries
from hpo_job.storage.rights import COLUMNS, CREATE, ELSEWHERE, LOCK, READ, WRITE, Rights

# The account, the schema that new tables go to (none if it may not be used), whether it has tables
_WHO = "SELECT current_user, current_schema(), to_regclass('trials') IS NOT NULL"
# The sequences of Optuna's tables from which this account may not draw. They are not tried,
# because a number that is drawn is not drawn again, whatever is rolled back.
_SEQUENCES = (
    "SELECT s.relname FROM pg_class s JOIN pg_depend d ON d.objid = s.oid JOIN pg_class t"
    " ON t.oid = d.refobjid WHERE t.relname = ANY(:tables) AND pg_table_is_visible(t.oid)"
    # in this order: has_sequence_privilege refuses what is no sequence
    " AND CASE s.relkind WHEN 'S' THEN NOT has_sequence_privilege(s.oid, 'USAGE') END"
)


def try_rights(url: URL, label: str) -> Rights:
    """Try all that a worker does, and roll it back.

    Args:
        url: of the server.
        label: the storage's name in errors, without its password.

    Raises:
        StorageError: the server does not answer.
        DBAPIError: it lets nobody in.
    """
    engine = sqlalchemy.create_engine(
        url, connect_args=connect_args(url), poolclass=sqlalchemy.NullPool
    )

    def ask() -> Rights:
        try:
            connection = engine.connect()
        except DBAPIError as error:
            if "permission denied for database" not in str(error.orig):
                raise
            return _without_database(url, rdb_faults.reason(error))
        with connection:
            return _tried(connection)

    return Retries(label, PROMPT).until_answered(ask)


def _without_database(url: URL, answer: str) -> Rights:
    """The rights of an account that may not connect to the database."""
    lacking = dict.fromkeys((READ, WRITE, CREATE), answer)
    database, user = _quoted(str(url.database)), _quoted(str(url.username))
    connect = f"GRANT CONNECT ON DATABASE {database} TO {user};"
    return Rights(lacking, False, (connect, *_grants(lacking, None, user)))


def _tried(connection: sqlalchemy.Connection) -> Rights:
    user, schema, has_tables = connection.execute(sqlalchemy.text(_WHO)).one()
    lacking: dict[str, str] = {}
    read_only = False
    for right, statement in _statements(has_tables):
        savepoint = connection.begin_nested()
        try:
            connection.execute(sqlalchemy.text(statement))
        except DBAPIError as error:
            read_only = rdb_faults.is_read_only(error)
            if not rdb_faults.is_forbidden(error) and not read_only and schema is not None:
                raise
            lacking.setdefault(right, rdb_faults.reason(error))
        savepoint.rollback()
    if has_tables:
        tables = {"tables": list(COLUMNS)}
        for name in connection.execute(sqlalchemy.text(_SEQUENCES), tables).scalars():
            lacking.setdefault(WRITE, f"permission denied for sequence {name}")
    if schema is None:
        lacking |= dict.fromkeys((READ, WRITE), "permission denied for schema public")
    if read_only:
        return Rights(lacking, has_tables, (ELSEWHERE,))
    return Rights(lacking, has_tables, tuple(_grants(lacking, schema, _quoted(user))))


def _statements(has_tables: bool) -> Iterator[tuple[str, str]]:
    """What is tried, with the right that it needs."""
    for table, column in COLUMNS.items() if has_tables else ():
        yield READ, f"SELECT {column} FROM {table} WHERE FALSE"
        yield WRITE, f"INSERT INTO {table} ({column}) SELECT 1 WHERE FALSE"
        yield WRITE, f"UPDATE {table} SET {column} = 1 WHERE FALSE"
        yield WRITE, f"DELETE FROM {table} WHERE FALSE"
    yield CREATE, "CREATE TABLE hpo_job_check (id INT)"
    yield LOCK, "SELECT pg_try_advisory_xact_lock(hashtext('hpo_job_check'))"


def _grants(lacking: Mapping[str, str], schema: str | None, user: str) -> Iterator[str]:
    """The statements that give an account these rights, on the tables that there are."""
    here = _quoted(schema or "public")
    if schema is None:
        yield f"GRANT USAGE ON SCHEMA {here} TO {user};"
    privileges = {READ: "SELECT", WRITE: "INSERT, UPDATE, DELETE"}
    wanted = ", ".join(names for right, names in privileges.items() if right in lacking)
    if wanted:
        yield f"GRANT {wanted} ON ALL TABLES IN SCHEMA {here} TO {user};"
    if WRITE in lacking:
        yield f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA {here} TO {user};"
    if CREATE in lacking:
        yield f"GRANT CREATE ON SCHEMA {here} TO {user};"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
