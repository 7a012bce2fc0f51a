"""How many workers a server has connections for, as `check` shows and `run` warns."""

from dataclasses import dataclass

from hpo_job.storage.defaults import PROMPT
from hpo_job.storage.mysql.connection import Connection, Cursor
from hpo_job.storage.mysql.url import read_url


@dataclass(frozen=True)
class Capacity:
    """Connections of a server; a worker uses one at most, and gives it back when idle.

    Args:
        allowed: how many the server allows to this account.
        in_use: how many are open now, without the one that asked.
    """

    allowed: int
    in_use: int

    @property
    def workers(self) -> int:
        """How many more workers can all be connected at the same time."""
        return max(0, self.allowed - self.in_use)


def capacity(url: str, patience: float = PROMPT) -> Capacity:
    """Ask the server how many connections it allows, and how many are open.

    Args:
        url: the storage's URL.
        patience: seconds to wait for a server that is away or busy.

    Raises:
        StorageError: the server does not answer, or refuses.
    """
    connection = Connection(read_url(url), patience, lambda: None)
    try:
        return connection.run(_read)
    finally:
        connection.drop()


def _read(cursor: Cursor, _: int) -> Capacity:
    cursor.execute("SELECT @@max_connections, @@max_user_connections")
    allowed, for_this_user = cursor.fetchone()
    cursor.execute("SHOW GLOBAL STATUS LIKE 'Threads_connected'")
    connected = int(cursor.fetchone()[1]) - 1  # this one
    if for_this_user:
        allowed = min(allowed, for_this_user)
    return Capacity(allowed=int(allowed), in_use=connected)
