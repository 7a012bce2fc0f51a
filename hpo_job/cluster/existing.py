"""A Job that exists: stopped and resumed, deleted."""

from __future__ import annotations

import time
from collections.abc import Iterator

from hpo_job.cluster.client import Cluster, Object
from hpo_job.cluster.names import SUFFIX, worker_labels
from hpo_job.cluster.pods import is_being_deleted, is_over, is_suspended
from hpo_job.cluster.queue import is_deactivated, queue_of, set_active
from hpo_job.cluster.refusals import DeniedError
from hpo_job.errors import ClusterError

GONE = 300  # seconds to wait until the pods of a deleted Job have ended their trials and are gone


def job_that_goes_on(cluster: Cluster, name: str) -> Object:
    """The Job of this name.

    Raises:
        ClusterError: there is no such Job, or it has ended.
    """
    job = cluster.find("jobs", name)
    if job is None:
        cluster.require_namespace()
        raise ClusterError(
            f"namespace {cluster.namespace} has no Job {name}; hpo-job submit JOB creates it"
        )
    if is_over(job):
        raise ClusterError(f"Job {name} {how_over(job)}; hpo-job submit --replace starts it again")
    return job


def how_over(job: Object) -> str:
    """In which way a Job that exists is over, as the predicate of a sentence."""
    return "is being deleted" if is_being_deleted(job) else "has ended"


def suspend(cluster: Cluster, study: str, *, stop: bool) -> str:
    """Stop a Job's workers, or start them again; says what was done.

    Raises:
        ClusterError: there is no such Job, or it has ended.
    """
    name = study + SUFFIX
    job = job_that_goes_on(cluster, name)
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


def is_stopped(cluster: Cluster, job: Object) -> bool:
    """Whether a person has stopped a Job; one that waits in a queue is suspended by Kueue."""
    return is_deactivated(cluster, job) if queue_of(job) else is_suspended(job)


def delete(cluster: Cluster, study: str, *, must_exist: bool = True) -> Iterator[str]:
    """Delete what was submitted for a study; trials in the database stay.

    Args:
        cluster: where.
        study: its name.
        must_exist: whether it is an error if there is nothing of that study.

    Yields:
        What has been deleted, such as ``job/digits-worker``; first all is looked up.

    Raises:
        ClusterError: there is nothing to delete, and should be; or its Job is not gone after a
            while.
    """
    labels = worker_labels(study)
    found = [
        (resource, str(thing["metadata"]["name"]))
        for resource in ("jobs", "configmaps", "serviceaccounts")
        for thing in cluster.list_objects(resource, **labels)
    ]
    if not found and must_exist:
        cluster.require_namespace()
        raise ClusterError(f"namespace {cluster.namespace}: nothing was submitted for {study}")
    for resource, name in found:
        if resource == "jobs":
            delete_job(cluster, name)
        else:
            cluster.delete(resource, name)
        yield f"{resource.removesuffix('s')}/{name}"


def delete_job(cluster: Cluster, name: str, seconds: float = GONE) -> None:
    """Delete a Job, and wait until its pods are gone as well.

    Raises:
        ClusterError: it is not gone after ``seconds``, or nobody can say whether it is.
    """
    cluster.delete("jobs", name)
    deadline = time.monotonic() + seconds
    while reason := _why_not_gone(cluster, name):
        if time.monotonic() > deadline:
            raise ClusterError(
                f"Job {name} is being deleted, and is not gone after {seconds:.0f} s: {reason}; "
                "run the command again"
            )
        time.sleep(1)


def _why_not_gone(cluster: Cluster, name: str) -> str | None:
    """Why a Job that is being deleted counts as there; None once it is gone.

    An API server that does not answer for a moment does not end the wait.
    """
    try:
        job = cluster.find("jobs", name)
    except DeniedError as error:
        raise ClusterError(f"{error}; Job {name} is being deleted") from error
    except ClusterError as error:
        return str(error)
    if job is None:
        return None
    label = f"batch.kubernetes.io/job-name={name}"
    return f"its pods have not ended; kubectl -n {cluster.namespace} get pods -l {label}"
