"""What a `mysql` URL says: driver, server, database and TLS."""

import ssl
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError

from hpo_job.errors import StorageError
from hpo_job.storage import timeouts, urls
from hpo_job.storage.defaults import CONNECT_TIMEOUT

TLS_MODES = ("DISABLED", "PREFERRED", "REQUIRED", "VERIFY_CA", "VERIFY_IDENTITY")
LOCAL_HOSTS = ("", "localhost", "::1")


@dataclass(frozen=True)
class Server:
    """How to reach one database.

    Args:
        driver: the DB-API module.
        dialect: SQLAlchemy's name of the database and its driver.
        arguments: of the driver's ``connect``; they hold the password.
        label: the storage's name in messages, without the password.
        database: its name on the server.
        url: what it was read from.
    """

    driver: ModuleType
    dialect: str
    arguments: dict[str, Any] = field(repr=False)  # holds the password
    label: str
    database: str
    url: str = field(repr=False)  # holds the password


def read_url(url: str, *, brief: bool = False) -> Server:
    """Read a `mysql+mysqldb://` or `mysql+pymysql://` URL.

    Args:
        url: the URL.
        brief: whether connections last for one command, so that the server's own limit of the time
            without a statement is good enough: one round trip less.

    Raises:
        StorageError: the URL cannot be read, or its driver is not installed.
    """
    parsed = urls.parse(url)
    try:
        dialect: Any = parsed.get_dialect()
        driver = dialect.import_dbapi()
    except (ImportError, ArgumentError) as error:
        package = "pymysql" if "+pymysql" in url else "'hpo-job[mysql]'"
        raise StorageError(
            f"{redacted_url(url)}: its driver is not installed ({error}): pip install {package}"
        ) from error
    _, arguments = dialect(dbapi=driver).create_connect_args(_without_tls_mode(parsed))
    arguments |= _tls(parsed)
    arguments.setdefault("charset", "utf8mb4")
    arguments.setdefault("connect_timeout", CONNECT_TIMEOUT)
    arguments.setdefault("read_timeout", timeouts.ANSWER_TIMEOUT)
    arguments.setdefault("write_timeout", timeouts.ANSWER_TIMEOUT)
    if not brief:
        arguments.setdefault(
            "init_command", f"SET SESSION wait_timeout = {timeouts.FROZEN_TIMEOUT}"
        )
    arguments["autocommit"] = True
    return Server(
        driver,
        parsed.drivername,
        arguments,
        f"storage {redacted_url(url)}",
        parsed.database or "",
        url,
    )


def redacted_url(url: str) -> str:
    """The URL as it may be shown: what may be secret is replaced by `***`."""
    return urls.redacted_url(urls.parse(url))


def plain_text_warning(url: str) -> str | None:
    """One line where the URL leads to another host without TLS, else None."""
    parsed = urls.parse(url)
    host = parsed.host or ""
    if host in LOCAL_HOSTS or host.startswith("127.") or "unix_socket" in parsed.query:
        return None
    mode = _tls_mode(parsed)
    if mode in TLS_MODES[2:] or (mode is None and "ssl_ca" in parsed.query):
        return None
    return (
        f"{redacted_url(url)}: password and results travel to {host} as plain text; "
        "add ?ssl_mode=VERIFY_CA&ssl_ca=FILE to the URL"
    )


def _tls_mode(parsed: URL) -> str | None:
    mode = parsed.query.get("ssl_mode")
    if mode is None:
        return None
    if mode not in TLS_MODES:
        raise StorageError(f"ssl_mode={mode} in the URL: one of {', '.join(TLS_MODES)} is expected")
    return str(mode)


def _without_tls_mode(parsed: URL) -> URL:
    if parsed.get_driver_name() == "pymysql" and _tls_mode(parsed):
        return parsed.difference_update_query(["ssl_mode", "ssl_ca"])
    return parsed


def _tls(parsed: URL) -> dict[str, Any]:
    """Pymysql knows no ssl_mode: build what the mode means."""
    mode = _tls_mode(parsed)
    ca = parsed.query.get("ssl_ca")
    if mode in ("VERIFY_CA", "VERIFY_IDENTITY") and not ca:
        raise StorageError(f"ssl_mode={mode} in the URL needs ssl_ca=FILE as well")
    if parsed.get_driver_name() != "pymysql" or mode is None or mode == "PREFERRED":
        return {}
    if mode == "DISABLED":
        return {"ssl_disabled": True}
    try:
        context = ssl.create_default_context(cafile=str(ca) if ca else None)
    except OSError as error:
        raise StorageError(f"ssl_ca={ca}: cannot be read: {error}") from error
    context.check_hostname = mode == "VERIFY_IDENTITY"
    if mode == "REQUIRED":
        context.verify_mode = ssl.CERT_NONE
    return {"ssl": context}
