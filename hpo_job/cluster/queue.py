"""Jobs in a queue of Kueue: what they wait for, and how a person stops one there.

Kueue has a Workload for each Job in its queues, and sets the Job's `suspend` by it: whoever sets
that field himself interrupts the Job's workers, and Kueue starts them again at once. What stops a
Job is the Workload's `active`. A Job that may be scaled while it runs (an elastic one) has a second
Workload while it waits for more quota; Kueue marks the pods of such a Job with a scheduling gate.
"""

from __future__ import annotations

from contextlib import nullcontext

from hpo_job.cluster.client import Cluster, Object
from hpo_job.cluster.names import QUEUE
from hpo_job.cluster.refusals import ForbiddenError, adding
from hpo_job.errors import ClusterError, one_line

KUEUE = "kueue.x-k8s.io"
JOB_UID = "kueue.x-k8s.io/job-uid"  # the label of a Workload
# An elastic Job that waits for more quota has two
PARTLY = "another Workload of the Job is changed already: run the command again"
GATE = "kueue.x-k8s.io/elastic-job"  # also the annotation that asks for it


def queue_of(job: Object | None) -> str | None:
    """The LocalQueue that a Job is in; None if Kueue has nothing to do with it."""
    name = ((job or {"metadata": {}})["metadata"].get("labels") or {}).get(QUEUE)
    return str(name) if name else None


def is_elastic(job: Object) -> bool:
    """Whether Kueue lets a Job's workers go on while it is scaled."""
    gates = job["spec"]["template"]["spec"].get("schedulingGates") or []
    return any(gate.get("name") == GATE for gate in gates)


def is_deactivated(cluster: Cluster, job: Object) -> bool:
    """Whether a Job in a queue was stopped: by a person, or by Kueue for good."""
    if not queue_of(job) or not job["spec"].get("suspend"):
        return False
    return any(_is_off(each) for each in _workloads(cluster, job)[1])


def set_active(cluster: Cluster, job: Object, *, active: bool) -> bool:
    """Stop a Job in a queue, or let it wait there again.

    Returns:
        Whether it was otherwise before.

    Raises:
        ClusterError: there is no Workload for it, or this account may not change it.
    """
    version, workloads = _workloads(cluster, job, must_see=True)
    if not workloads:
        raise ClusterError(
            f"Kueue has no Workload of Job {job['metadata']['name']} yet; is its controller "
            "running? kubectl -n kueue-system get pods"
        )
    others = [each for each in workloads if _is_off(each) is active]
    for number, each in enumerate(others):
        name, change = each["metadata"]["name"], {"spec": {"active": active}}
        with adding(PARTLY) if number else nullcontext():
            cluster.patch(f"{version}/workloads", name, change)
    return bool(others)


def waiting(cluster: Cluster, job: Object) -> tuple[str, list[str]]:
    """What a Job that is suspended, or has fewer workers than it asks for, waits for.

    Returns:
        A few words on its state, and lines with Kueue's own reasons; the words are empty where all
        workers were let in.
    """
    queue = queue_of(job)
    suspended = bool(job["spec"].get("suspend"))
    for workload in reversed(_workloads(cluster, job)[1]):
        conditions = {each["type"]: each for each in workload["status"].get("conditions") or []}
        if _is(conditions, "Admitted"):
            continue
        if _is_off(workload):
            return "stopped (hpo-job resume starts it again)", _why_off(conditions)
        words = f"waits in queue {queue}"
        if not suspended:
            wanted = sum(int(each.get("count", 1)) for each in workload["spec"].get("podSets", []))
            words = f"more workers wait in queue {queue}, for {wanted} in all"
        return words, [*_preempted(conditions), *_no_quota(conditions)]
    return (f"waits in queue {queue}", []) if suspended else ("", [])


def scaling_consequence(job: Object, workers: int) -> str:
    """What scaling a Job means in its queue, as the end of a sentence; empty if nothing."""
    queue, before = queue_of(job), int(job["spec"]["parallelism"])
    if queue is None or workers == before:
        return ""
    if is_elastic(job):
        more = f"; the further ones start when queue {queue} has quota for them"
        return more if workers > before else ""
    return (
        f"; Kueue interrupts running trials, and starts the workers again when queue {queue} has "
        "quota for all of them"
    )


def _workloads(
    cluster: Cluster, job: Object, *, must_see: bool = False
) -> tuple[str, list[Object]]:
    """The version of Kueue's API, and a Job's Workloads that have not ended, oldest first.

    Empty where this account may not list them, unless ``must_see``.
    """
    try:
        version = cluster.preferred_version(KUEUE)
        if version is None:
            return "", []
        every = cluster.list_objects(
            f"{version}/workloads", **{JOB_UID: str(job["metadata"].get("uid"))}
        )
    except ForbiddenError:
        if must_see:
            raise
        return "", []
    open_ones = [
        {"status": {}, **each}
        for each in every
        if not any(
            c["type"] == "Finished" and c["status"] == "True"
            for c in each.get("status", {}).get("conditions") or []
        )
    ]
    open_ones.sort(key=lambda each: str(each["metadata"].get("creationTimestamp")))
    return version, open_ones


def _is(conditions: dict[str, Object], name: str) -> bool:
    return bool(conditions.get(name, {}).get("status") == "True")


def _is_off(workload: Object) -> bool:
    return workload.get("spec", {}).get("active") is False


def _why_off(conditions: dict[str, Object]) -> list[str]:
    """Why Kueue stopped it; nothing where a person did."""
    evicted = conditions.get("Evicted", {})
    if evicted.get("reason") in (None, "Deactivated"):
        return []
    return [one_line(evicted.get("message"))]


def _preempted(conditions: dict[str, Object]) -> list[str]:
    if not _is(conditions, "Preempted"):
        return []
    message = one_line(conditions["Preempted"].get("message"))
    return [message.partition("; preemptor path")[0]]


def _no_quota(conditions: dict[str, Object]) -> list[str]:
    """Why it is not let in: no quota for it, no such queue, or a check that is not passed."""
    for name in ("QuotaReserved", "Admitted"):
        condition = conditions.get(name, {})
        if condition.get("status") == "False" and condition.get("message"):
            return [one_line(condition["message"])]
    return []
