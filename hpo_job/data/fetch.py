"""Data that is not in the job folder: fetched from a URL once per machine, or in the image."""

from __future__ import annotations

import errno
import hashlib
import lzma
import os
import re
import shutil
import zipfile
import zlib
from pathlib import Path
from typing import IO

from hpo_job.data.once import make_once
from hpo_job.errors import DataError, FetchError
from hpo_job.machine import CACHE
from hpo_job.spec.study_toml import StudySpec

JOBS_VARIABLE = "HPO_JOB_JOBS"  # set in the image: where the job folders are whose data it holds
CHUNK = 1 << 20  # bytes
# Suffixes of what is unpacked; a table that is only compressed (.csv.gz) stays as it is
ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
DRIVERS = "pip install 'hpo-job[remote]'"
# What is raised for an archive that cannot be unpacked: each format has its own errors
BROKEN = (
    shutil.ReadError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    ValueError,
    EOFError,
    OSError,
)
# Errors that a second try would meet again: of the source, and of writing to the cache
FINAL = (FileNotFoundError, PermissionError, IsADirectoryError)
FINAL_HERE = (errno.EACCES, errno.EPERM, errno.EROFS)
RETRIED = (408, 429)  # HTTP's refusals that another try may change
FINAL_OF_S3 = ("NoSuchBucket", "NoCredentialsError")  # by name: its client may not be installed


def with_data(spec: StudySpec, cache: Path = CACHE) -> StudySpec:
    """``spec`` with `StudySpec.place` set to where its data is on this machine.

    A URL is fetched into ``cache`` by the first worker. A relative path that the job folder does
    not have is looked for in the image. In all other cases the spec is returned unchanged.

    Raises:
        DataError: what no retry can change: no such file, another checksum, no driver.
        FetchError: what a later try may get.
    """
    if spec.data is None:
        return spec
    if spec.data.sha256 is not None:
        try:
            place = fetch(spec.data.path, spec.data.sha256, cache)
        except (DataError, FetchError) as error:
            raise type(error)(f"{spec.file}: data.path: {error}") from error
        return spec.model_copy(update={"place": place})
    jobs = os.environ.get(JOBS_VARIABLE)
    if jobs and not (spec.folder / spec.data.path).exists():
        baked = Path(jobs) / spec.name / spec.data.path
        if baked.exists():
            return spec.model_copy(update={"place": baked})
    return spec


def fetch(url: str, sha256: str, cache: Path) -> Path:
    """The file at ``url``, or the folder it was unpacked to, under ``cache``.

    Args:
        url: anything fsspec opens: https://, s3://, gs://, file://.
        sha256: checksum of the file, 64 hexadecimal digits; it also names the copy.
        cache: the folder to keep it in.

    Raises:
        DataError, FetchError: As `with_data`.
    """
    name = redacted(url).rsplit("/", 1)[-1] or "data"
    folder = cache / "data" / sha256[:16]
    try:
        make_once(
            folder,
            lambda: folder if folder.exists() else None,
            lambda target: _fetch(url, sha256, target, name),
        )
    except OSError as error:
        problem = f"{redacted(url)}: cannot be fetched into {cache}: {_reason(error)}"
        final = error.errno in FINAL_HERE
        raise (DataError if final else FetchError)(problem) from error
    return _root(folder) if name.lower().endswith(ARCHIVES) else folder / name


def redacted(url: str) -> str:
    """The URL without its secrets: a password, or a signature in its query."""
    bare = re.split(r"[?#]", url, maxsplit=1)[0]
    return re.sub(r"://[^/@]*@", "://", bare)


def is_final(status: int) -> bool:
    """Whether an HTTP server that answers with this status will answer the same next time."""
    return 400 <= status < 500 and status not in RETRIED


def _fetch(url: str, sha256: str, folder: Path, name: str) -> None:
    """Download, check and unpack into a new ``folder``."""
    file = folder.with_name(name + ".download")
    digest = _download(url, file)
    if digest != sha256:
        raise DataError(f"{redacted(url)}: sha256 is {digest}, but data.sha256 is {sha256}")
    folder.mkdir()
    if name.lower().endswith(ARCHIVES):
        _unpack(file, folder, url, name)
    else:
        file.rename(folder / name)


def _download(url: str, file: Path) -> str:
    """Write what is at ``url`` to ``file``, and return its SHA-256."""
    try:
        import fsspec

        with fsspec.open(url, "rb") as source, file.open("wb") as target:
            return _copy(source, target)
    except (ImportError, ValueError) as error:  # ValueError: a protocol that fsspec does not know
        problem = f"{redacted(url)}: {_reason(error)}; if its driver is missing: {DRIVERS}"
        raise DataError(problem) from error
    except FINAL as error:
        if _is_final(error):
            raise DataError(f"{redacted(url)}: {_reason(error)}") from error
        problem = f"{redacted(url)}: cannot be fetched: {_reason(error.__cause__ or error)}"
        raise FetchError(problem) from error
    except Exception as error:  # each driver has its own errors: a time-out, a 503
        if type(error).__name__ in FINAL_OF_S3:
            raise DataError(f"{redacted(url)}: {_reason(error)}") from error
        raise FetchError(f"{redacted(url)}: cannot be fetched: {_reason(error)}") from error


def _is_final(error: OSError) -> bool:
    """Whether the file is missing; fsspec's HTTP raises the same where the server fails."""
    cause = error.__cause__
    return cause is None or isinstance(cause, FINAL) or is_final(getattr(cause, "status", 0))


def _copy(source: IO[bytes], target: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while chunk := source.read(CHUNK):
        digest.update(chunk)
        target.write(chunk)
    return digest.hexdigest()


def _unpack(file: Path, folder: Path, url: str, name: str) -> None:
    import tarfile  # few studies have an archive

    try:
        if name.lower().endswith(".zip"):
            shutil.unpack_archive(file, folder, "zip")  # zipfile keeps within the folder by itself
        else:
            with tarfile.open(file) as archive:
                archive.extractall(folder, filter="data")
    except (*BROKEN, tarfile.TarError) as error:
        raise DataError(f"{redacted(url)}: cannot be unpacked: {_reason(error)}") from error


def _root(folder: Path) -> Path:
    """Where an archive's content begins: inside of a single folder that holds it all."""
    entries = [path for path in folder.iterdir() if not path.name.startswith((".", "__MACOSX"))]
    return _root(entries[0]) if len(entries) == 1 and entries[0].is_dir() else folder


def _reason(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {_redacted_text(str(error))}".split())


def _redacted_text(text: str) -> str:
    """A driver's message, which may repeat the URL, without the secrets of its URLs."""
    return re.sub(r"\w+://\S+", lambda match: redacted(match[0]), text)
