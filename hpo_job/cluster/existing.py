"""A Job that exists: scaled, stopped and resumed, deleted."""

from __future__ import annotations

import time

from hpo_job.cluster.client import Cluster, Object
from hpo_job.cluster.names import SUFFIX, check_job_name, worker_labels
from hpo_job.cluster.pods import index, index_list, indexes_in, is_over, is_suspended, pods_of
from hpo_job.cluster.queue import is_deactivated, queue_of, scaling_consequence, set_active
from hpo_job.errors import ClusterError, plural

GONE = 300  # seconds to wait until the pods of a deleted Job have ended their trials and are gone


def scale(cluster: Cluster, study: str, workers: int) -> str:
    """Change how many workers a Job has while it runs; says what was done.

    Raises:
        ClusterError: that would end the Job while trials still run.
    """
    name = study + SUFFIX
    job = _job(cluster, name)
    check_job_name(name, workers)
    if is_over(job):
        raise ClusterError(f"Job {name} has ended; hpo-job submit --replace starts it again")
    before = int(job["spec"]["parallelism"])
    if workers < before:
        require_work_left(cluster, job, workers)
    cluster.patch("jobs", name, {"spec": {"parallelism": workers, "completions": workers}})
    return scaled_line(job, workers)


def suspend(cluster: Cluster, study: str, *, stop: bool) -> str:
    """Stop a Job's workers, or start them again; says what was done.

    Raises:
        ClusterError: there is no such Job, or it has ended.
    """
    name = study + SUFFIX
    job = _job(cluster, name)
    if is_over(job):
        raise ClusterError(f"Job {name} has ended; hpo-job submit --replace starts it again")
    queue = queue_of(job)
    if queue:
        changed = set_active(cluster, job, active=not stop)
    elif changed := is_suspended(job) != stop:
        cluster.patch("jobs", name, {"spec": {"suspend": stop}})
    if not changed:
        done = "is stopped already" if stop else "was not stopped"
    elif stop:
        done = "stopped; its running trials are interrupted, and run again later; logs are deleted"
    else:
        done = f"waits in queue {queue} again" if queue else "resumed"
    return f"job/{name}: {done}"


def scaled_line(job: Object, workers: int) -> str:
    """What a change of a Job's number of workers means."""
    before, name = int(job["spec"]["parallelism"]), job["metadata"]["name"]
    consequence = scaling_consequence(job, workers)
    return f"job/{name}: {plural(before, 'worker')}, {workers} from now on{consequence}"


def is_stopped(cluster: Cluster, job: Object) -> bool:
    """Whether a person has stopped a Job; one that waits in a queue is suspended by Kueue."""
    return is_deactivated(cluster, job) if queue_of(job) else is_suspended(job)


def delete(cluster: Cluster, study: str, *, must_exist: bool = True) -> list[str]:
    """Delete what was submitted for a study; trials in the database stay.

    Args:
        cluster: where.
        study: its name.
        must_exist: whether it is an error if there is nothing of that study.

    Returns:
        What was deleted, such as ``job/digits-worker``.

    Raises:
        ClusterError: nothing was deleted, and should be; or its Job is not gone after a while.
    """
    labels = worker_labels(study)
    deleted = []
    for resource in ("jobs", "configmaps", "serviceaccounts"):
        for thing in cluster.list_objects(resource, **labels):
            name = str(thing["metadata"]["name"])
            if resource == "jobs":
                delete_job(cluster, name)
            else:
                cluster.delete(resource, name)
            deleted.append(f"{resource.removesuffix('s')}/{name}")
    if not deleted and must_exist:
        cluster.require_namespace()
        raise ClusterError(f"namespace {cluster.namespace}: nothing was submitted for {study}")
    return deleted


def delete_job(cluster: Cluster, name: str, seconds: float = GONE) -> None:
    """Delete a Job, and wait until its pods are gone as well.

    Raises:
        ClusterError: it is not gone after ``seconds``.
    """
    cluster.delete("jobs", name)
    deadline = time.monotonic() + seconds
    while cluster.find("jobs", name) is not None:
        if time.monotonic() > deadline:
            raise ClusterError(
                f"Job {name} is not gone after {seconds:.0f} s; see kubectl -n "
                f"{cluster.namespace} get pods -l batch.kubernetes.io/job-name={name}"
            )
        time.sleep(1)


def _job(cluster: Cluster, name: str) -> Object:
    job = cluster.find("jobs", name)
    if job is None:
        cluster.require_namespace()
        raise ClusterError(
            f"namespace {cluster.namespace} has no Job {name}; hpo-job submit JOB creates it"
        )
    return job


def require_work_left(cluster: Cluster, job: Object, workers: int) -> None:
    """Raise ClusterError if every index that stays has ended, while others still run."""
    status = job.get("status", {})
    ended = indexes_in(status.get("completedIndexes")) | indexes_in(status.get("failedIndexes"))
    if set(range(workers)) - ended:
        return
    name = job["metadata"]["name"]
    busy = {
        index(pod)
        for pod in pods_of(cluster, name)
        if pod.get("status", {}).get("phase") in ("Pending", "Running")
    }
    raise ClusterError(
        f"Job {name}: with {plural(workers, 'worker')} it would be complete at once, because "
        f"those have ended, and interrupt what runs in {index_list(busy)}; it ends by itself once "
        "nothing is left to start"
    )
