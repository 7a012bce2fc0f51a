"""Whether nodes take a worker's pod, and how many they have space for."""

from __future__ import annotations

from decimal import Decimal

from hpo_job.cluster.client import Cluster, Object
from hpo_job.cluster.preflight.ending import Ending
from hpo_job.cluster.preflight.findings import Findings
from hpo_job.cluster.refusals import ForbiddenError
from hpo_job.cluster.resources import Amounts, devices, fits, plain, requests, used_by
from hpo_job.cluster.scheduling import takes
from hpo_job.errors import ClusterError, plural


def check_nodes(
    cluster: Cluster,
    pod: Object,
    more: int,
    findings: Findings,
    ended: Ending,
    *,
    nodes_may_come: bool,
) -> None:
    """Look for nodes that have what a worker asks for.

    Args:
        cluster: whose nodes.
        pod: the spec of a worker's pod.
        more: how many further pods there will be.
        findings: gets the result.
        ended: the pods that are ended before these start.
        nodes_may_come: whether the cluster adds nodes when pods need them.

    Raises:
        ClusterError: no node could hold a worker, and it asks for a device, such as a GPU, or
            workers that run now would be ended for it.
    """
    asked = {name: value for name, value in requests(pod).items() if value}
    try:
        nodes = [node for node in cluster.list_objects("nodes") if takes(node, pod)]
    except ForbiddenError as error:
        findings.warnings.append(f"capacity not checked: {error}")
        return
    if asked and not fits(nodes, asked):
        problem = f"a worker asks for {_wanted(asked)}: {_missing(nodes, asked)}"
        if (devices(pod) or ended.workers) and not nodes_may_come:
            loss = "; the workers that run now would be ended for it" if ended.workers else ""
            raise ClusterError(
                f"{problem}{loss}; see k8s/settings, and kubectl describe nodes; "
                "--nodes-may-come where the cluster adds such nodes"
            )
        findings.warnings.append(f"{problem}; pods wait, unless the cluster adds such a node")
        findings.checked.append(plural(len(nodes), "node"))
    elif asked and more > 0:
        _headroom(cluster, nodes, asked, more, findings, ended)


def _headroom(
    cluster: Cluster,
    nodes: list[Object],
    asked: Amounts,
    more: int,
    findings: Findings,
    ended: Ending,
) -> None:
    """How many workers the nodes have space for, next to what runs and stays there."""
    leaving = {pod["metadata"].get("uid") for pod in ended.pods}
    try:
        pods = [
            pod
            for pod in cluster.list_all_namespaces("pods", status_phase__not="Succeeded")
            if pod["status"].get("phase") != "Failed" and pod["metadata"].get("uid") not in leaving
        ]
        used, but = used_by(pods), ""
    except ForbiddenError:  # usual: most accounts do not see other namespaces
        used, but = {}, ", if nothing else ran there"
    headroom = fits(nodes, {**asked, "pods": Decimal(1)}, used)
    if headroom < more:
        findings.warnings.append(
            f"the nodes have space for {plural(headroom, ended.further)}{but} (each asks for "
            f"{_wanted(asked)}); the other {more - headroom} will wait"
        )
    findings.checked.append(
        f"{plural(len(nodes), 'node')} with space for {plural(headroom, ended.further)}{but}"
    )


def _wanted(asked: Amounts) -> str:
    return ", ".join(f"{name} {plain(value)}" for name, value in asked.items())


def _missing(nodes: list[Object], asked: Amounts) -> str:
    """Why no node could hold a worker, even if nothing else ran there."""
    if not nodes:
        return "no node takes it, because of taints, labels, affinity, or because all are cordoned"
    missing = [
        f"{name} {plain(value)}" for name, value in asked.items() if not fits(nodes, {name: value})
    ]
    return f"no node has {' or '.join(missing)}" if missing else "no node has all of it"
