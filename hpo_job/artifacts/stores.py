"""Where a study's models and checkpoints are: a folder, S3 or GCS, by Optuna's artifact stores.

Those import the clients of every cloud that is installed, so they are imported only for a bucket.
"""

from __future__ import annotations

import logging
import warnings
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlparse
from uuid import uuid4

from optuna.exceptions import ExperimentalWarning

from hpo_job.artifacts.folder_store import FolderStore
from hpo_job.data.fetch import is_final
from hpo_job.errors import SpecError
from hpo_job.spec.urls import store_problem

if TYPE_CHECKING:
    from optuna.artifacts import Boto3ArtifactStore, GCSArtifactStore

    Store = FolderStore | Boto3ArtifactStore | GCSArtifactStore

NO_CREDENTIALS = {"NoCredentialsError", "PartialCredentialsError"}  # boto3's, when first asked
log = logging.getLogger(__name__)


def open_store(url: str) -> Store:
    """The store at ``url``: a folder, created if missing, ``s3://…`` or ``gs://…``.

    Credentials come from where boto3 and google-cloud-storage look for them.

    Raises:
        SpecError: there is no such place, or its package or credentials are missing.
    """
    if problem := store_problem(url):
        raise SpecError(f"artifacts: {problem}")
    parsed = urlparse(url)
    try:
        if "://" not in url or parsed.scheme == "file":
            folder = Path(url.removeprefix("file://"))
            folder.mkdir(parents=True, exist_ok=True)
            return FolderStore(folder)
        from optuna.artifacts import Boto3ArtifactStore, GCSArtifactStore

        if parsed.scheme == "s3":
            return Boto3ArtifactStore(parsed.netloc, avoid_buf_copy=True)  # files may be large
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)  # Google's has been since 3.4
            return GCSArtifactStore(parsed.netloc)
    except ImportError as error:
        extra = "s3" if parsed.scheme == "s3" else "gcs"
        raise SpecError(f"artifacts: {url}: pip install 'hpo-job[{extra}]'") from error
    except Exception as error:  # no permission, no credentials: every client has its own
        raise SpecError(f"artifacts: {url}: {reason(error)}") from error


def writable_store(url: str) -> Store:
    """The store at ``url``, after a trial write, so that no study runs and loses every model.

    A store that is unreachable just now may be back when the first trial ends: that is logged.

    Raises:
        SpecError: the store refuses to be written to.
    """
    store, probe = open_store(url), f"hpo-job-{uuid4()}"
    try:
        store.write(probe, BytesIO(b"can models be kept here?"))
        store.remove(probe)
    except Exception as error:
        line = f"artifacts: {url}: cannot be written to: {reason(error)}"
        if _is_refusal(store, error):
            raise SpecError(
                f"{line}; name another place with [artifacts] store or --artifacts, or set keep = 0"
            ) from error
        log.warning("%s", line)
    return store


def reason(error: Exception) -> str:
    """One line about an error of a store, whose client's message may be long."""
    text = " ".join(str(error).split())[:200]
    name = type(error).__name__
    return text if text.startswith(name) else f"{name}: {text}"


def size(url: str, name: str) -> int | None:
    """The bytes of an object in the store at ``url``; None if it is not there.

    Optuna's stores do not say; the clients that they use do.
    """
    parsed = urlparse(url)
    if "://" not in url or parsed.scheme == "file":
        file = Path(url.removeprefix("file://")) / name
        return file.stat().st_size if file.is_file() else None
    from optuna.artifacts import Boto3ArtifactStore, GCSArtifactStore

    store = open_store(url)
    if isinstance(store, Boto3ArtifactStore):
        try:
            return int(store.client.head_object(Bucket=parsed.netloc, Key=name)["ContentLength"])
        except Exception as error:
            if is_missing(error):
                return None
            raise
    assert isinstance(store, GCSArtifactStore)
    blob = store.bucket_obj.get_blob(name)
    return None if blob is None else int(blob.size)


def remove(store: Store, name: str, what: str) -> bool:
    """Remove an object; one that is not there is no error, and any other error is only logged.

    Returns:
        Whether it is gone.
    """
    try:
        store.remove(name)
    except Exception as error:
        if not is_missing(error):
            log.warning("%s %s cannot be removed: %s", what, name, reason(error))
            return False
    return True


def is_missing(error: Exception) -> bool:
    """Whether a store's client says that there is no such object."""
    if isinstance(error, FileNotFoundError) or _http_status(error) == 404:
        return True
    from optuna.artifacts.exceptions import ArtifactNotFound

    return isinstance(error, ArtifactNotFound)


def _is_refusal(store: Store, error: Exception) -> bool:
    """Whether a retry would fail again: no such bucket, or no right to write to it."""
    if isinstance(store, FolderStore) or type(error).__name__ in NO_CREDENTIALS:
        return True
    status = _http_status(error)
    return status is not None and is_final(status)


def _http_status(error: Exception) -> int | None:
    """The status of a server's answer, as boto3's or Google's errors have it."""
    response = getattr(error, "response", None)  # boto3's; Google's has the status as its code
    metadata = response.get("ResponseMetadata", {}) if isinstance(response, dict) else {}
    status = metadata.get("HTTPStatusCode") or getattr(error, "code", None)
    return status if isinstance(status, int) else None
