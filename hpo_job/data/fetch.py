"""Data that is not in the job folder: fetched from a URL once per machine, or in the image."""

from __future__ import annotations

import errno
import hashlib
import lzma
import os
import re
import shutil
import tarfile
import tempfile
import zipfile
import zlib
from pathlib import Path
from typing import IO

from filelock import FileLock

from hpo_job.errors import DataError, FetchError
from hpo_job.spec.study_toml import StudySpec

CACHE = Path(".hpo/cache")
CACHE_VARIABLE = "HPO_JOB_CACHE"
JOBS_VARIABLE = "HPO_JOB_JOBS"  # set in the image: where the job folders are whose data it holds
CHUNK = 1 << 20  # bytes
# What is unpacked; a table that is only compressed (.csv.gz) stays as it is
ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
DRIVERS = "pip install 'hpo-job[remote]'"
# What is raised for an archive that cannot be unpacked: each format has errors of its own
BROKEN = (
    shutil.ReadError,
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    ValueError,
    EOFError,
    OSError,
)
# What a second try would answer in the same way
FINAL = (FileNotFoundError, PermissionError, IsADirectoryError)
FINAL_HERE = (errno.EACCES, errno.EPERM, errno.EROFS)  # of the cache, which nobody mends meanwhile
RETRIED = (408, 429)  # HTTP's refusals that another try may change
FINAL_OF_S3 = ("NoSuchBucket", "NoCredentialsError")  # by name: its client may not be installed


def cache_folder() -> Path:
    """Where fetched data is kept: shared by all workers of a machine."""
    return Path(os.environ.get(CACHE_VARIABLE, CACHE))


def with_data(spec: StudySpec, cache: Path | None = None) -> StudySpec:
    """``spec`` with `StudySpec.place` at its data on this machine; as it is where that is no news.

    A URL is fetched into ``cache`` unless it is there, whichever worker comes first. A relative
    path that the job folder does not have is looked for in the image.

    Raises DataError for what no retry mends (no such file, another checksum, no driver),
    FetchError for what one may.
    """
    if spec.data is None:
        return spec
    if spec.data.sha256 is not None:
        try:
            place = fetch(spec.data.path, spec.data.sha256, cache or cache_folder())
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
    """The file at ``url``, or the folder that it is an archive of, under ``cache``.

    sha256: of the file, 64 hexadecimal digits; it is also what the copy goes by.
    """
    name = shown(url).rsplit("/", 1)[-1] or "data"
    folder = cache / "data" / sha256[:16]
    if not folder.exists():
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(folder.parent / f".{folder.name}.lock"):
                _fetch(url, sha256, folder, name)
        except OSError as error:
            problem = f"{shown(url)}: cannot be fetched into {cache}: {_reason(error)}"
            final = error.errno in FINAL_HERE
            raise (DataError if final else FetchError)(problem) from error
    return _root(folder) if name.lower().endswith(ARCHIVES) else folder / name


def shown(url: str) -> str:
    """The URL without what may be secret in it: a signature, or a password."""
    bare = re.split(r"[?#]", url, maxsplit=1)[0]
    return re.sub(r"://[^/@]*@", "://", bare)


def is_final(status: int) -> bool:
    """Whether an HTTP server that answers so will say the same to another try."""
    return 400 <= status < 500 and status not in RETRIED


def _fetch(url: str, sha256: str, folder: Path, name: str) -> None:
    """Download, check, unpack, and only then give it its name: no half of it is ever found."""
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=folder.parent) as temporary:
        # Another worker may have been first. Looked for after something was made beside it: a
        # shared volume may remember for a while that there was nothing
        if folder.exists():
            return
        content = Path(temporary) / "content"
        content.mkdir()
        file = Path(temporary) / name
        found = _download(url, file)
        if found != sha256:
            raise DataError(f"{shown(url)}: sha256 is {found}, but data.sha256 is {sha256}")
        if name.lower().endswith(ARCHIVES):
            _unpack(file, content, url)
        else:
            file.rename(content / name)
        try:
            content.rename(folder)
        except OSError:
            if not folder.exists():
                raise  # else somebody else's, of the same checksum


def _download(url: str, file: Path) -> str:
    """Write what is at ``url`` to ``file``; its SHA-256."""
    try:
        import fsspec

        with fsspec.open(url, "rb") as source, file.open("wb") as target:
            return _copy(source, target)
    except (ImportError, ValueError) as error:  # ValueError: a protocol that fsspec never heard of
        problem = f"{shown(url)}: {_reason(error)}; what fetches it may be missing: {DRIVERS}"
        raise DataError(problem) from error
    except FINAL as error:
        if _is_final(error):
            raise DataError(f"{shown(url)}: {_reason(error)}") from error
        problem = f"{shown(url)}: cannot be fetched: {_reason(error.__cause__ or error)}"
        raise FetchError(problem) from error
    except Exception as error:  # each driver has errors of its own: a time-out, a 503
        if type(error).__name__ in FINAL_OF_S3:
            raise DataError(f"{shown(url)}: {_reason(error)}") from error
        raise FetchError(f"{shown(url)}: cannot be fetched: {_reason(error)}") from error


def _is_final(error: OSError) -> bool:
    """Whether it is the file that is missing: fsspec's HTTP says so of its server as well."""
    cause = error.__cause__
    return cause is None or isinstance(cause, FINAL) or is_final(getattr(cause, "status", 0))


def _copy(source: IO[bytes], target: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while chunk := source.read(CHUNK):
        digest.update(chunk)
        target.write(chunk)
    return digest.hexdigest()


def _unpack(file: Path, folder: Path, url: str) -> None:
    try:
        if file.name.lower().endswith(".zip"):
            shutil.unpack_archive(file, folder)  # zipfile keeps within the folder by itself
        else:
            shutil.unpack_archive(file, folder, filter="data")
    except BROKEN as error:
        raise DataError(f"{shown(url)}: cannot be unpacked: {_reason(error)}") from error


def _root(folder: Path) -> Path:
    """Where an archive's content begins: inside of a single folder that holds it all."""
    entries = [path for path in folder.iterdir() if not path.name.startswith((".", "__MACOSX"))]
    return _root(entries[0]) if len(entries) == 1 and entries[0].is_dir() else folder


def _reason(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {shown_in(str(error))}".split())


def shown_in(text: str) -> str:
    """A driver's text, which may repeat the URL, without what may be secret in URLs."""
    return re.sub(r"\w+://\S+", lambda match: shown(match[0]), text)
