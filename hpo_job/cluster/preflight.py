"""What would keep a Job's pods from running, found out before there are any."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation

from hpo_job.cluster.client import Cluster, ForbiddenError, Object
from hpo_job.cluster.database import credentials, reachable
from hpo_job.cluster.names import storage_secret
from hpo_job.errors import ClusterError, StorageError
from hpo_job.storage import database as storages

_SUFFIXES = {
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "k": Decimal(10**3),
    "M": Decimal(10**6),
    "G": Decimal(10**9),
    "T": Decimal(10**12),
    "P": Decimal(10**15),
    "E": Decimal(10**18),
    "Ki": Decimal(2**10),
    "Mi": Decimal(2**20),
    "Gi": Decimal(2**30),
    "Ti": Decimal(2**40),
    "Pi": Decimal(2**50),
    "Ei": Decimal(2**60),
}
USUAL = ("cpu", "memory", "ephemeral-storage")
SCOPES = {"NotTerminating", "NotBestEffort"}  # of quotas: what workers' pods are

Used = dict[str, dict[str, Decimal]]  # by node and resource


@dataclass
class Findings:
    """What the preflight has found: lines to show. What cannot work is raised instead."""

    checked: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def preflight(
    cluster: Cluster, job: Object, running: int = 0, *, nodes_may_come: bool = False
) -> Findings:
    """Look at all that a Job needs, without changing anything.

    running: how many pods of this Job there are already.
    nodes_may_come: whether the cluster adds nodes for GPUs that are asked for.

    Raises ClusterError for what would keep every pod from running.
    """
    found = Findings()
    workers = int(job["spec"].get("parallelism", 1))
    secret = storage_secret(job)
    if secret:
        credentials(cluster, secret)
        found.checked.append(f"Secret {secret}")
    _quota(cluster, job, workers - running, found)
    _capacity(cluster, job, running, found, nodes_may_come)
    _image(job, found)
    if secret:
        _connections(cluster, secret, workers - running, found)
    return found


def quantity(text: str | int | float) -> Decimal:
    """The number that a Kubernetes quantity such as ``500m`` or ``2Gi`` is; raises ValueError."""
    written = str(text).strip()
    for length in (2, 1):
        if written[-length:] in _SUFFIXES:
            number, factor = written[:-length], _SUFFIXES[written[-length:]]
            break
    else:
        number, factor = written, Decimal(1)
    try:
        return Decimal(number) * factor
    except InvalidOperation:
        raise ValueError(f"{text!r} is no quantity") from None


def requests(pod: Object) -> dict[str, Decimal]:
    """What a pod asks of its node: requests, or limits where a resource has only those.

    pod: its ``spec``, as all that follow here take it.
    """
    total: dict[str, Decimal] = {}
    for container in pod["containers"]:
        resources = container.get("resources", {})
        for name, value in {**resources.get("limits", {}), **resources.get("requests", {})}.items():
            total[name] = total.get(name, Decimal(0)) + quantity(value)
    return total


def limits(pod: Object) -> dict[str, Decimal]:
    """What a pod may use at most."""
    total: dict[str, Decimal] = {}
    for container in pod["containers"]:
        for name, value in container.get("resources", {}).get("limits", {}).items():
            total[name] = total.get(name, Decimal(0)) + quantity(value)
    return total


def exceeded(quota: Object, pod: Object, more: int) -> list[str]:
    """What a ResourceQuota has too little of for so many ``more`` pods.

    One for pods of a certain kind counts where workers are of that kind for sure.
    """
    scopes = set(quota["spec"].get("scopes") or [])
    if scopes - SCOPES or quota["spec"].get("scopeSelector"):
        return []
    status = quota.get("status", {})
    hard, used = status.get("hard") or quota["spec"].get("hard", {}), status.get("used") or {}
    asked = requests(pod)
    needed = {"pods": Decimal(more), "count/pods": Decimal(more)}
    for name, value in asked.items():
        needed[f"requests.{name}"] = value * more
        if name in USUAL:
            needed[name] = value * more
    needed |= {f"limits.{name}": value * more for name, value in limits(pod).items()}
    return [
        f"{name} {hard[name]}, of which {used.get(name, 0)} are used: too little for {more} more "
        f"worker{'s' if more != 1 else ''} ({_plain(value)})"
        for name, value in needed.items()
        if name in hard and quantity(used.get(name, 0)) + value > quantity(hard[name])
    ]


def devices(pod: Object) -> dict[str, Decimal]:
    """What a pod asks for that only some nodes have: GPUs."""
    return {name: value for name, value in requests(pod).items() if "/" in name and value}


def takes(node: Object, pod: Object) -> bool:
    """Whether a node lets such a pod run: by its taints, its labels, and whether it is cordoned."""
    spec, labels = node["spec"], node["metadata"].get("labels") or {}
    if spec.get("unschedulable"):
        return False
    if not (pod.get("nodeSelector") or {}).items() <= labels.items():
        return False
    return all(
        taint.get("effect") == "PreferNoSchedule"
        or any(_tolerates(each, taint) for each in pod.get("tolerations") or [])
        for taint in spec.get("taints") or []
    )


def fits(nodes: Iterable[Object], asked: dict[str, Decimal], used: Used | None = None) -> int:
    """How many pods that ask for so much the nodes hold beside what is used there, by node."""
    return sum(_fits(node, asked, (used or {}).get(node["metadata"]["name"], {})) for node in nodes)


def used_by(pods: Iterable[Object]) -> Used:
    """What pods that run, or are about to, ask of each node."""
    used: Used = {}
    for pod in pods:
        if node := pod["spec"].get("nodeName"):
            on = used.setdefault(node, {})
            for name, value in requests(pod["spec"]).items():
                on[name] = on.get(name, Decimal(0)) + value
    return used


def _fits(node: Object, asked: dict[str, Decimal], used: dict[str, Decimal]) -> int:
    allocatable = node.get("status", {}).get("allocatable", {})
    return max(
        0,
        min(
            int((quantity(allocatable.get(name, 0)) - used.get(name, Decimal(0))) // value)
            for name, value in asked.items()
        ),
    )


def _tolerates(toleration: Object, taint: Object) -> bool:
    if toleration.get("effect") not in (None, "", taint.get("effect")):
        return False
    if toleration.get("key") not in (None, "", taint["key"]):
        return False
    exists = toleration.get("operator") == "Exists"
    return exists or toleration.get("value", "") == taint.get("value", "")


def _quota(cluster: Cluster, job: Object, more: int, found: Findings) -> None:
    try:
        quotas = cluster.all("resourcequotas")
    except ForbiddenError as error:
        found.warnings.append(f"quota not checked: {error}")
        return
    for quota in quotas if more > 0 else []:
        if problems := exceeded(quota, job["spec"]["template"]["spec"], more):
            name = quota["metadata"]["name"]
            raise ClusterError(f"quota {name} in namespace {cluster.namespace}: {problems[0]}")
    found.checked.append(f"{len(quotas)} quotas" if quotas else "no quota")


def _capacity(
    cluster: Cluster, job: Object, running: int, found: Findings, nodes_may_come: bool
) -> None:
    pod = job["spec"]["template"]["spec"]
    asked = {name: value for name, value in requests(pod).items() if value}
    more = int(job["spec"].get("parallelism", 1)) - running
    try:
        nodes = [node for node in cluster.all("nodes") if takes(node, pod)]
    except ForbiddenError as error:
        found.warnings.append(f"capacity not checked: {error}")
        return
    wanted = ", ".join(f"{name} {_plain(value)}" for name, value in asked.items())
    if asked and not fits(nodes, asked):
        _no_node(
            nodes,
            asked,
            f"a worker asks for {wanted}",
            found,
            fatal=bool(devices(pod)) and not nodes_may_come,
        )
        return
    if not asked or more <= 0:
        return
    try:
        pods = cluster.list_all_namespaces("pods", status_phase__not="Succeeded")
        used, but = used_by(pod for pod in pods if pod["status"].get("phase") != "Failed"), ""
    except ForbiddenError:  # usual: of other people's namespaces nothing is known
        used, but = {}, ", if nothing else ran there"
    room = fits(nodes, asked, used)
    if room < more:
        found.warnings.append(
            f"the nodes have room for {room} more workers{but} (each asks for {wanted}); the "
            f"other {more - room} will wait"
        )
    found.checked.append(f"{len(nodes)} nodes with room for {room} more workers{but}")


def _no_node(
    nodes: list[Object], asked: dict[str, Decimal], problem: str, found: Findings, *, fatal: bool
) -> None:
    """No node could hold a worker, even if nothing else ran there."""
    missing = [
        f"{name} {_plain(value)}" for name, value in asked.items() if not fits(nodes, {name: value})
    ]
    what = f"no node has {' or '.join(missing)}" if missing else "no node has all of it"
    if not nodes:
        what = "no node takes it, by taints, labels, or because all are cordoned"
    if fatal:
        raise ClusterError(
            f"{problem}: {what}; see k8s/settings, and kubectl describe nodes; --nodes-may-come "
            "where the cluster adds such nodes"
        )
    found.warnings.append(f"{problem}: {what}; pods wait, unless the cluster adds such a node")
    found.checked.append(f"{len(nodes)} nodes")


def _image(job: Object, found: Findings) -> None:
    """Whether all nodes run the same image, and can have it."""
    for container in job["spec"]["template"]["spec"]["containers"]:
        image, policy = str(container["image"]), container.get("imagePullPolicy")
        found.checked.append(f"image {image}, pull policy {policy or 'by its tag'}")
        name = image.rsplit("/", 1)[-1]
        moving = "@" not in name and name.partition(":")[2] in ("", "latest")
        if moving and policy != "Always":
            found.warnings.append(
                f"image {image} has no tag of its own, and pull policy {policy}: nodes may run "
                "different ones; give it a tag in k8s/settings"
            )
        if policy == "Never":
            found.warnings.append(f"pull policy Never: {image} must be on every node already")


def _connections(cluster: Cluster, secret: str, more: int, found: Findings) -> None:
    """Whether the database answers, and how many workers it carries."""
    try:
        with reachable(cluster, secret) as url:
            carried = storages.worker_capacity(url)
    except StorageError as error:
        found.warnings.append(f"the database was not reached from here: {error}")
        return
    except ForbiddenError as error:
        found.warnings.append(f"the database was not checked: {error}")
        return
    if carried is None:
        return
    if carried < more:
        found.warnings.append(
            f"the database has connections for {carried} more workers; of {more}, some will wait "
            "for each other"
        )
    found.checked.append(f"database with connections for {carried} workers")


def _plain(value: Decimal) -> str:
    """A quantity as people write it."""
    for suffix in ("Gi", "Mi", "Ki"):
        if value >= _SUFFIXES[suffix] and value % _SUFFIXES[suffix] == 0:
            return f"{value / _SUFFIXES[suffix]:f}{suffix}"
    return f"{value.normalize():f}"


def lines(found: Findings) -> Iterator[str]:
    """What was looked at, for a person."""
    yield "preflight  " + "; ".join(found.checked)
