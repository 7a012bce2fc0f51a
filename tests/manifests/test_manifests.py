"""The manifests: rendered as they were, valid for the API, and as strict as they promise."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from hpo_job.cluster.render import kustomization, render, worker_job
from hpo_job.spec.reading import read_spec
from hpo_job.worker.disk import NEAR, parse_bytes
from tests import ROOT
from tests.manifests.renders import (
    CLUSTER_COMPONENTS,
    FOLDERS,
    GOLDEN,
    WORKER_COMPONENTS,
    rendered,
    with_components,
)

Object = dict[str, Any]


@pytest.fixture(scope="session")
def texts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return rendered(tmp_path_factory.mktemp("all") / "all")


@pytest.fixture(scope="session")
def objects(tmp_path_factory: pytest.TempPathFactory) -> list[Object]:
    """Every object of every render."""
    every = tmp_path_factory.mktemp("every") / "all"
    with_components(every, WORKER_COMPONENTS, CLUSTER_COMPONENTS)
    folders = [*FOLDERS.values(), every / "jobs/digits", every / "k8s/cluster"]
    return [thing for folder in folders for thing in render(folder)]


@pytest.fixture(scope="session")
def job() -> Object:
    return next(thing for thing in render(ROOT / "jobs/digits") if thing["kind"] == "Job")


@pytest.fixture(scope="session")
def pod(job: Object) -> Object:
    spec: Object = job["spec"]["template"]["spec"]
    return spec


def pod_specs(objects: list[Object]) -> list[Object]:
    specs = [t["spec"]["jobTemplate"]["spec"] for t in objects if t["kind"] == "CronJob"]
    specs += [t["spec"] for t in objects if t["kind"] in ("Job", "StatefulSet", "Deployment")]
    return [spec["template"]["spec"] for spec in specs]


def env(pod: Object) -> dict[str, Object]:
    return {each["name"]: each for each in pod["containers"][0]["env"]}


def test_renders_are_as_they_were(texts: dict[str, str]) -> None:
    """``python -m tests.manifests.renders`` renews them; look at the difference."""
    golden = {file.stem: file.read_text() for file in GOLDEN.glob("*.yaml")}
    assert texts == golden


@pytest.mark.parametrize("file", ["k8s/base/worker.yaml", "k8s/settings/kustomization.yaml"])
def test_decoded_images_leave_space_in_the_cache(file: str) -> None:
    """A worker ends when /cache is nearly full: the images alone must never fill it that far."""
    text = (ROOT / file).read_text()
    (limit,) = re.findall(r"value: /cache=(\w+)", text)
    (share,) = re.findall(r'name: HPO_JOB_CACHE_SIZE(?:, |\n +)value: "(\d+)"', text)
    assert int(share) * 2**30 < 0.75 * NEAR * parse_bytes(limit)


@pytest.mark.parametrize("folder", sorted(ROOT.glob("jobs/*/study.toml")), ids=str)
def test_every_job_folder_can_be_submitted(folder: Path) -> None:
    spec = read_spec(folder.parent)
    worker_job(render(spec.folder), spec, None)


def test_workers_are_told_to_continue_a_study_with_another_function() -> None:
    spec = read_spec(ROOT / "jobs" / "digits")
    objects = render(spec.folder)
    for same_study in (True, False):
        job = worker_job(objects, spec, None, same_study=same_study)
        (container,) = job["spec"]["template"]["spec"]["containers"]
        assert ("--same-study" in container["args"]) is same_study


def test_a_job_is_indexed_and_elastic(job: Object) -> None:
    spec = job["spec"]
    assert spec["completionMode"] == "Indexed"
    assert spec["completions"] == spec["parallelism"] == 2
    assert spec["backoffLimitPerIndex"] >= 3
    # above the new completions, it would make a patch that scales down invalid
    assert "maxFailedIndexes" not in spec
    assert "backoffLimit" not in spec
    assert spec["podReplacementPolicy"] == "Failed"
    assert spec["ttlSecondsAfterFinished"] >= 86400


def test_what_ends_a_pod_is_told_apart(job: Object) -> None:
    rules = job["spec"]["podFailurePolicy"]["rules"]
    by_exit_code = [rule for rule in rules if "onExitCodes" in rule]
    codes = {rule["onExitCodes"]["values"][0]: rule["action"] for rule in by_exit_code}
    assert codes == {1: "Count", 2: "FailJob", 143: "Ignore"}
    assert all(rule["onExitCodes"]["containerName"] == "worker" for rule in by_exit_code)
    # what a worker is at fault for counts, even if the node evicts it for that
    assert rules[0] == by_exit_code[0]
    assert rules[1] == {
        "action": "Ignore",
        "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
    }


def test_a_preempted_trial_has_time_to_be_saved(pod: Object) -> None:
    from hpo_job.storage.timeouts import STOPPING_PATIENCE

    assert pod["terminationGracePeriodSeconds"] >= STOPPING_PATIENCE + 60


def test_pods_are_restricted(objects: list[Object]) -> None:
    """As the Pod Security Standard `restricted` asks, and a read-only root file system."""
    allowed = {"configMap", "secret", "emptyDir", "persistentVolumeClaim"}
    for spec in pod_specs(objects):
        security = spec["securityContext"]
        assert security["runAsNonRoot"] is True
        assert security["runAsUser"] > 0
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec["automountServiceAccountToken"] is False
        assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
        for volume in spec["volumes"]:
            assert volume.keys() - {"name"} <= allowed
        for container in spec["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }


def test_the_namespace_enforces_restricted() -> None:
    (namespace,) = [t for t in render(ROOT / "k8s/cluster") if t["kind"] == "Namespace"]
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


def test_a_worker_has_no_token() -> None:
    (account,) = [t for t in render(ROOT / "jobs/digits") if t["kind"] == "ServiceAccount"]
    assert account["automountServiceAccountToken"] is False


def test_shared_memory_is_memory(pod: Object) -> None:
    (shm,) = [each for each in pod["volumes"] if each["name"] == "shm"]
    assert shm["emptyDir"]["medium"] == "Memory"
    mounts = {m["name"]: m["mountPath"] for m in pod["containers"][0]["volumeMounts"]}
    assert mounts["shm"] == "/dev/shm"
    assert mounts["study"] == "/job"


def test_pods_ask_for_resources_and_spread(pod: Object) -> None:
    resources = pod["containers"][0]["resources"]
    assert resources["requests"].keys() >= {"cpu", "memory", "ephemeral-storage"}
    assert resources["limits"].keys() >= {"cpu", "memory", "ephemeral-storage"}
    folders = [each["emptyDir"] for each in pod["volumes"] if "emptyDir" in each]
    assert all("sizeLimit" in folder for folder in folders)
    (spread,) = pod["topologySpreadConstraints"]
    assert spread["topologyKey"] == "kubernetes.io/hostname"
    assert spread["matchLabelKeys"] == ["batch.kubernetes.io/job-name"]


def test_a_worker_knows_who_it_is(pod: Object) -> None:
    variables = env(pod)
    where = {
        name: each["valueFrom"]["fieldRef"]["fieldPath"]
        for name, each in variables.items()
        if "fieldRef" in each.get("valueFrom", {})
    }
    assert where == {
        "HPO_JOB_OWNER": "metadata.labels['batch.kubernetes.io/controller-uid']",
        "HPO_JOB_INDEX": "metadata.annotations['batch.kubernetes.io/job-completion-index']",
        "HPO_JOB_POD": "metadata.name",
        "HPO_JOB_NODE": "spec.nodeName",
    }
    assert variables["HPO_JOB_IMAGE"]["value"] == pod["containers"][0]["image"]
    assert variables["HPO_JOB_THREADS"]["valueFrom"]["resourceFieldRef"]["resource"] == "limits.cpu"


def test_the_server_fills_in_nothing_of_the_environment(pod: Object) -> None:
    """What it fills in belongs to nobody, and `apply --server-side` finds a conflict in it."""
    for variable in env(pod).values():
        source = variable.get("valueFrom", {})
        assert source.get("fieldRef", {"apiVersion": "v1"})["apiVersion"] == "v1"
        assert "divisor" in source.get("resourceFieldRef", {"divisor": "0"})


def test_a_changed_study_has_another_config_map(tmp_path: Path) -> None:
    names = []
    for number in (1, 2):
        copy = with_components(tmp_path / str(number), (), ())
        study = copy / "jobs/digits/study.toml"
        study.write_text(study.read_text().replace("trials = 30", f"trials = {number}"))
        things = render(copy / "jobs/digits")
        (config,) = [t["metadata"]["name"] for t in things if t["kind"] == "ConfigMap"]
        (job,) = [t for t in things if t["kind"] == "Job"]
        volumes = {v["name"]: v for v in job["spec"]["template"]["spec"]["volumes"]}
        assert volumes["study"]["configMap"]["name"] == config
        names.append(config)
    assert names[0] != names[1]


def test_a_job_folder_needs_only_its_study(tmp_path: Path) -> None:
    """The kustomization.yaml that is written for it is that of the shipped jobs."""
    copy = with_components(tmp_path / "all", (), ())
    file = copy / "jobs/digits/kustomization.yaml"
    shipped = yaml.safe_load(file.read_text())
    file.unlink()
    with kustomization(read_spec(copy / "jobs/digits"), 2, keep=True) as path:
        assert path == file
    written = yaml.safe_load(file.read_text())
    written["configMapGenerator"][0]["files"].sort(reverse=True)
    assert written == shipped


def test_credentials_of_buckets_reach_a_worker(pod: Object) -> None:
    """From a Secret that need not be there."""
    (source,) = pod["containers"][0]["envFrom"]
    assert source["secretRef"] == {"name": "hpo-job-data", "optional": True}


def test_only_workers_and_dashboard_reach_the_database() -> None:
    policies = {
        t["metadata"]["name"]: t["spec"]
        for t in render(ROOT / "k8s/cluster")
        if t["kind"] == "NetworkPolicy"
    }
    (rule,) = policies["hpo-job-mysql"]["ingress"]
    assert rule["ports"] == [{"protocol": "TCP", "port": 3306}]
    assert rule["from"] == [{"podSelector": {"matchLabels": {"app.kubernetes.io/name": "hpo-job"}}}]
    assert "ingress" not in policies["hpo-job-worker"]  # nobody talks to a worker


def test_the_database_keeps_its_data_and_its_password_is_secret() -> None:
    (server,) = [t for t in render(ROOT / "k8s/mysql") if t["kind"] == "StatefulSet"]
    container = server["spec"]["template"]["spec"]["containers"][0]
    assert container["image"].endswith("mysql:8.4")
    assert server["spec"]["volumeClaimTemplates"]
    for variable in container["env"]:
        if "PASSWORD" in variable["name"]:
            assert variable["valueFrom"]["secretKeyRef"]["name"] == "hpo-job-mysql"
