"""The URL of a storage: where it comes from, how it is read, and how it may be shown."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import quote

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from hpo_job.errors import StorageError, problem
from hpo_job.machine import in_hpo, read_text
from hpo_job.spec.urls import ambiguity
from hpo_job.storage.defaults import EMBEDDED

LOOPBACK = "127.0.0.1"  # where tunnels begin
BACKENDS = ("sqlite", "mysql", "mariadb", "postgresql")
# Keys of a query whose values are no secrets
_SAFE_QUERY_KEYS = frozenset({"charset", "sslmode", "ssl_ca", "ssl_mode", "unix_socket"})
_NAMES: dict[tuple[str | None, int | None], str] = {}  # by host and port; see `show_as`
# Where a server says that a login through a tunnel came from: its own pod
_SEEN_FROM = re.compile(r"@'(127\.0\.0\.1|localhost|::1)'")
_FILES: dict[str, Path] = {}  # by `canonical` URL: the file that it was read from; see `reread`
_MOUNTED = "..data"  # the link next to the files of a mounted Secret, which Kubernetes replaces
_EXPECTED = "write it like sqlite:///file.db or mysql://user:password@host/database"


def storage_url(url: str | None, file: Path | None) -> str | None:
    """The URL of ``--storage``, or the one in ``--storage-file``.

    Raises:
        StorageError: both are set, the file cannot be read, or it holds something else.
    """
    if url and file:
        raise StorageError(
            "storage: set twice, by --storage (HPO_JOB_STORAGE) and by --storage-file "
            "(HPO_JOB_STORAGE_FILE); use one of them"
        )
    if file is None:
        return url
    try:
        text = read_text(file).strip()
    except (OSError, ValueError) as error:
        raise StorageError(f"--storage-file {file}: {problem(error)}") from error
    if len(text.split()) != 1:
        raise StorageError(f"--storage-file {file}: should hold one database URL, and nothing else")
    _FILES[canonical(text)] = file
    return text


def canonical(url: str) -> str:
    """A URL as SQLAlchemy writes it: two that mean the same are equal then."""
    try:
        return make_url(url).render_as_string(hide_password=False)
    except (ArgumentError, ValueError):  # which `parse` says
        return url


def reread(url: str) -> str | None:
    """What the file that a URL came from holds now: its password may have been changed.

    Returns:
        The `canonical` URL; None for one that came from no file, or where the file cannot be read
        at the moment.
    """
    file = _FILES.get(canonical(url))
    try:
        text = storage_url(None, file)
    except StorageError:
        return None
    return None if text is None else canonical(text)


def source(url: str) -> str:
    """Where a URL is, so that it can be corrected."""
    file = _FILES.get(canonical(url))
    if file is not None:
        return str(file)
    parsed = make_url(url)
    tunnel = parsed.host == LOOPBACK and (parsed.host, parsed.port) in _NAMES
    return "the URL of its Secret" if tunnel else "the URL"


def is_mounted(url: str) -> bool:
    """Whether a URL came from the file of a mounted Secret, which Kubernetes renews."""
    file = _FILES.get(canonical(url))
    return file is not None and file.with_name(_MOUNTED).is_symlink()


def embedded_url() -> str:
    """`EMBEDDED`, in the nearest folder from here upwards that has ``.hpo``."""
    scheme, _, file = EMBEDDED.partition(":///")
    return f"{scheme}:///{in_hpo(Path(file))}"


def parse(url: str) -> URL:
    """Read a URL of one of the databases that a study can be in.

    Raises:
        StorageError: it cannot be read, or not for certain; the message shows nothing of it that
            could be part of a password.
    """
    if problem := ambiguity(url):
        raise StorageError(f"storage: {problem}")
    try:
        parsed = make_url(url)
        parsed.get_dialect()
    except (ArgumentError, NoSuchModuleError, ImportError, ValueError):
        # SQLAlchemy's own text repeats the URL, with the password.
        raise StorageError(f"storage: not a database URL; {_EXPECTED}") from None
    backend = parsed.get_backend_name()
    if backend not in BACKENDS:
        raise StorageError(f"storage: {backend} is none of sqlite, mysql and postgresql")
    if backend == "sqlite":
        _require_file(parsed)
    if not _is_text(url.partition("?")[2] if backend == "sqlite" else url):
        raise StorageError("storage: its URL holds bytes that are not UTF-8; percent-encode them")
    return parsed


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # of a byte in an argument or a variable that is no text
        return False
    return True


def _require_file(url: URL) -> None:
    if url.database in (None, "", ":memory:"):
        raise StorageError("storage: an in-memory database serves one process only; name a file")
    if str(url.database).startswith("file:"):
        raise StorageError("storage: name the file itself: sqlite:///folder/studies.db")


def is_mysql(url: URL) -> bool:
    """Whether the storage is a MySQL or MariaDB server."""
    return url.get_backend_name() in ("mysql", "mariadb")


def sqlite_path(url: URL) -> Path | None:
    """The file of a SQLite storage, None for a server."""
    return Path(str(url.database)) if url.get_backend_name() == "sqlite" else None


def printable(url: URL) -> URL:
    """``url`` with `?` in place of each byte in the name of its file that is no text."""
    return url.set(database=url.database and url.database.encode("utf-8", "replace").decode())


def show_as(url: URL, name: str) -> None:
    """Show a server by the name that the user knows.

    A tunnel to it has another address, and its URL may name files that only this process knows.
    """
    _NAMES[url.host, url.port] = name


def show_by_host(url: str) -> None:
    """Show a server by its host and database only: in a pod nobody typed the rest of its URL.

    Not a proxy next to it: what a server calls by that address may be something else.
    """
    parsed = parse(url)
    if parsed.host and parsed.host != LOOPBACK:
        show_as(parsed, f"{parsed.host}/{parsed.database}")


def known() -> tuple[dict[tuple[str | None, int | None], str], dict[str, Path]]:
    """What this process knows of URLs, for `learn` in one that it starts."""
    return _NAMES, _FILES


def learn(names: dict[tuple[str | None, int | None], str], files: dict[str, Path]) -> None:
    """Know what the process that has started this one knows: `known`."""
    _NAMES.update(names)
    _FILES.update(files)


def redacted_url(url: URL) -> str:
    """The URL as it may be shown: what may be secret, also in the query, is replaced by `***`."""
    if name := _NAMES.get((url.host, url.port)):
        return name
    query = {key: value if key in _SAFE_QUERY_KEYS else "***" for key, value in url.query.items()}
    text = printable(url).set(query=query).render_as_string().replace(quote("***"), "***")
    server, mark, options = text.partition("?")
    return server + mark + options.replace("%2F", "/")  # in the path of a certificate


def holds_secret(url: URL) -> bool:
    """Whether it has a password, or something in its query that may be one."""
    return bool(url.password) or not _SAFE_QUERY_KEYS.issuperset(url.query)


def redact(text: str, url: URL) -> str:
    """What a database or its driver says, without the URL's secrets, in one line."""
    query = [value for key, value in url.query.items() if key not in _SAFE_QUERY_KEYS]
    for secret in (url.password, *query):
        if isinstance(secret, str) and len(secret) > 3:
            for form in (secret, quote(secret, safe=""), quote(secret)):
                text = text.replace(form, "***")
    return in_users_words(" ".join(text.split()))


def in_users_words(text: str) -> str:
    """What a server or its driver says, with the user's name of a server for a tunnel's address."""
    for (host, port), name in _NAMES.items():
        if host != LOOPBACK:
            continue
        text = _SEEN_FROM.sub("", text).replace(f"Host '{host}'", "this host")
        at = f"{host}:{port}"
        for address in (f"'{at}'", at, f'"{host}", port {port}', f"'{host}'"):
            text = text.replace(address, name)
    return text
