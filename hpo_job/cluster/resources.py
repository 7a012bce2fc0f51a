"""What pods ask for, and what nodes and quotas have left: arithmetic on Kubernetes quantities."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from hpo_job.cluster.client_parts import format_quantity, parse_quantity

Object = dict[str, Any]
Amounts = dict[str, Decimal]  # by resource, such as cpu or nvidia.com/gpu
NATIVE = ("cpu", "memory", "ephemeral-storage")  # what quotas also name without "requests."
NONE = Decimal(0)
BINARY = {"Gi": 2**30, "Mi": 2**20, "Ki": 2**10}


def quantity(text: str | int | float) -> Decimal:
    """The number that a Kubernetes quantity such as ``500m`` or ``2Gi`` stands for."""
    return Decimal(parse_quantity(text))


def plain(value: Decimal) -> str:
    """A quantity as people write it: with a binary suffix where it is a whole number of units."""
    for suffix, unit in BINARY.items():
        if value >= unit and value % unit == 0:
            return str(format_quantity(value, suffix, Decimal(1)))
    return f"{value.normalize():f}"


def requests(pod: Object) -> Amounts:
    """What a pod asks of its node: its requests, or its limits for resources without a request.

    As the scheduler counts it: containers that go on run together with all others, and those that
    only prepare the pod run before them, one after the other.

    Args:
        pod: its ``spec``; the functions below take the same.
    """
    together = [_asked(each) for each in pod["containers"]]
    before: list[Amounts] = []  # what runs while each of the preparing containers does
    sidecars: list[Amounts] = []
    for container in pod.get("initContainers") or []:
        if container.get("restartPolicy") == "Always":
            sidecars.append(_asked(container))
        else:
            before.append(total([*sidecars, _asked(container)]))
    amounts = total([*together, *sidecars])
    for each in before:
        amounts |= {name: max(value, amounts.get(name, value)) for name, value in each.items()}
    whole = _asked(pod)  # a pod may ask for all of its containers
    return total([{**amounts, **whole}, pod.get("overhead") or {}])


def limits(pod: Object) -> Amounts:
    """What a pod may use at most."""
    return total(resources.get("limits", {}) for resources in _resources(pod))


def devices(pod: Object) -> Amounts:
    """What a pod asks for that only some nodes have, such as GPUs."""
    return {name: value for name, value in requests(pod).items() if "/" in name and value}


@dataclass(frozen=True)
class Shortage:
    """A resource that a ResourceQuota has too little of.

    Attributes:
        resource: its name, as the quota has it.
        hard: how much the quota allows.
        used: how much of that is used, and stays so.
        asked: how much the further pods ask for.
    """

    resource: str
    hard: Decimal
    used: Decimal
    asked: Decimal


def shortages(
    quota: Object, pod: Object, more: int, ended: Iterable[Object] = ()
) -> list[Shortage]:
    """What a ResourceQuota has too little of for a number of further pods.

    A quota whose scopes do not cover the pod is left out.

    Args:
        quota: the ResourceQuota.
        pod: the spec of a worker's pod.
        more: how many further pods.
        ended: the specs of pods that are ended before, and leave the quota.
    """
    if not is_covered(pod, quota):
        return []
    status = quota.get("status", {})
    hard, used = status.get("hard") or quota["spec"].get("hard", {}), status.get("used") or {}
    freed = total(_counted_by_quotas(each, 1) for each in ended if is_covered(each, quota))
    found = []
    for name, asked in _counted_by_quotas(pod, more).items():
        stays = max(quantity(used.get(name, 0)) - freed.get(name, NONE), NONE)
        if name in hard and stays + asked > quantity(hard[name]):
            found.append(Shortage(name, quantity(hard[name]), stays, asked))
    return found


def is_covered(pod: Object, quota: Object) -> bool:
    """Whether a ResourceQuota counts a pod: all of its scopes have to hold."""
    selector = quota["spec"].get("scopeSelector") or {}
    requirements = [
        *(
            {"scopeName": scope, "operator": "Exists"}
            for scope in quota["spec"].get("scopes") or []
        ),
        *(selector.get("matchExpressions") or []),
    ]
    return all(_is_in_scope(pod, each) for each in requirements)


def _is_in_scope(pod: Object, requirement: Object) -> bool:
    asked = {**requests(pod), **limits(pod)}
    best_effort = not any(asked.get(name) for name in ("cpu", "memory"))
    ends = pod.get("activeDeadlineSeconds") is not None
    name, values = pod.get("priorityClassName"), requirement.get("values") or []
    match requirement["scopeName"], requirement["operator"]:
        case "PriorityClass", "In":
            return name in values
        case "PriorityClass", "NotIn":
            return name not in values
        case "PriorityClass", operator:
            return (name is not None) is (operator == "Exists")
        case "BestEffort", _:
            return best_effort
        case "NotBestEffort", _:
            return not best_effort
        case "Terminating", _:
            return ends
        case "NotTerminating", _:
            return not ends
    return False  # of pods that affect other namespaces, and of volumes


def used_by(pods: Iterable[Object]) -> dict[str, Amounts]:
    """What the pods on each node ask of it, by the node's name."""
    used: dict[str, list[Amounts]] = {}
    for pod in pods:
        if node := pod["spec"].get("nodeName"):
            used.setdefault(node, []).append({**requests(pod["spec"]), "pods": Decimal(1)})
    return {node: total(amounts) for node, amounts in used.items()}


def free(node: Object, used: Mapping[str, Amounts]) -> Amounts:
    """What a node has left after what the pods on it ask for."""
    allocatable = node.get("status", {}).get("allocatable", {})
    taken = used.get(node["metadata"]["name"], {})
    return {
        name: quantity(value) - taken.get(name, Decimal(0)) for name, value in allocatable.items()
    }


def fits(nodes: Iterable[Object], asked: Amounts, used: Mapping[str, Amounts] | None = None) -> int:
    """How many pods the nodes have space for.

    Args:
        nodes: those that take such a pod.
        asked: what each pod asks for, none of it zero.
        used: what is taken already; nothing by default.
    """
    return sum(_fits(free(node, used or {}), asked) for node in nodes)


def _fits(left: Amounts, asked: Amounts) -> int:
    return max(0, min(int(left.get(name, Decimal(0)) // value) for name, value in asked.items()))


def _counted_by_quotas(pod: Object, more: int) -> Amounts:
    """What so many pods add to the counters that a ResourceQuota may name."""
    needed = {"pods": Decimal(more), "count/pods": Decimal(more)}
    for name, value in requests(pod).items():
        needed[f"requests.{name}"] = value * more
        if name in NATIVE:
            needed[name] = value * more
    return needed | {f"limits.{name}": value * more for name, value in limits(pod).items()}


def _asked(container: Object) -> Amounts:
    resources = container.get("resources") or {}
    return total([{**(resources.get("limits") or {}), **(resources.get("requests") or {})}])


def _resources(pod: Object) -> list[Object]:
    return [container.get("resources", {}) for container in pod["containers"]]


def total(every: Iterable[Mapping[str, Any]]) -> Amounts:
    """The sum of quantities by resource."""
    amounts: Amounts = {}
    for each in every:
        for name, value in each.items():
            amounts[name] = amounts.get(name, Decimal(0)) + quantity(value)
    return amounts
