"""Downloads of pre-trained weights, and the folders where a machine may have them already."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import urllib.error
import urllib.request
from http.client import HTTPException
from pathlib import Path
from ssl import SSLError
from urllib.parse import urlparse

from hpo_job.data.fetch import is_final
from hpo_job.errors import FetchError, HpoJobError, SpecError

BAKED_VARIABLE = "HPO_JOB_BAKED_WEIGHTS"  # set in the container image: the folder of its weights

LANGUAGE_MODEL = "wt103-fwd"  # of texts: see `hpo_job.objectives.text.weights`, which needs fastai

BROKEN_OFF = (urllib.error.URLError, HTTPException, SSLError, TimeoutError, ConnectionError)

NO_ROUTE = (errno.ENETDOWN, errno.ENETUNREACH, errno.EHOSTUNREACH)

TIMEOUT = 15  # seconds without an answer after which a download is abandoned


def places(folder: Path) -> list[Path]:
    """The folders to look for weights in: ``folder``, then that of the container image."""
    baked = os.environ.get(BAKED_VARIABLE)
    return [folder, Path(baked)] if baked else [folder]


def download(url: str, target: Path) -> Path:
    """Write what is at ``url`` to ``target``, and return it; see `make_once` for a whole file.

    Raises:
        OSError, HTTPException: It cannot be downloaded, or arrives cut short or damaged.
    """
    request = urllib.request.Request(url, headers={"User-Agent": "hpo-job"})
    with target.open("wb") as file, urllib.request.urlopen(request, timeout=TIMEOUT) as response:
        shutil.copyfileobj(response, file)
        expected = response.headers.get("Content-Length")
    _verify(target, url, expected)
    return target


def failed(error: Exception, text: str) -> HpoJobError:
    """The error for a failed download: a FetchError where a later try may succeed."""
    if isinstance(error, urllib.error.HTTPError):
        later = not is_final(error.code)
    else:  # urllib does not wrap errors raised while the body is read
        later = isinstance(error, BROKEN_OFF) or getattr(error, "errno", None) in NO_ROUTE
    return (FetchError if later else SpecError)(text)


def _verify(file: Path, url: str, expected: str | None) -> None:
    """Raise OSError where a download is cut short, or its digest differs from that in its name."""
    size = file.stat().st_size
    if expected is not None and size != int(expected):
        raise ConnectionError(f"{size} of {expected} bytes arrived")
    digest = re.search(r"-([0-9a-f]{8,})\.[^./]+$", urlparse(url).path)
    if digest:
        with file.open("rb") as content:
            digest_of_file = hashlib.file_digest(content, "sha256").hexdigest()
        if not digest_of_file.startswith(digest[1]):
            raise OSError(f"sha256 {digest_of_file[:8]}, expected {digest[1]}")
