"""Whether pods keep to a LimitRange, which would otherwise keep them from being created."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hpo_job.cluster.resources import NONE, Amounts, limits, plain, quantity, requests, total

Object = dict[str, Any]


def outside(limit_range: Object, pod: Object) -> list[str]:
    """In what a pod breaks a LimitRange.

    Args:
        limit_range: the LimitRange; its defaults fill in what a container does not say.
        pod: the pod's spec.
    """
    problems: list[str] = []
    for limit in limit_range["spec"].get("limits") or []:
        if limit["type"] == "Container":
            for container in pod["containers"]:
                asked, bounds = _with_defaults(container.get("resources", {}), limit)
                problems += _problems(limit, asked, bounds, "a container")
        elif limit["type"] == "Pod":
            problems += _problems(limit, requests(pod), limits(pod), "a pod")
    return problems


def _with_defaults(resources: Object, limit: Object) -> tuple[Amounts, Amounts]:
    """The requests and limits of a container, completed by a LimitRange's defaults."""
    own = resources.get("limits", {})
    bounds = {**(limit.get("default") or {}), **own}
    defaults = limit.get("defaultRequest") or {}
    asked = {**bounds, **defaults, **own, **resources.get("requests", {})}
    return total([asked]), total([bounds])


def _problems(limit: Object, asked: Amounts, bounds: Amounts, who: str) -> Iterator[str]:
    for name, value in (limit.get("max") or {}).items():
        if name not in bounds:
            yield f"{name}: {who} needs a limit, of {value} at most"
        elif max(bounds[name], asked.get(name, NONE)) > quantity(value):
            yield f"{name} {plain(bounds[name])}: {who} may have {value} at most"
    for name, value in (limit.get("min") or {}).items():
        if asked.get(name, NONE) < quantity(value):
            request = plain(asked.get(name, NONE))
            yield f"{name} {request}: {who} has to request {value} at least"
    for name, ratio in (limit.get("maxLimitRequestRatio") or {}).items():
        if asked.get(name) and bounds.get(name, NONE) / asked[name] > quantity(ratio):
            yield f"{name}: the limit of {who} may be {ratio} times its request at most"
