"""What a study's objects are called, and where they are: names, labels, the namespace."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from hpo_job.errors import ClusterError
from hpo_job.spec.study_toml import find_job, read_spec

KUSTOMIZATION = "kustomization.yaml"
KUSTOMIZATIONS = (KUSTOMIZATION, "kustomization.yml", "Kustomization")  # as kustomize takes them
SETTINGS = Path("k8s/settings") / KUSTOMIZATION
STORAGE_SECRET = "hpo-job-storage"
QUEUE = "kueue.x-k8s.io/queue-name"  # the label of what waits in a queue of Kueue's
WORKER = {"app.kubernetes.io/name": "hpo-job", "app.kubernetes.io/component": "worker"}
INSTANCE = "app.kubernetes.io/instance"
SUFFIX = "-worker"
LABEL = 63  # characters of a DNS label, which a pod's host name is
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")


def study_of(job: str) -> str:
    """The study of a job folder, or the name itself: pods may be asked for without the folder."""
    folder = find_job(job)
    return read_spec(folder).name if folder else job.rstrip("/").rsplit("/", 1)[-1]


def namespace_of(given: str | None, job: str | None = None) -> str | None:
    """The namespace: as given, or as the job folder, or k8s/settings of its clone or this, says.

    None where there is neither: that of the kubeconfig then.
    """
    named = given or _own(job).get("namespace") or _settings(job).get("namespace")
    return str(named) if named else None


def secret_of_settings(job: str | None = None) -> str:
    """The storage Secret that k8s/settings of the job's clone, or of this one, gives to workers."""
    for entry in _settings(job).get("patches") or []:
        try:
            patch = yaml.safe_load(entry.get("patch") or "")
        except yaml.YAMLError as error:
            raise ClusterError(f"{SETTINGS}: patches: {_flat(error)}") from error
        if isinstance(patch, dict) and (name := storage_secret(patch)):
            return name
    return STORAGE_SECRET


def kustomization_of(folder: Path) -> Path | None:
    """A folder's kustomization, under whichever of its names it is there."""
    files = (folder / name for name in KUSTOMIZATIONS)
    return next((file for file in files if file.is_file()), None)


def storage_secret(job: dict[str, Any]) -> str | None:
    """The Secret that a Job's pods, or those of a patch for one, mount as their storage."""
    template = (job.get("spec") or {}).get("template") or {}
    for volume in (template.get("spec") or {}).get("volumes") or []:
        if volume.get("name") == "storage":
            name = (volume.get("secret") or {}).get("secretName")
            return str(name) if name else None
    return None


def worker_labels(study: str) -> dict[str, str]:
    """The labels that all objects of a study's workers carry."""
    return {**WORKER, INSTANCE: study}


def check_job_name(name: str, workers: int) -> None:
    """Raise ClusterError unless the pods of a Job can be named after it.

    A pod's host name is the Job's name and its index, and has to be a DNS label.
    """
    if not _LABEL.fullmatch(name):
        raise ClusterError(
            f"Job name {name!r} is no DNS label: lower-case letters, digits and dashes, the "
            "first and last no dash; give the study another name"
        )
    last = f"{name}-{workers - 1}"
    if len(last) > LABEL:
        raise ClusterError(
            f"Job name {name!r} is {len(last) - LABEL} characters too long: with {workers} "
            f"workers a pod would be called {last!r}, of {LABEL} characters at most; give the "
            "study a shorter name"
        )


def _own(job: str | None) -> dict[str, Any]:
    """What a job folder's own kustomization.yaml says, as far as there is one."""
    folder = _folder(job)
    file = kustomization_of(folder) if folder else None
    return _yaml(file) if file else {}


def _settings(job: str | None) -> dict[str, Any]:
    """What k8s/settings says of the clone that a job folder, or else this folder, is in."""
    here = Path.cwd()
    start = _folder(job) or here
    for folder in (start, *start.parents, here, *here.parents):
        if (folder / SETTINGS).is_file():
            return _yaml(folder / SETTINGS)
    return {}


def _folder(job: str | None) -> Path | None:
    """The folder of a job; None for the study of a Job, which needs no folder here."""
    found = find_job(job) if job else None
    return found.resolve() if found else None


def _yaml(file: Path) -> dict[str, Any]:
    try:
        found = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ClusterError(f"{file}: not valid YAML: {_flat(error)}") from error
    if not isinstance(found, dict):
        raise ClusterError(f"{file}: is no kustomization: keys and values are expected")
    return found


def _flat(error: Exception) -> str:
    return " ".join(str(error).split())
