"""Objects that a worker's pod names: without them it is not created, or waits for ever."""

from __future__ import annotations

from hpo_job.cluster.client import Cluster, Object
from hpo_job.cluster.preflight.findings import Findings
from hpo_job.cluster.queue import KUEUE, queue_of
from hpo_job.cluster.refusals import ForbiddenError
from hpo_job.errors import ClusterError

CACHE = "hpo-job-cache"
# What a pod's spec names, as (key, resource, kind): in the namespace, or of the whole cluster
CLASSES = (
    ("priorityClassName", "priorityclasses", "PriorityClass"),
    ("runtimeClassName", "runtimeclasses", "RuntimeClass"),
)


def check_objects(cluster: Cluster, job: Object, more: int, findings: Findings) -> None:
    """Look up the claims, classes, templates and the queue that a Job names.

    Args:
        cluster: where the Job will run.
        job: the Job.
        more: how many further pods there will be.
        findings: gets the result.

    Raises:
        ClusterError: one of them does not exist.
    """
    pod = job["spec"]["template"]["spec"]
    for key, resource, kind in CLASSES:
        if name := pod.get(key):
            _require(cluster, resource, kind, name, f"{kind} {name} does not exist", findings)
    for claim in pod.get("resourceClaims") or []:
        if name := claim.get("resourceClaimTemplateName"):
            missing = f"ResourceClaimTemplate {name} is missing in namespace {cluster.namespace}"
            _require(
                cluster, "resourceclaimtemplates", "ResourceClaimTemplate", name, missing, findings
            )
    for volume in pod.get("volumes") or []:
        if claim := volume.get("persistentVolumeClaim"):
            _check_claim(cluster, str(claim["claimName"]), more, findings)
    if queue := queue_of(job):
        _check_queue(cluster, queue, findings)


def _require(
    cluster: Cluster, resource: str, kind: str, name: str, missing: str, findings: Findings
) -> Object | None:
    """The object, or None if this account may not look."""
    try:
        thing = cluster.find(resource, name)
    except ForbiddenError as error:
        findings.warnings.append(f"{kind} {name} not checked: {error}")
        return None
    if thing is None:
        raise ClusterError(f"{missing}; see k8s/settings")
    findings.checked.append(f"{kind} {name}")
    return thing


def _check_claim(cluster: Cluster, name: str, more: int, findings: Findings) -> None:
    missing = f"PersistentVolumeClaim {name} is missing in namespace {cluster.namespace}"
    if name == CACHE:
        missing += ": switch on cache-volume in k8s/cluster, and kubectl apply -k k8s/cluster"
    kind = "PersistentVolumeClaim"
    claim = _require(cluster, "persistentvolumeclaims", kind, name, missing, findings)
    if claim is None:
        return
    phase = claim.get("status", {}).get("phase")
    if phase == "Lost":
        raise ClusterError(f"{kind} {name} in namespace {cluster.namespace} has lost its volume")
    modes = set(claim.get("spec", {}).get("accessModes") or [])
    if more > 1 and modes and not modes & {"ReadWriteMany", "ReadOnlyMany"}:
        findings.warnings.append(
            f"{kind} {name} can be mounted by one node only ({', '.join(sorted(modes))}): "
            "workers on other nodes will wait"
        )


def _check_queue(cluster: Cluster, name: str, findings: Findings) -> None:
    """Whether Kueue is installed, and has the queue; without Kueue the Job would start at once."""
    version = cluster.preferred_version(KUEUE)
    if version is None:
        raise ClusterError(
            f"the Job is for Kueue's queue {name}, and this cluster has no Kueue: install it, or "
            "switch off the component kueue in k8s/settings"
        )
    missing = f"Kueue's LocalQueue {name} is missing in namespace {cluster.namespace}"
    queue = _require(cluster, f"{version}/localqueues", "LocalQueue", name, missing, findings)
    for condition in (queue or {}).get("status", {}).get("conditions") or []:
        if condition["type"] == "Active" and condition["status"] == "False":
            findings.warnings.append(
                f"Kueue's LocalQueue {name} is not active: {condition.get('message')}"
            )
