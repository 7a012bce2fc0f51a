"""How many workers a server carries, as `check` shows and `run` warns."""

from dataclasses import dataclass

from hpo_job.storage.defaults import PROMPT
from hpo_job.storage.mysql.connection import Connection, Cursor
from hpo_job.storage.mysql.url import read_url


@dataclass(frozen=True)
class Capacity:
    """Connections of a server: each worker uses one at most, and gives it back when idle."""

    allowed: int
    in_use: int

    @property
    def workers(self) -> int:
        """How many more workers can all be connected at the same time."""
        return max(0, self.allowed - self.in_use)


def capacity(url: str, patience: float = PROMPT) -> Capacity:
    """Ask the server how many connections it allows, and how many others hold.

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
    allowed, of_user = cursor.fetchone()
    cursor.execute("SHOW GLOBAL STATUS LIKE 'Threads_connected'")
    connected = int(cursor.fetchone()[1]) - 1  # this one
    if of_user:
        allowed = min(allowed, of_user)
    return Capacity(allowed=int(allowed), in_use=connected)
