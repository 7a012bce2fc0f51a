"""The URL of a database: where it is given, and how it may be shown; and that of kept models."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy.engine import URL

from hpo_job.errors import StorageError

# What a query may say without giving a secret away
_SAFE_QUERY_KEYS = frozenset({"charset", "ssl_ca", "ssl_mode", "unix_socket"})


def storage_url(url: str | None, file: Path | None) -> str | None:
    """The URL of ``--storage``, or the one in ``--storage-file``."""
    if url and file:
        raise StorageError(
            "storage: given twice, as --storage (HPO_JOB_STORAGE) and as --storage-file "
            "(HPO_JOB_STORAGE_FILE); give one of them"
        )
    if file is None:
        return url
    try:
        written = file.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not a text file"
        raise StorageError(f"--storage-file {file}: {reason}") from error
    if len(written.split()) != 1:
        raise StorageError(f"--storage-file {file}: should hold one database URL, and nothing else")
    return written


def redacted_url(url: URL) -> str:
    """The URL without its password, which may stand in the query as well."""
    query = {key: value if key in _SAFE_QUERY_KEYS else "***" for key, value in url.query.items()}
    return url.set(query=query).render_as_string()


def redact(text: str, url: URL) -> str:
    """What a database or its driver says, without the URL's secrets, in one line."""
    query = [value for key, value in url.query.items() if key not in _SAFE_QUERY_KEYS]
    for secret in (url.password, *query):
        if isinstance(secret, str) and len(secret) > 3:
            text = text.replace(secret, "***")
    return " ".join(text.split())
