"""What may be switched on and set in k8s/: each does what it says, also together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hpo_job.cluster.render import render
from tests import ROOT
from tests.manifests.renders import (
    CLUSTER_COMPONENTS,
    WORKER_COMPONENTS,
    with_components,
    with_examples,
)

Object = dict[str, Any]


@pytest.fixture(scope="session")
def full_pod(tmp_path_factory: pytest.TempPathFactory) -> Object:
    """The worker's pod with every component."""
    every = tmp_path_factory.mktemp("full") / "all"
    with_components(every, WORKER_COMPONENTS, CLUSTER_COMPONENTS)
    (job,) = [thing for thing in render(every / "jobs/digits") if thing["kind"] == "Job"]
    return dict(
        job["spec"]["template"]["spec"],
        suspend=job["spec"].get("suspend"),
        queue=job["metadata"]["labels"].get("kueue.x-k8s.io/queue-name"),
        elastic=job["metadata"]["annotations"].get("kueue.x-k8s.io/elastic-job"),
    )


def test_components_do_what_they_say(full_pod: Object) -> None:
    assert full_pod["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == 1
    tolerated = {each["key"] for each in full_pod["tolerations"]}
    assert {
        "nvidia.com/gpu",
        "cloud.google.com/gke-spot",
        "karpenter.sh/capacity-type",
    } <= tolerated
    volumes = {each["name"]: each for each in full_pod["volumes"]}
    assert volumes["cache"]["persistentVolumeClaim"]["claimName"] == "hpo-job-cache"
    assert full_pod["suspend"] is None  # Kueue's own: applied again, it would stop a running Job
    assert full_pod["queue"] == "default"
    assert full_pod["elastic"] == "true"
    (disk,) = [e for e in full_pod["containers"][0]["env"] if e["name"] == "HPO_JOB_DISK"]
    assert disk["value"] == "/tmp=2Gi"  # the shared volume is not the pod's


@pytest.mark.parametrize("names", [("gpu",), ("spot",), ("gpu", "spot"), ("spot", "gpu")])
def test_components_add_up(names: tuple[str, ...], tmp_path: Path) -> None:
    copy = with_components(tmp_path / "all", names, ())
    (job,) = [t for t in render(copy / "jobs/digits") if t["kind"] == "Job"]
    tolerated = {each["key"] for each in job["spec"]["template"]["spec"]["tolerations"]}
    assert ("nvidia.com/gpu" in tolerated) == ("gpu" in names)
    assert ("cloud.google.com/gke-spot" in tolerated) == ("spot" in names)


def test_what_the_settings_only_show_works_without_its_comment_signs(tmp_path: Path) -> None:
    copy = with_examples(with_components(tmp_path / "all", ("gpu", "kueue"), ()))
    file = copy / "k8s/settings/kustomization.yaml"
    text = file.read_text().replace("value: 1}", "value: 4}")
    file.write_text(text.replace("value: default}", "value: team}"))
    (job,) = [t for t in render(copy / "jobs/digits") if t["kind"] == "Job"]
    pod = job["spec"]["template"]["spec"]
    (disk,) = [e["value"] for e in pod["containers"][0]["env"] if e["name"] == "HPO_JOB_DISK"]
    (cache,) = [v["emptyDir"]["sizeLimit"] for v in pod["volumes"] if v["name"] == "cache"]
    assert disk == f"/cache={cache} /tmp=2Gi"
    limits = job["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]
    assert limits["nvidia.com/gpu"] == 4
    assert job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "team"
    assert job["spec"]["template"]["spec"]["imagePullSecrets"] == [{"name": "registry"}]


def test_no_pod_reaches_the_dashboard(tmp_path: Path) -> None:
    """It asks for no password. A port-forward does not come from a pod."""
    copy = with_components(tmp_path / "all", (), CLUSTER_COMPONENTS)
    policies = {
        t["metadata"]["name"]: t["spec"]
        for t in render(copy / "k8s/cluster")
        if t["kind"] == "NetworkPolicy"
    }
    policy = policies["hpo-job-dashboard"]
    assert policy["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "dashboard"
    assert policy["policyTypes"] == ["Ingress"]
    assert "ingress" not in policy


def test_the_settings_are_one_place(tmp_path: Path) -> None:
    """Image, namespace and Secret: changed there, they are changed everywhere."""
    copy = with_components(tmp_path / "all", (), CLUSTER_COMPONENTS)
    file = copy / "k8s/settings/kustomization.yaml"
    file.write_text(
        file.read_text()
        .replace("namespace: hpo-job", "namespace: elsewhere")
        .replace("newName: hpo-job", "newName: registry.example/ours")
        .replace("secretName: hpo-job-storage", "secretName: other")
    )
    job, cluster, mysql = (
        render(copy / folder) for folder in ("jobs/digits", "k8s/cluster", "k8s/mysql")
    )
    for thing in (*job, *cluster, *mysql):
        if thing["kind"].startswith("ValidatingAdmissionPolicy"):
            continue  # of the whole cluster
        at = "name" if thing["kind"] == "Namespace" else "namespace"
        assert thing["metadata"][at] == "elsewhere"
    specs = {
        t["kind"]: t["spec"]["template"]["spec"]
        for t in (*job, *cluster)
        if t["kind"] in ("Job", "Deployment")
    }
    for spec in specs.values():
        assert spec["containers"][0]["image"] == "registry.example/ours:0.1.0"
        (storage,) = [v for v in spec["volumes"] if v["name"] == "storage"]
        assert storage["secret"]["secretName"] == "other"


@pytest.mark.parametrize(
    ("component", "device"),
    [
        ("gpu-amd", "amd.com/gpu"),
        ("gpu-intel", "gpu.intel.com/xe"),
        ("gpu-mig", "nvidia.com/mig-1g.10gb"),
        ("gpu-shared", "nvidia.com/gpu.shared"),
    ],
)
def test_a_gpu_of_another_kind(component: str, device: str, tmp_path: Path) -> None:
    copy = with_components(tmp_path / "all", (component, "spot"), ())
    (job,) = [t for t in render(copy / "jobs/digits") if t["kind"] == "Job"]
    pod = job["spec"]["template"]["spec"]
    assert pod["containers"][0]["resources"]["limits"][device] == 1
    vendor = {each["key"] for each in pod["tolerations"]} & {device, "nvidia.com/gpu"}
    assert len(vendor) == 1


def test_a_gpu_by_a_claim(tmp_path: Path) -> None:
    """The pod names the claim's template, and the container the claim, by the same names."""
    copy = with_components(tmp_path / "all", ("gpu-dra",), ("gpu-dra-claim",))
    (job,) = [t for t in render(copy / "jobs/digits") if t["kind"] == "Job"]
    (template,) = [t for t in render(copy / "k8s/cluster") if t["kind"] == "ResourceClaimTemplate"]
    pod = job["spec"]["template"]["spec"]
    (claim,) = pod["resourceClaims"]
    assert claim["resourceClaimTemplateName"] == template["metadata"]["name"]
    assert pod["containers"][0]["resources"]["claims"] == [{"name": claim["name"]}]


def test_workers_spread_or_are_packed(tmp_path: Path) -> None:
    """Next to what spot nodes are preferred by."""
    copy = with_components(tmp_path / "all", ("pack", "spot"), ())
    (job,) = [t for t in render(copy / "jobs/digits") if t["kind"] == "Job"]
    pod = job["spec"]["template"]["spec"]
    assert "topologySpreadConstraints" not in pod
    assert set(pod["affinity"]) == {"nodeAffinity", "podAffinity"}


def test_the_database_stays_off_nodes_that_are_reclaimed() -> None:
    from hpo_job.cluster.scheduling import takes

    things = render(ROOT / "k8s/mysql")
    (server,) = [t for t in things if t["kind"] == "StatefulSet"]
    (budget,) = [t for t in things if t["kind"] == "PodDisruptionBudget"]
    labels = server["spec"]["template"]["metadata"]["labels"]
    assert budget["spec"]["selector"]["matchLabels"].items() <= labels.items()
    pod = server["spec"]["template"]["spec"]
    assert takes(node({"kubernetes.io/os": "linux"}), pod)
    for label, value in {
        "cloud.google.com/gke-spot": "true",
        "kubernetes.azure.com/scalesetpriority": "spot",
        "eks.amazonaws.com/capacityType": "SPOT",
        "karpenter.sh/capacity-type": "spot",
    }.items():
        assert not takes(node({label: value}), pod)


def node(labels: Object) -> Object:
    return {"metadata": {"name": "n1", "labels": labels}, "spec": {}}
