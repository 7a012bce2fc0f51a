"""Objects of a cluster as they are read from its API server."""

from __future__ import annotations

from typing import Any

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
