"""How a study's objects are named and labelled, and which namespace they are in."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from hpo_job.errors import ClusterError, one_line, plural
from hpo_job.machine import read_text
from hpo_job.spec.reading import find_job, read_spec

KUSTOMIZATION = "kustomization.yaml"
KUSTOMIZATIONS = (KUSTOMIZATION, "kustomization.yml", "Kustomization")  # what kustomize accepts
SETTINGS = Path("k8s/settings") / KUSTOMIZATION
STORAGE_SECRET = "hpo-job-storage"
SERVICE = "hpo-job-mysql"  # of k8s/mysql
QUEUE = "kueue.x-k8s.io/queue-name"  # the label of a Job that Kueue manages
WORKER = {"app.kubernetes.io/name": "hpo-job", "app.kubernetes.io/component": "worker"}
MYSQL = {"app.kubernetes.io/name": "hpo-job", "app.kubernetes.io/component": "mysql"}
INSTANCE = "app.kubernetes.io/instance"
SUFFIX = "-worker"
LABEL = 63  # characters of a DNS label, such as a pod's host name
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")


def study_of(job: str) -> str:
    """The name of the study in a job folder; without such a folder, ``job`` is the name."""
    folder = find_job(job)
    return read_spec(folder).name if folder else job.rstrip("/").rsplit("/", 1)[-1]


def namespace_of(namespace: str | None, job: str | None = None) -> str | None:
    """Which namespace a command means.

    Args:
        namespace: of the option ``-n``, which goes before everything else.
        job: the job folder, if the command has one. Its own kustomization.yaml goes before the
            k8s/settings above it, and those before the ones above the current folder.

    Returns:
        None where none of them names one; the kubeconfig decides then.
    """
    named = namespace or _own(job).get("namespace") or _settings(job).get("namespace")
    return str(named) if named else None


def secret_of_settings(job: str | None = None) -> str:
    """The Secret with the database's URL that k8s/settings gives to workers.

    Raises:
        ClusterError: a patch in k8s/settings is no YAML.
    """
    for entry in _settings(job).get("patches") or []:
        try:
            patch = yaml.safe_load(entry.get("patch") or "")
        except yaml.YAMLError as error:
            raise ClusterError(f"{SETTINGS}: patches: {one_line(error)}") from error
        if isinstance(patch, dict) and (name := storage_secret(patch)):
            return name
    return STORAGE_SECRET


def kustomization_of(folder: Path) -> Path | None:
    """A folder's kustomization file, whichever of the three names it has."""
    files = (folder / name for name in KUSTOMIZATIONS)
    return next((file for file in files if file.is_file()), None)


def storage_secret(job: dict[str, Any]) -> str | None:
    """The Secret that the pods of a Job, or of a patch for one, mount for the database's URL."""
    template = (job.get("spec") or {}).get("template") or {}
    for volume in (template.get("spec") or {}).get("volumes") or []:
        if volume.get("name") == "storage":
            name = (volume.get("secret") or {}).get("secretName")
            return str(name) if name else None
    return None


def worker_labels(study: str) -> dict[str, str]:
    """The labels of all objects of a study's workers."""
    return {**WORKER, INSTANCE: study}


def check_job_name(name: str, workers: int) -> None:
    """Check that pods can be named after a Job.

    A pod's host name consists of the Job's name and the pod's index, and has to be a DNS label.

    Raises:
        ClusterError: the name is too long, or has other characters.
    """
    if not _LABEL.fullmatch(name):
        raise ClusterError(
            f"Job name {name!r} is not a DNS label: use lower-case letters, digits and "
            "dashes, no dash first or last; give the study another name"
        )
    last = f"{name}-{workers - 1}"
    if len(last) > LABEL:
        raise ClusterError(
            f"Job name {name!r} is {plural(len(last) - LABEL, 'character')} too long: with "
            f"{plural(workers, 'worker')} a pod would be called {last!r}, of {LABEL} characters at "
            "most; give the study a shorter name"
        )


def _own(job: str | None) -> dict[str, Any]:
    """The job folder's own kustomization.yaml; empty where it has none."""
    folder = _folder(job)
    file = kustomization_of(folder) if folder else None
    return _yaml(file) if file else {}


def _settings(job: str | None) -> dict[str, Any]:
    """The k8s/settings above a job folder, or else above the current folder."""
    here = Path.cwd()
    start = _folder(job) or here
    for folder in (start, *start.parents, here, *here.parents):
        if (folder / SETTINGS).is_file():
            return _yaml(folder / SETTINGS)
    return {}


def _folder(job: str | None) -> Path | None:
    """The folder of a job; None where only the study's name is known."""
    folder = find_job(job) if job else None
    return folder.resolve() if folder else None


def _yaml(file: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(read_text(file)) or {}
    except (yaml.YAMLError, OSError, ValueError) as error:
        raise ClusterError(f"{file}: not valid YAML: {one_line(error)}") from error
    if not isinstance(content, dict):
        raise ClusterError(f"{file}: not a kustomization: keys and values are expected")
    return content
