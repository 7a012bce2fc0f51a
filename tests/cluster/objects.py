"""Objects as an API server has them, and what a job folder asks for besides."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from hpo_job.cluster.names import worker_labels

Object = dict[str, Any]
JOBS = "/apis/batch/v1/namespaces/hpo-job/jobs"
LABELS = worker_labels("digits")
JOB: Object = {
    "metadata": {
        "name": "digits-worker",
        "uid": "u",
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "labels": LABELS,
    },
    "spec": {"parallelism": 2, "completions": 2, "template": {"spec": {"volumes": []}}},
    "status": {},
}


def node(name: str, **spec: Any) -> Object:
    """A node with 4 CPUs and 2 GPUs."""
    allocatable = {
        "cpu": "4",
        "memory": "32Gi",
        "ephemeral-storage": "100Gi",
        "pods": "110",
        "nvidia.com/gpu": "2",
    }
    return {"metadata": {"name": name}, "spec": spec, "status": {"allocatable": allocatable}}


def running_pod(index: int, phase: str = "Running", **resources: Any) -> Object:
    """A pod of the Job digits-worker."""
    labels = {"batch.kubernetes.io/job-name": "digits-worker"}
    return {
        "metadata": {"name": f"digits-worker-{index}-abcde", "uid": f"p{index}", "labels": labels},
        "spec": {"nodeName": "a", "containers": [{"resources": resources}]},
        "status": {"phase": phase},
    }


def claim(phase: str = "Bound", *modes: str) -> Object:
    """The claim of the component `cache`, in some state."""
    return {
        "metadata": {"name": "hpo-job-cache"},
        "spec": {"accessModes": list(modes) or ["ReadWriteMany"]},
        "status": {"phase": phase},
    }


def patched(job: Path, **pod: Any) -> Path:
    """Let the pods of a job folder have further fields."""
    file = job / "kustomization.yaml"
    patch = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "worker"},
        "spec": {"template": {"spec": pod}},
    }
    manifest = yaml.safe_load(file.read_text())
    manifest["patches"].append({"target": {"kind": "Job"}, "patch": yaml.safe_dump(patch)})
    file.write_text(yaml.safe_dump(manifest))
    return job
