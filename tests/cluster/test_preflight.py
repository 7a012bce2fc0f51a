"""What the checks before a submission find out about the namespace and the nodes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import kmock
import pytest
from click.testing import Result

from hpo_job.cluster.limit_range import outside
from hpo_job.cluster.scheduling import takes
from tests.cluster.conftest import Api
from tests.cluster.objects import JOBS, claim, node, patched
from tests.manifests.renders import with_components

Object = dict[str, Any]
pytestmark = pytest.mark.usefixtures("namespace")
KUEUE = "/apis/kueue.x-k8s.io"


@pytest.fixture
def refusal(api: Api, cli: Callable[..., Result], secret: Object) -> Callable[[Path], str]:
    """The line with which a submission is refused, before anything is sent."""
    api.put("v1/secrets", secret)

    def submit(job: Path) -> str:
        done = cli("submit", job)
        assert done.exit_code == 2, done.output
        assert api.applied == []
        return done.stderr

    return submit


def test_the_claim_of_the_cache(
    api: Api, cli: Callable[..., Result], refusal: Callable[[Path], str], tmp_path: Path
) -> None:
    job = with_components(tmp_path / "cached", ("cache",), ()) / "jobs/digits"
    line = refusal(job)
    assert "PersistentVolumeClaim hpo-job-cache is missing in namespace hpo-job" in line
    assert "cache-volume in k8s/cluster" in line
    api.put("v1/persistentvolumeclaims", claim("Lost"))
    assert "has lost its volume" in refusal(job)
    api.put("v1/persistentvolumeclaims", claim("Bound", "ReadWriteOnce"))
    done = cli("submit", job, "--dry-run")
    assert "can be mounted by one node only (ReadWriteOnce)" in done.stderr
    api.put("v1/persistentvolumeclaims", claim("Pending"))  # until its first pod
    done = cli("submit", job)
    assert done.exit_code == 0, done.output
    assert "PersistentVolumeClaim hpo-job-cache" in done.stdout
    assert "one node only" not in done.stderr


def test_a_queue_without_kueue(
    api: Api, cli: Callable[..., Result], refusal: Callable[[Path], str], tmp_path: Path
) -> None:
    """The Job would not wait in any queue."""
    job = with_components(tmp_path / "queued", ("kueue",), ()) / "jobs/digits"
    assert "queue default, and this cluster has no Kueue" in refusal(job)
    api.answers[f"get {KUEUE}"] = {"preferredVersion": {"groupVersion": "kueue.x-k8s.io/v1beta2"}}
    assert "LocalQueue default is missing in namespace hpo-job" in refusal(job)
    stopped = {"type": "Active", "status": "False", "message": "its ClusterQueue is stopped"}
    api.install_kueue(status={"conditions": [stopped]})
    done = cli("submit", job)
    assert done.exit_code == 0, done.output
    assert "LocalQueue default is not active: its ClusterQueue is stopped" in done.stderr


@pytest.mark.parametrize(
    ("pod", "says"),
    [
        ({"priorityClassName": "high"}, "PriorityClass high does not exist"),
        ({"runtimeClassName": "nvidia"}, "RuntimeClass nvidia does not exist"),
        (
            {"resourceClaims": [{"name": "gpu", "resourceClaimTemplateName": "one-gpu"}]},
            "ResourceClaimTemplate one-gpu is missing in namespace hpo-job",
        ),
    ],
)
def test_what_a_pod_names_has_to_be_there(
    refusal: Callable[[Path], str], digits: Path, pod: Object, says: str
) -> None:
    """Pods are made later, so the server's dry run of the Job does not notice."""
    assert says in refusal(patched(digits, **pod))


def test_a_class_that_may_not_be_looked_up(
    api: Api, cli: Callable[..., Result], secret: Object, digits: Path
) -> None:
    api.put("v1/secrets", secret)
    path = "/apis/scheduling.k8s.io/v1/priorityclasses/high"
    api.answers[f"get {path}"] = kmock.KubernetesError(403, "", "forbidden", {})
    done = cli("submit", patched(digits, priorityClassName="high"), "--dry-run")
    assert done.exit_code == 0, done.output
    assert "PriorityClass high not checked: forbidden" in done.stderr


def limits(**limit: Any) -> Object:
    return {"metadata": {"name": "small"}, "spec": {"limits": [{"type": "Container", **limit}]}}


def test_a_limit_range(
    api: Api, cli: Callable[..., Result], refusal: Callable[[Path], str], digits: Path
) -> None:
    api.put("v1/limitranges", limits(max={"memory": "1Gi"}))
    line = refusal(digits)
    assert "LimitRange small in namespace hpo-job: memory 4Gi: a container may have 1Gi" in line
    api.put("v1/limitranges", limits(max={"memory": "4Gi"}))
    assert cli("submit", digits).exit_code == 0


def test_what_a_limit_range_allows() -> None:
    def pod(**resources: Any) -> Object:
        return {"containers": [{"resources": resources}]}

    asks = pod(requests={"cpu": "1"}, limits={"cpu": "2"})
    assert outside(limits(max={"cpu": "2"}, min={"cpu": "1"}), asks) == []
    assert len(outside(limits(max={"cpu": "1500m"}), asks)) == 1
    assert len(outside(limits(min={"cpu": "1100m"}), asks)) == 1
    assert len(outside(limits(maxLimitRequestRatio={"cpu": "1.5"}), asks)) == 1
    assert len(outside(limits(max={"memory": "1Gi"}), asks)) == 1  # no limit, none by default
    assert outside(limits(max={"memory": "1Gi"}, default={"memory": "1Gi"}), asks) == []
    both = {"containers": [*asks["containers"], *asks["containers"]]}
    of_pods = {"metadata": {}, "spec": {"limits": [{"type": "Pod", "max": {"cpu": "3"}}]}}
    assert len(outside(of_pods, both)) == 1
    assert outside(of_pods, asks) == []


def test_pods_of_a_node_are_counted(
    api: Api, cli: Callable[..., Result], digits: Path, secret: Object
) -> None:
    api.put("v1/secrets", secret)
    full = node("a")
    full["status"]["allocatable"]["pods"] = "2"
    api.put("v1/nodes", full, namespace=None)
    other = {
        "metadata": {"name": "p"},
        "status": {"phase": "Running"},
        "spec": {"nodeName": "a", "containers": [{}]},
    }
    api.put("v1/pods", other, namespace="of-others")
    ended = {**other, "metadata": {"name": "ended"}, "status": {"phase": "Failed"}}
    api.put("v1/pods", ended, namespace="of-others")  # holds nothing any more
    done = cli("submit", digits, "--workers", "2", "--dry-run")
    assert "the nodes have space for 1 more worker " in done.stderr


@pytest.mark.parametrize(
    ("requirement", "fits"),
    [
        ({"operator": "In", "values": ["a100"]}, True),
        ({"operator": "In", "values": ["t4"]}, False),
        ({"operator": "NotIn", "values": ["t4"]}, True),
        ({"operator": "NotIn", "values": ["a100"]}, False),
        ({"operator": "Exists"}, True),
        ({"operator": "DoesNotExist"}, False),
        ({"operator": "Gt", "values": ["3"], "key": "cpus"}, True),
        ({"operator": "Gt", "values": ["4"], "key": "cpus"}, False),
        ({"operator": "Lt", "values": ["5"], "key": "cpus"}, True),
        ({"operator": "Lt", "values": ["5"], "key": "absent"}, False),
    ],
)
def test_affinity_that_is_required(requirement: Object, fits: bool) -> None:
    has = {"metadata": {"name": "n", "labels": {"gpu": "a100", "cpus": "4"}}, "spec": {}}
    term = {"matchExpressions": [{"key": "gpu", **requirement}]}
    never = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["other"]}]}

    def pod(*terms: Object) -> Object:
        required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
        return {"affinity": {"nodeAffinity": required}}

    assert takes(has, pod(term)) is fits
    assert takes(has, pod(never, term)) is fits
    assert not takes(has, pod(never))
    assert not takes(has, pod({}))


def test_a_quota_is_asked_for_further_pods_only(
    api: Api, cli: Callable[..., Result], digits: Path, secret: Object
) -> None:
    """One that was lowered since keeps no pod from going on."""
    api.put("v1/secrets", secret)
    assert cli("submit", digits, "--workers", "2").exit_code == 0
    api.objects[f"{JOBS}/digits-worker"]["status"] = {"active": 2}
    hard, used = {"pods": "1"}, {"pods": "2"}
    api.put(
        "v1/resourcequotas",
        {"metadata": {"name": "small"}, "spec": {}, "status": {"hard": hard, "used": used}},
    )
    same = cli("submit", digits, "--workers", "2")
    assert same.exit_code == 0, same.output
    more = cli("submit", digits, "--workers", "3")
    assert more.exit_code == 2
    assert "quota small in namespace hpo-job: pods 1, of which 2 are used" in more.stderr
