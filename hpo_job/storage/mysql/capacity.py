"""How many workers a server has connections for, as `check` shows and `run` warns."""

from dataclasses import dataclass

from hpo_job.storage.defaults import PROMPT
from hpo_job.storage.mysql.connection import Connection, Cursor
from hpo_job.storage.mysql.url import read_url


@dataclass(frozen=True)
class Capacity:
    """Connections of a server; a worker uses one at most, and gives it back when idle.

    Args:
        allowed: how many the server allows to all accounts.
        in_use: how many are open now, without the one that asked.
        for_account: how many it allows to this account; 0 is no limit of its own.
        of_account: how many this account has open now, without the one that asked.
    """

    allowed: int
    in_use: int
    for_account: int
    of_account: int

    @property
    def workers(self) -> int:
        """How many more workers can all be connected at the same time."""
        free = self.allowed - self.in_use
        if self.for_account:
            free = min(free, self.for_account - self.of_account)
        return max(0, free)


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
    cursor.execute("SELECT @@max_connections, @@max_user_connections, USER()")
    allowed, for_account, user = cursor.fetchone()
    cursor.execute("SHOW GLOBAL STATUS LIKE 'Threads_connected'")
    in_use = int(cursor.fetchone()[1]) - 1  # this one
    return Capacity(int(allowed), in_use, int(for_account), _connections_of(user, cursor) - 1)


def _connections_of(user: str, cursor: Cursor) -> int:
    """How many an account has open; each may see its own."""
    name = user.rpartition("@")[0]
    cursor.execute("SHOW PROCESSLIST")
    return sum(row[1] == name for row in cursor.fetchall())
