"""What pods ask for, what nodes have space for, and what quotas count."""

from __future__ import annotations

from typing import Any

import pytest

from hpo_job.cluster.resources import fits, plain, quantity, requests, shortages, used_by
from hpo_job.cluster.scheduling import takes
from tests.cluster.objects import node

Object = dict[str, Any]


@pytest.mark.parametrize(
    ("text", "number"), [("2", 2), ("500m", 0.5), ("2Gi", 2**31), ("1k", 1000), (4, 4)]
)
def test_quantities(text: str | int, number: float) -> None:
    assert float(quantity(text)) == number


@pytest.mark.parametrize("text", ["1", "500m", "2Gi", "1536Mi", "3k"])
def test_quantities_are_written_as_people_do(text: str) -> None:
    assert quantity(plain(quantity(text))) == quantity(text)
    assert plain(quantity("2048Mi")) == "2Gi"
    assert plain(quantity("500m")) == "0.5"


def test_no_quantity() -> None:
    with pytest.raises(ValueError, match="Invalid number format"):
        quantity("two")


def test_how_many_workers_fit() -> None:
    assert fits([node("a"), node("b")], {"cpu": quantity("1500m")}) == 4
    assert fits([node("a")], {"nvidia.com/gpu": quantity(1)}) == 2
    assert fits([node("a")], {"amd.com/gpu": quantity(1)}) == 0


def test_what_runs_on_a_node_takes_its_space() -> None:
    pod = {"spec": {"nodeName": "a", "containers": [{"resources": {"requests": {"cpu": "3"}}}]}}
    used = used_by([pod, {"spec": {"containers": [{}]}}])
    assert fits([node("a"), node("b")], {"cpu": quantity(1)}, used) == 1 + 4
    assert fits([node("a")], {"cpu": quantity(1)}, used_by([pod, pod])) == 0


def test_which_nodes_take_a_worker() -> None:
    gpu = {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}
    rather_not = {"key": "x", "effect": "PreferNoSchedule"}
    tolerates = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
    assert takes(node("a"), {})
    assert not takes(node("a", unschedulable=True), {})
    assert not takes(node("a", taints=[gpu, rather_not]), {})
    assert takes(node("a", taints=[gpu, rather_not]), {"tolerations": [tolerates]})
    assert takes(node("a", taints=[gpu]), {"tolerations": [{"operator": "Exists"}]})
    equal = {"key": "nvidia.com/gpu", "operator": "Equal", "value": "absent"}
    assert not takes(node("a", taints=[gpu]), {"tolerations": [equal]})
    assert takes(node("a", taints=[gpu]), {"tolerations": [{**equal, "value": "present"}]})
    assert not takes(node("a"), {"nodeSelector": {"disk": "fast"}})


def test_a_quota_with_enough_left_has_no_shortage() -> None:
    container = {"resources": {"requests": {"cpu": "1"}, "limits": {"nvidia.com/gpu": 1}}}
    pod = {"containers": [container]}
    quota: Object = {"spec": {}, "status": {"hard": {"cpu": "4", "requests.nvidia.com/gpu": "2"}}}
    assert shortages(quota, pod, 2) == []
    assert len(shortages(quota, pod, 5)) == 2
    of_others: Object = {**quota, "spec": {"scopes": ["BestEffort"]}}
    assert shortages(of_others, pod, 5) == []
    of_ours: Object = {**quota, "spec": {"scopes": ["NotTerminating"]}}
    assert len(shortages(of_ours, pod, 5)) == 2


def selecting(scope: str, operator: str, *values: str) -> Object:
    """The spec of a quota with one scope selector."""
    requirement = {"scopeName": scope, "operator": operator, "values": list(values)}
    return {"scopeSelector": {"matchExpressions": [requirement]}}


@pytest.mark.parametrize(
    ("spec", "counts"),
    [
        ({"scopes": ["PriorityClass"]}, True),
        ({"scopes": ["Terminating"]}, False),
        ({"scopes": ["NotBestEffort", "NotTerminating"]}, True),
        ({"scopes": ["NotTerminating", "BestEffort"]}, False),
        ({"scopes": ["CrossNamespacePodAffinity"]}, False),
        (selecting("PriorityClass", "In", "low", "high"), True),
        (selecting("PriorityClass", "In", "high"), False),
        (selecting("PriorityClass", "NotIn", "high"), True),
        (selecting("PriorityClass", "DoesNotExist"), False),
        (selecting("Terminating", "Exists"), False),
    ],
)
def test_a_quota_counts_the_pods_in_its_scopes(spec: Object, counts: bool) -> None:
    container = {"resources": {"requests": {"cpu": "1"}}}
    pod = {"priorityClassName": "low", "containers": [container]}
    quota = {"spec": spec, "status": {"hard": {"cpu": "1"}}}
    assert bool(shortages(quota, pod, 2)) is counts


def test_a_pod_asks_for_what_its_containers_need_at_the_same_time() -> None:
    def asks(cpu: str, **others: str) -> Object:
        return {"resources": {"requests": {"cpu": cpu}}, **others}

    sidecar = asks("1", restartPolicy="Always")
    pod: Object = {"containers": [asks("2"), {"resources": {"limits": {"cpu": "1"}}}]}
    assert requests(pod) == {"cpu": 3}
    assert requests({**pod, "initContainers": [asks("2"), sidecar]}) == {"cpu": 4}
    assert requests({**pod, "initContainers": [sidecar, asks("8")]}) == {"cpu": 9}
    assert requests({**pod, "overhead": {"cpu": "500m"}}) == {"cpu": quantity("3500m")}
    assert requests({**pod, "resources": {"requests": {"cpu": "5"}}}) == {"cpu": 5}
