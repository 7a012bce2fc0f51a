"""What an account may do, found out without changing anything."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from sqlalchemy.engine import make_url

from hpo_job.errors import StorageError
from hpo_job.storage.defaults import PROMPT
from hpo_job.storage.mysql import faults
from hpo_job.storage.mysql.connection import Connection, Cursor
from hpo_job.storage.mysql.url import read_url
from hpo_job.storage.rights import COLUMNS, CREATE, ELSEWHERE, LOCK, READ, WRITE, Rights

# The server checks rights before it looks for rows
NO_CHANGE = "UPDATE studies SET study_name = study_name WHERE FALSE"
NEW_TABLE = "PREPARE hpo_job_check FROM 'CREATE TABLE hpo_job_check (id INT)'"
# These can never succeed, because there is no such column; what is refused is refused before that
NEW_INDEX = "CREATE INDEX hpo_job_check ON trials (hpo_job_no_such_column)"
NEW_REFERENCE = (
    "CREATE TABLE hpo_job_check (id INT,"
    " FOREIGN KEY (hpo_job_no_such_column) REFERENCES studies (study_id))"
)
LOCKING = "SELECT GET_LOCK('hpo_job_check', 0) + RELEASE_LOCK('hpo_job_check')"
PRIVILEGES: Mapping[str, tuple[str, ...]] = {
    READ: ("SELECT",),
    WRITE: ("INSERT", "UPDATE", "DELETE"),
    CREATE: ("CREATE", "INDEX", "REFERENCES"),
}


def require_can_write(connection: Connection) -> None:
    """Check that an account may write into Optuna's tables.

    Raises:
        StorageError: it may not.
    """

    def update(cursor: Cursor, _: int) -> None:
        cursor.execute(NO_CHANGE)

    connection.run(update)


def require_can_create(url: str, patience: float = PROMPT) -> None:
    """Check that an account may create tables.

    Args:
        url: the storage's URL.
        patience: seconds to wait for a server that is away or busy.

    Raises:
        StorageError: it may not, or the server does not answer.
    """

    def prepare(cursor: Cursor, _: int) -> None:
        cursor.execute(NEW_TABLE)

    connection = Connection(read_url(url), patience, lambda: None)
    try:
        connection.run(prepare)
    finally:
        connection.drop()


def try_rights(url: str, patience: float = PROMPT) -> Rights:
    """Try all that a worker does, with statements that change nothing.

    Args:
        url: the storage's URL.
        patience: seconds to wait for a server that is away or busy.

    Raises:
        StorageError: the server does not answer, or lets nobody in.
    """
    connection = Connection(read_url(url), patience, lambda: None)
    try:
        return connection.run(_try)
    except StorageError as error:
        if error.__cause__ is None or faults.code_of(error.__cause__) != faults.NO_DATABASE:
            raise
        return _without_database(url, patience, str(error.__cause__.args[1]))
    finally:
        connection.drop()


def _without_database(url: str, patience: float, answer: str) -> Rights:
    """The rights of an account that may not use the database at all."""
    parsed = make_url(url)
    # every account may read what is in there for itself
    elsewhere = parsed.set(database="information_schema").render_as_string(hide_password=False)
    connection = Connection(read_url(elsewhere), patience, lambda: None)

    def ask(cursor: Cursor, _: int) -> str:
        cursor.execute("SELECT CURRENT_USER()")
        return str(cursor.fetchone()[0])

    try:
        account = connection.run(ask)
    finally:
        connection.drop()
    everything = [privilege for names in PRIVILEGES.values() for privilege in names]
    lacking = dict.fromkeys(PRIVILEGES, answer)
    name = _escaped(parsed.database or "")
    return Rights(lacking, False, (_grant(everything, name, account),))


def _try(cursor: Cursor, _: int) -> Rights:
    answers: dict[str, str] = {}
    has_tables, read_only = True, False
    for privilege, statement in _statements():
        try:
            cursor.execute(statement)
            cursor.fetchall()
        except Exception as error:
            code = faults.code_of(error)
            if code in faults.REFUSED:
                read_only = code in faults.READ_ONLY
                answers.setdefault(privilege, " ".join(str(error.args[1]).split()))
            elif code == faults.NO_SUCH_TABLE:
                has_tables = False
            elif code not in (faults.NO_SUCH_COLUMN, faults.NO_DEFAULT):
                raise
    account, database = _who(cursor)
    lacking = {
        right: "; ".join(answers[name] for name in names if name in answers)
        for right, names in (*PRIVILEGES.items(), (LOCK, (LOCK,)))
        if answers.keys() & names
    }
    wanted = [name for names in PRIVILEGES.values() for name in names if name in answers]
    remedy = ELSEWHERE if read_only else _grant(wanted, database, account)
    return Rights(lacking, has_tables, (remedy,) if wanted else ())


def _who(cursor: Cursor) -> tuple[str, str]:
    """The account, and the name of the database as its earlier grants have it.

    In a grant, `_` and `%` are wildcards unless they are escaped. A grant for the other form would
    hide the earlier ones, since the server reads only the grant that fits best.
    """
    cursor.execute("SELECT CURRENT_USER(), DATABASE()")
    account, database = cursor.fetchone()
    cursor.execute("SHOW GRANTS")
    grants = " ".join(str(row[0]) for row in cursor.fetchall())
    plain = database.replace("`", "``")
    return account, plain if f"ON `{plain}`.*" in grants else _escaped(database)


def _escaped(database: str) -> str:
    return database.replace("`", "``").replace("_", r"\_").replace("%", r"\%")


def _statements() -> Iterator[tuple[str, str]]:
    """What is tried, with the privilege that it needs."""
    for table, column in COLUMNS.items():
        yield "SELECT", f"SELECT {column} FROM {table} WHERE FALSE"
        yield "INSERT", f"INSERT INTO {table} ({column}) SELECT 1 FROM DUAL WHERE FALSE"
        yield "UPDATE", f"UPDATE {table} SET {column} = 1 WHERE FALSE"
        yield "DELETE", f"DELETE FROM {table} WHERE FALSE"
    yield "CREATE", NEW_TABLE
    yield "INDEX", NEW_INDEX
    yield "REFERENCES", NEW_REFERENCE
    yield LOCK, LOCKING


def _grant(privileges: list[str], database: str, account: str) -> str:
    """The statement that gives an account these privileges.

    Args:
        privileges: their names.
        database: the name of the database, escaped.
        account: ``user@host``, as CURRENT_USER() answers.
    """
    user, _, host = account.rpartition("@")
    quoted = "@".join("'" + part.replace("'", "''") + "'" for part in (user, host))
    return f"GRANT {', '.join(privileges)} ON `{database}`.* TO {quoted};"
