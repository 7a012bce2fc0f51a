"""Which nodes take a pod, as the scheduler decides it: taints, labels, node affinity."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Object = dict[str, Any]


def takes(node: Object, pod: Object) -> bool:
    """Whether a node lets a pod run, whatever it has left.

    Args:
        node: the node.
        pod: the pod's spec.
    """
    spec, labels = node["spec"], node["metadata"].get("labels") or {}
    if spec.get("unschedulable"):
        return False
    if not (pod.get("nodeSelector") or {}).items() <= labels.items():
        return False
    if not _has_affinity(node, labels, pod):
        return False
    return all(
        taint.get("effect") == "PreferNoSchedule"
        or any(_tolerates(each, taint) for each in pod.get("tolerations") or [])
        for taint in spec.get("taints") or []
    )


def _has_affinity(node: Object, labels: Mapping[str, str], pod: Object) -> bool:
    """Whether one of the terms that a pod requires of its node holds; true if it requires none."""
    affinity = (pod.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    if not required:
        return True
    fields = {"metadata.name": node["metadata"]["name"]}
    return any(
        all(_matches(each, labels) for each in term.get("matchExpressions") or [])
        and all(_matches(each, fields) for each in term.get("matchFields") or [])
        for term in required.get("nodeSelectorTerms") or []
        if term.get("matchExpressions") or term.get("matchFields")  # an empty term matches nothing
    )


def _matches(requirement: Object, labels: Mapping[str, str]) -> bool:
    value, values = labels.get(requirement["key"]), requirement.get("values") or []
    match requirement["operator"]:
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case "Gt" | "Lt" as operator:
            try:
                number, bound = int(str(value)), int(values[0])
            except (ValueError, IndexError):
                return False
            return number > bound if operator == "Gt" else number < bound
    return False


def _tolerates(toleration: Object, taint: Object) -> bool:
    if toleration.get("effect") not in (None, "", taint.get("effect")):
        return False
    if toleration.get("key") not in (None, "", taint["key"]):
        return False
    exists = toleration.get("operator") == "Exists"
    return exists or toleration.get("value", "") == taint.get("value", "")
