"""How many workers a Job has, changed while it runs."""

from __future__ import annotations

from hpo_job.cluster.client import Cluster, Object
from hpo_job.cluster.existing import job_that_goes_on
from hpo_job.cluster.names import SUFFIX, check_job_name
from hpo_job.cluster.pods import ended_indexes, index, index_list, is_alive, pods_of, pods_to_start
from hpo_job.cluster.preflight.findings import Findings
from hpo_job.cluster.preflight.limits import check_quotas
from hpo_job.cluster.queue import scaling_consequence
from hpo_job.cluster.refusals import QuotaError
from hpo_job.errors import ClusterError, plural


def scale(cluster: Cluster, study: str, workers: int) -> tuple[str, list[str]]:
    """Change how many workers a Job has while it runs.

    Everything is read before: once the Job is changed, nothing can fail.

    Args:
        cluster: where it runs.
        study: its study.
        workers: how many it will have.

    Returns:
        What was done; and warnings, if a quota has too little left for the further workers, which
        start later then.

    Raises:
        ClusterError: that would end the Job while trials still run.
    """
    name = study + SUFFIX
    job = job_that_goes_on(cluster, name)
    check_job_name(name, workers)
    if workers < int(job["spec"]["parallelism"]):
        require_work_left(cluster, job, workers)
    warnings = _quota_warnings(cluster, job, pods_to_start(job, workers))
    cluster.patch("jobs", name, {"spec": {"parallelism": workers, "completions": workers}})
    return scaled_line(job, workers), warnings


def scaled_line(job: Object, workers: int) -> str:
    """What a change of a Job's number of workers means."""
    before, name = int(job["spec"]["parallelism"]), job["metadata"]["name"]
    consequence = scaling_consequence(job, workers)
    return f"job/{name}: {plural(before, 'worker')}, {workers} from now on{consequence}"


def require_work_left(cluster: Cluster, job: Object, workers: int) -> None:
    """Raise ClusterError if every index that stays has ended, while others still run, or will."""
    if set(range(workers)) - ended_indexes(job):
        return
    name = job["metadata"]["name"]
    busy = {index(pod) for pod in pods_of(cluster, name) if is_alive(pod)}
    loss = f", and interrupt what runs in {index_list(busy)}" if busy else ", before others start"
    raise ClusterError(
        f"Job {name}: with {plural(workers, 'worker')} it would be complete at once, because "
        f"those have ended{loss}; it ends by itself once nothing is left to start"
    )


def _quota_warnings(cluster: Cluster, job: Object, more: int) -> list[str]:
    """What to say if the namespace's quotas have too little left for so many further pods."""
    findings = Findings()
    try:
        if more:
            check_quotas(cluster, job["spec"]["template"]["spec"], more, findings)
    except QuotaError as error:
        findings.warnings.append(f"{error}; some will wait")
    return findings.warnings
