"""The state of pods, and why one does not run."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from hpo_job.cluster.client import Cluster, Object
from hpo_job.cluster.queue import GATE, queue_of
from hpo_job.errors import one_line

INDEX = "batch.kubernetes.io/job-completion-index"
FAILURES = (  # of a pod's index: those that count, and those that the failure policy ignores
    "batch.kubernetes.io/job-index-failure-count",
    "batch.kubernetes.io/job-index-ignored-failure-count",
)
JOB = "batch.kubernetes.io/job-name"
# Read of the API server at most, so that large Jobs are looked at less often
PODS_A_SECOND = 100
INDEXES = 10  # that one line names at most
STOPPED = (
    "the Job is stopped, which deleted the running pods and their logs; a log collector of the "
    "cluster may still have them"
)
QUEUED = (
    "none of the Job's pods runs: it waits in queue {}, or was stopped; pods that Kueue has ended "
    "were deleted with their logs, which a log collector of the cluster may still have"
)
PULLING = (
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "RegistryUnavailable",
    "ImageInspectError",
)


@dataclass(frozen=True)
class Worker:
    """One pod of a Job, as `hpo-job status` shows it.

    Attributes:
        restarts: how often its index was started again.
        why: why it does not run, or why it failed.
        image: the digest of the image that it runs; None until its container has started.
    """

    index: int
    pod: str
    phase: str
    node: str
    restarts: int
    started: str | None
    why: str | None
    image: str | None = None


def pods_of(cluster: Cluster, job: str) -> list[Object]:
    """The pods of a Job, sorted by index and then by age, oldest first."""
    pods = cluster.list_objects("pods", **{JOB: job})
    return sorted(pods, key=lambda pod: (index(pod), pod["metadata"].get("creationTimestamp", "")))


def describe(pod: Object, warnings: Mapping[str, str]) -> Worker:
    """The state of a worker's pod.

    Args:
        pod: the pod.
        warnings: the latest warning event about each pod, by uid; explains a pending pod whose
            own status says nothing.
    """
    metadata, status = pod["metadata"], pod.get("status", {})
    annotations = metadata.get("annotations") or {}
    containers = status.get("containerStatuses") or []
    restarts = sum(each.get("restartCount", 0) for each in containers)
    phase = str(status.get("phase", "Unknown"))
    return Worker(
        index=index(pod),
        pod=str(metadata["name"]),
        phase="Terminating" if metadata.get("deletionTimestamp") else phase,
        node=str(pod["spec"].get("nodeName") or "-"),
        restarts=restarts + sum(int(annotations.get(each, 0)) for each in FAILURES),
        started=status.get("startTime"),
        why=why(pod) or (warnings.get(str(metadata.get("uid"))) if phase == "Pending" else None),
        image=_digest(containers),
    )


def index(pod: Object) -> int:
    """Which index of its Job a pod has."""
    return int((pod["metadata"].get("annotations") or {}).get(INDEX, 0))


def is_ready(pod: Object) -> bool:
    """Whether a pod is ready, and is not being deleted."""
    conditions = pod.get("status", {}).get("conditions") or []
    ready = any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
    return ready and not pod["metadata"].get("deletionTimestamp")


def why(pod: Object) -> str | None:
    """Why a pod does not run, in one line; None where its status gives no reason."""
    status = pod.get("status", {})
    conditions = {each["type"]: each for each in status.get("conditions") or []}
    disruption = conditions.get("DisruptionTarget")
    if disruption and disruption.get("status") == "True":
        return f"disrupted: {one_line(disruption.get('message') or disruption.get('reason'))}"
    scheduled = conditions.get("PodScheduled")
    if scheduled and scheduled.get("reason") == "SchedulingGated":
        return _why_gated(pod)
    if scheduled and scheduled.get("status") == "False":
        return f"unschedulable: {one_line(scheduled.get('message') or scheduled.get('reason'))}"
    if status.get("phase") == "Failed" and status.get("reason") == "Evicted":
        return f"evicted: {one_line(status.get('message'))}".rstrip(": ")
    for container in status.get("containerStatuses") or []:
        if problem := _why_container(container):
            return problem
    if status.get("phase") == "Failed":
        return one_line(status.get("message") or status.get("reason")) or "failed"
    return None


def _why_gated(pod: Object) -> str:
    gates = [str(each["name"]) for each in pod["spec"].get("schedulingGates") or []]
    if gates == [GATE]:
        return "waits until Kueue has quota for it"
    return f"waits for whoever has set its scheduling gates: {', '.join(gates)}"


def why_none(cluster: Cluster, job: Object | None) -> str | None:
    """Why a Job has fewer pods than it asks for, such as a quota or a Pod Security Standard."""
    if job is None or is_suspended(job) or not lacks(job, "active"):
        return None
    return cluster.latest_warnings("Job").get(str(job["metadata"].get("uid")))


def lacks(job: Object, state: str) -> bool:
    """Whether fewer pods than a Job that goes on asks for are in a state: active, or ready."""
    spec, status = job["spec"], job.get("status", {})
    ended = int(status.get("succeeded", 0)) + len(indexes_in(status.get("failedIndexes")))
    return not is_over(job) and int(status.get(state, 0)) + ended < int(spec.get("parallelism", 1))


def ended_indexes(job: Object) -> set[int]:
    """The indexes of a Job that start no pod any more: they have succeeded, or failed too often."""
    status = job.get("status", {})
    return indexes_in(status.get("completedIndexes")) | indexes_in(status.get("failedIndexes"))


def pods_to_start(job: Object, workers: int) -> int:
    """How many pods a Job has still to start, if it has so many workers from now on.

    Of one that is stopped, that is all whose indexes have not ended.
    """
    unfinished = set(range(workers)) - ended_indexes(job)
    return max(0, len(unfinished) - int(job.get("status", {}).get("active", 0)))


def index_list(indexes: Collection[int]) -> str:
    """One index or more as words; of many only the first."""
    first = ", ".join(str(each) for each in sorted(indexes)[:INDEXES])
    more = f" and {len(indexes) - INDEXES} more" if len(indexes) > INDEXES else ""
    return f"index{'es' if len(indexes) > 1 else ''} {first}{more}"


def indexes_in(text: str | None) -> set[int]:
    """The indexes that a Job's ``completedIndexes`` or ``failedIndexes`` names: ``"0,3-5"``."""
    indexes: set[int] = set()
    for part in filter(None, (text or "").split(",")):
        first, _, last = part.partition("-")
        indexes |= set(range(int(first), int(last or first) + 1))
    return indexes


def _why_container(container: dict[str, Any]) -> str | None:
    state = container.get("state", {})
    waiting, ended = state.get("waiting"), state.get("terminated")
    if waiting and waiting.get("reason") in PULLING:
        text = one_line(waiting.get("message") or waiting["reason"])
        return f"image {container.get('image')} cannot be pulled: {text}"
    if waiting and waiting.get("reason") not in (None, "ContainerCreating", "PodInitializing"):
        return f"{waiting['reason']}: {one_line(waiting.get('message'))}".rstrip(": ")
    if ended and ended.get("exitCode"):
        code = ended["exitCode"]
        meaning = _CODES.get(code, "") if container.get("name") in (None, "worker") else ""
        reason = ended.get("reason")
        named = f" ({reason})" if reason not in (None, "Error") else meaning
        return f"ended with exit code {code}{named}"
    return None


_CODES = {
    1: " (its disk is full, or too many trials failed in a row; see its log)",
    2: " (an error that a retry cannot fix; see its log)",
    137: " (killed)",
    143: " (stopped; its trial is run again)",
}


def _digest(containers: list[Object]) -> str | None:
    """The digest of a worker's image, as its node has it: the part that names no registry."""
    names = [each["imageID"] for each in containers if each.get("imageID")]
    return str(names[0]).rpartition("@")[2] if names else None


def is_alive(pod: Object) -> bool:
    """Whether the pod runs, or will."""
    return pod.get("status", {}).get("phase") in ("Pending", "Running")


def has_log(pod: Object) -> bool:
    """Whether the pod's container has run, now or before."""
    containers = pod.get("status", {}).get("containerStatuses") or []
    return any("waiting" not in each.get("state", {"waiting": {}}) for each in containers)


def is_over(job: Object | None) -> bool:
    """Whether a Job is complete, has failed, is being deleted, or does not exist."""
    if job is None or is_being_deleted(job):
        return True
    conditions = job.get("status", {}).get("conditions") or []
    return any(c["type"] in ("Complete", "Failed") and c["status"] == "True" for c in conditions)


def is_being_deleted(job: Object) -> bool:
    """Whether a Job only waits until its pods have ended; whatever it is changed to is lost."""
    return bool(job["metadata"].get("deletionTimestamp"))


def is_suspended(job: Object | None) -> bool:
    """Whether no pod of a Job runs for now: a person has stopped it, or it waits in a queue."""
    return job is not None and bool(job["spec"].get("suspend"))


def why_suspended(job: Object | None) -> str | None:
    """Why no pod of a suspended Job runs, and where the logs are."""
    if not is_suspended(job):
        return None
    queue = queue_of(job)
    return QUEUED.format(queue) if queue else STOPPED


def short(pod: Object) -> str:
    """A pod's index and the random end of its name, which together identify it."""
    return f"{index(pod)}-{str(pod['metadata']['name']).rsplit('-', 1)[-1]}"
