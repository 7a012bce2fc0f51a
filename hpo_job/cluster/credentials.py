"""The Secret that leads to the workers' database: which one it is, and what it contains."""

from __future__ import annotations

import base64
import binascii
from contextlib import suppress

from hpo_job.cluster.client import Cluster, Object
from hpo_job.cluster.names import INSTANCE, WORKER, secret_of_settings, storage_secret, study_of
from hpo_job.errors import ClusterError, SpecError


def secret_of(cluster: Cluster, study: str | None = None, *, own: bool = False) -> str:
    """The name of the Secret from which workers read the database's URL.

    Args:
        cluster: the namespace to look in.
        study: a study or its job folder. The Secret is that of its Job, else of the latest Job,
            else the one that k8s/settings names.
        own: leave out other studies' Jobs, whose database may hold a study of the same name.
    """
    name = None
    with suppress(SpecError):  # its folder may be half written
        name = study_of(study) if study else None

    def rank(job: Object) -> tuple[bool, str]:
        metadata = job["metadata"]
        return metadata["labels"].get(INSTANCE) == name, metadata["creationTimestamp"]

    for job in sorted(cluster.list_objects("jobs", **WORKER), key=rank, reverse=True):
        if own and not rank(job)[0]:
            break
        if secret := storage_secret(job):
            return secret
    return secret_of_settings(study)  # no Job yet, or the last one was removed


def credentials(cluster: Cluster, name: str) -> dict[str, str]:
    """The content of a storage Secret.

    Raises:
        ClusterError: the Secret does not exist, or has no URL.
    """
    data = read_secret(cluster, name)
    if data is None:
        cluster.require_namespace()
        raise ClusterError(
            f"Secret {name} is missing in namespace {cluster.namespace}: `hpo-job database` "
            "creates a database and the Secret; for your own server put its URL into the key `url`"
        )
    if not data.get("url"):
        raise ClusterError(
            f"Secret {name} in namespace {cluster.namespace}: has no key `url`, which should be "
            "the database's URL, like mysql+mysqldb://USER:PASSWORD@HOST/DATABASE"
        )
    return data


def read_secret(cluster: Cluster, name: str) -> dict[str, str] | None:
    """The texts in a Secret by their keys; None if it does not exist."""
    secret = cluster.find("secrets", name)
    if secret is None:
        return None
    content = {}
    for key, value in (secret.get("data") or {}).items():
        try:
            content[key] = base64.b64decode(value).decode()
        except (UnicodeDecodeError, binascii.Error):
            continue  # not a text, such as a key store, and not used here
    return content
