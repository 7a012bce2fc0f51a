"""Changing the passwords of accounts on a server that is in use."""

from __future__ import annotations

from hpo_job.errors import StorageError
from hpo_job.storage.mysql import faults
from hpo_job.storage.mysql.connection import Connection, Cursor
from hpo_job.storage.mysql.url import read_url


def accepts(url: str, patience: float) -> bool:
    """Whether the server accepts the user name and password of a URL.

    Raises:
        UnreachableError: it does not answer.
    """
    try:
        Connection(read_url(url), patience, lambda: None).run(
            lambda cursor, _: cursor.execute("DO 0")
        )
    except StorageError as error:
        if error.__cause__ and faults.code_of(error.__cause__) == faults.LOGIN_REFUSED:
            return False
        raise
    return True


def change_passwords(root_url: str, passwords: dict[str, str], patience: float) -> None:
    """Give accounts new passwords; on MySQL the present ones are accepted as well from now on.

    Args:
        root_url: of an account that may change others.
        passwords: the new ones, by the user's name, on all hosts.
        patience: seconds to wait for a server that is away.
    """

    def change(cursor: Cursor, _: int) -> None:
        retain = "" if _is_mariadb(cursor) else " RETAIN CURRENT PASSWORD"
        for user, password in passwords.items():
            for host in _hosts(cursor, user):
                statement = f"ALTER USER %s@%s IDENTIFIED BY %s{retain}"
                cursor.execute(statement, (user, host, password))

    Connection(read_url(root_url), patience, lambda: None).run(change)


def discard_old_passwords(root_url: str, users: list[str], patience: float) -> None:
    """Accept only the new passwords from now on."""

    def discard(cursor: Cursor, _: int) -> None:
        if _is_mariadb(cursor):
            return  # an account has one password there
        for user in users:
            for host in _hosts(cursor, user):
                cursor.execute("ALTER USER %s@%s DISCARD OLD PASSWORD", (user, host))

    Connection(read_url(root_url), patience, lambda: None).run(discard)


def _is_mariadb(cursor: Cursor) -> bool:
    cursor.execute("SELECT VERSION()")
    return "MariaDB" in str(cursor.fetchone()[0])


def _hosts(cursor: Cursor, user: str) -> list[str]:
    cursor.execute("SELECT Host FROM mysql.user WHERE User = %s", (user,))
    return [str(host) for (host,) in cursor.fetchall()]
