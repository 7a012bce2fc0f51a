"""Checks before anything is sent: what would keep a Job's pods from running."""

from __future__ import annotations

from dataclasses import dataclass, field

from hpo_job.cluster.client import Cluster, Object
from hpo_job.cluster.credentials import credentials
from hpo_job.cluster.database import reachable
from hpo_job.cluster.names import storage_secret
from hpo_job.cluster.refusals import ForbiddenError
from hpo_job.cluster.resources import (
    Amounts,
    devices,
    exceeded,
    fits,
    plain,
    requests,
    takes,
    used_by,
)
from hpo_job.cluster.wording import counted
from hpo_job.errors import ClusterError, StorageError
from hpo_job.storage.database import worker_capacity


@dataclass
class Findings:
    """What the checks found; whatever would be fatal is raised instead.

    Attributes:
        checked: what was looked at, and is in order.
        warnings: lines for the user.
    """

    checked: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def line(self) -> str:
        """What was checked, as one line."""
        return "preflight  " + "; ".join(self.checked)


def preflight(
    cluster: Cluster, job: Object, running: int = 0, *, nodes_may_come: bool = False
) -> Findings:
    """Check all that a Job needs, without changing anything.

    Args:
        cluster: where it will run.
        job: the Job as it would be sent.
        running: how many pods of this Job exist already.
        nodes_may_come: whether the cluster adds nodes when pods ask for GPUs.

    Raises:
        ClusterError: something would keep every pod from running.
    """
    findings = Findings()
    workers = int(job["spec"].get("parallelism", 1))
    secret = storage_secret(job)
    if secret:
        credentials(cluster, secret)
        findings.checked.append(f"Secret {secret}")
    _quota(cluster, job, workers - running, findings)
    _capacity(cluster, job, workers - running, findings, nodes_may_come=nodes_may_come)
    _image(job, findings)
    if secret:
        _connections(cluster, secret, workers - running, findings)
    return findings


def _quota(cluster: Cluster, job: Object, more: int, findings: Findings) -> None:
    try:
        quotas = cluster.list_objects("resourcequotas")
    except ForbiddenError as error:
        findings.warnings.append(f"quota not checked: {error}")
        return
    for quota in quotas if more > 0 else []:
        if problems := exceeded(quota, job["spec"]["template"]["spec"], more):
            name = quota["metadata"]["name"]
            raise ClusterError(f"quota {name} in namespace {cluster.namespace}: {problems[0]}")
    findings.checked.append(counted(len(quotas), "quota") if quotas else "no quota")


def _capacity(
    cluster: Cluster, job: Object, more: int, findings: Findings, *, nodes_may_come: bool
) -> None:
    pod = job["spec"]["template"]["spec"]
    asked = {name: value for name, value in requests(pod).items() if value}
    try:
        nodes = [node for node in cluster.list_objects("nodes") if takes(node, pod)]
    except ForbiddenError as error:
        findings.warnings.append(f"capacity not checked: {error}")
        return
    if asked and not fits(nodes, asked):
        problem = f"a worker asks for {_wanted(asked)}: {_missing(nodes, asked)}"
        if devices(pod) and not nodes_may_come:
            raise ClusterError(
                f"{problem}; see k8s/settings, and kubectl describe nodes; --nodes-may-come where "
                "the cluster adds such nodes"
            )
        findings.warnings.append(f"{problem}; pods wait, unless the cluster adds such a node")
        findings.checked.append(counted(len(nodes), "node"))
    elif asked and more > 0:
        _headroom(cluster, nodes, asked, more, findings)


def _headroom(
    cluster: Cluster, nodes: list[Object], asked: Amounts, more: int, findings: Findings
) -> None:
    """How many workers the nodes have space for, next to what runs there already."""
    try:
        pods = cluster.list_all_namespaces("pods", status_phase__not="Succeeded")
        used, but = used_by(pod for pod in pods if pod["status"].get("phase") != "Failed"), ""
    except ForbiddenError:  # usual: most accounts do not see other namespaces
        used, but = {}, ", if nothing else ran there"
    headroom = fits(nodes, asked, used)
    if headroom < more:
        waiting = more - headroom
        findings.warnings.append(
            f"the nodes have space for {counted(headroom, 'more worker')}{but} (each asks for "
            f"{_wanted(asked)}); the other {waiting} will wait"
        )
    findings.checked.append(
        f"{counted(len(nodes), 'node')} with space for {counted(headroom, 'more worker')}{but}"
    )


def _wanted(asked: Amounts) -> str:
    return ", ".join(f"{name} {plain(value)}" for name, value in asked.items())


def _missing(nodes: list[Object], asked: Amounts) -> str:
    """Why no node could hold a worker, even if nothing else ran there."""
    if not nodes:
        return "no node takes it, because of taints, labels, or because all are cordoned"
    missing = [
        f"{name} {plain(value)}" for name, value in asked.items() if not fits(nodes, {name: value})
    ]
    return f"no node has {' or '.join(missing)}" if missing else "no node has all of it"


def _image(job: Object, findings: Findings) -> None:
    """Whether all nodes run the same image, and can get it."""
    for container in job["spec"]["template"]["spec"]["containers"]:
        image, policy = str(container["image"]), container.get("imagePullPolicy")
        findings.checked.append(f"image {image}, pull policy {policy or 'by its tag'}")
        name = image.rsplit("/", 1)[-1]
        moving = "@" not in name and name.partition(":")[2] in ("", "latest")
        if moving and policy != "Always":
            findings.warnings.append(
                f"image {image} has no fixed tag, and pull policy {policy}: nodes may run "
                "different ones; give it a tag in k8s/settings"
            )
        if policy == "Never":
            findings.warnings.append(f"pull policy Never: {image} must be on every node already")


def _connections(cluster: Cluster, secret: str, more: int, findings: Findings) -> None:
    """Whether the database answers, and how many workers it has connections for."""
    try:
        with reachable(cluster, secret) as url:
            capacity = worker_capacity(url)
    except StorageError as error:
        findings.warnings.append(f"the database was not reached from here: {error}")
        return
    except ForbiddenError as error:
        findings.warnings.append(f"the database was not checked: {error}")
        return
    if capacity is None:
        return
    if capacity < more:
        findings.warnings.append(
            f"the database has connections for {counted(capacity, 'more worker')}; of {more}, "
            "some will wait for each other"
        )
    findings.checked.append(f"database with connections for {counted(capacity, 'worker')}")
