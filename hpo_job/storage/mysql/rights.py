"""What an account may do, found out without changing anything."""

from hpo_job.storage.defaults import PROMPT
from hpo_job.storage.mysql.connection import Connection, Cursor
from hpo_job.storage.mysql.url import read_url

# The server checks rights before it looks for rows
NO_CHANGE = "UPDATE studies SET study_name = study_name WHERE FALSE"
NEW_TABLE = "PREPARE hpo_job_check FROM 'CREATE TABLE hpo_job_check (id INT)'"


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
