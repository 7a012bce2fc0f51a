"""What lies in the artifact store for a study: found, measured, copied and removed."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import optuna
from optuna.trial import FrozenTrial

from hpo_job.artifacts.folder_store import FolderStore
from hpo_job.artifacts.stores import is_missing, open_store
from hpo_job.spec.study_toml import restore
from hpo_job.study.optuna_private import ARTIFACTS_PREFIX
from hpo_job.trial import attributes

if TYPE_CHECKING:
    from hpo_job.artifacts.stores import Store

KEPT = (attributes.ARTIFACT, attributes.PREDICTIONS, attributes.LOG)


def store_of(study: optuna.Study, artifacts: str) -> Store | None:
    """The store that the study names, or that at ``artifacts``; None where it keeps nothing.

    Raises:
        SpecError: it cannot be opened.
    """
    if not any(artifact_ids(trial) for trial in study.get_trials(deepcopy=False)):
        return None
    try:
        named = restore(study.user_attrs[attributes.SPEC]).artifacts.store
    except (KeyError, ValueError):  # a study of plain Optuna, or of another version
        named = None
    return open_store(named or artifacts)


def artifact_ids(trial: FrozenTrial) -> list[str]:
    """The artifacts of a trial, whether hpo-job or an objective uploaded them."""
    uploaded = [
        json.loads(record)["artifact_id"]
        for name, record in trial.system_attrs.items()
        if name.startswith(ARTIFACTS_PREFIX)
    ]
    kept = [trial.user_attrs[name] for name in KEPT if trial.user_attrs.get(name)]
    return list(dict.fromkeys([*uploaded, *kept]))


def size(store: Store, artifact: str) -> int | None:
    """The bytes of an artifact; None where it is not there any more, as of a swept model."""
    try:
        if isinstance(store, FolderStore):
            with store.open_reader(artifact) as file:
                return file.seek(0, 2)
        from optuna.artifacts import Boto3ArtifactStore

        if isinstance(store, Boto3ArtifactStore):
            head = store.client.head_object(Bucket=store.bucket, Key=artifact)
            return int(head["ContentLength"])
        blob = store.bucket_obj.get_blob(artifact)
        return None if blob is None else int(blob.size)
    except Exception as error:  # boto3 has a class of errors for each client
        if is_missing(error):
            return None
        raise


def remove_all(store: Store, artifacts: Iterable[str]) -> int:
    """Remove artifacts, those that are there; returns how many bytes that frees."""
    freed = 0
    for artifact in artifacts:
        if isinstance(store, FolderStore):
            store.remove_part(artifact)
        bytes_ = size(store, artifact)
        if bytes_ is not None:
            store.remove(artifact)
            freed += bytes_
    return freed


def copied(store: Store, trial: FrozenTrial) -> dict[str, str]:
    """Copy the artifacts of a trial in their store; returns the new id of each that is there."""
    names = {}
    for artifact in artifact_ids(trial):
        if size(store, artifact) is None:
            continue
        names[artifact] = str(uuid4())
        with store.open_reader(artifact) as file:
            store.write(names[artifact], file)
    return names


def renamed(attrs: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    """A trial's attributes with the new ids of its artifacts, in keys and in values."""
    text = json.dumps(attrs)
    for old, new in names.items():
        text = text.replace(old, new)
    renamed: dict[str, Any] = json.loads(text)
    return renamed
