"""Submitting, scaling and looking, against a stand-in for the API server."""

from __future__ import annotations

import base64
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kmock
import optuna
import pytest
import yaml
from click.testing import Result

from hpo_job.cluster.pods import describe, indexes_in
from hpo_job.cluster.resources import fits, plain, quantity, requests, shortages, used_by
from hpo_job.cluster.scheduling import takes
from hpo_job.errors import StorageError
from tests import ROOT
from tests.cluster.conftest import Api
from tests.cluster.test_errors import JOB, JOBS, LABELS
from tests.manifests.renders import with_components

Object = dict[str, Any]
pytestmark = pytest.mark.usefixtures("namespace")


def selecting(scope: str, operator: str, *values: str) -> Object:
    """The spec of a quota with one scope selector."""
    requirement = {"scopeName": scope, "operator": operator, "values": list(values)}
    return {"scopeSelector": {"matchExpressions": [requirement]}}


@pytest.fixture
def job() -> Object:
    copied: Object = yaml.safe_load(yaml.safe_dump(JOB))
    return copied


def test_what_is_previewed_is_what_is_sent(
    api: Api, cli: Callable[..., Result], digits: Path, secret: Object
) -> None:
    api.put("v1/secrets", secret)
    preview = cli("submit", digits, "--workers", "3", "--dry-run")
    assert preview.exit_code == 0, preview.output
    assert api.applied == []
    assert api.dry_runs == 3
    done = cli("submit", digits, "--workers", "3")
    assert done.exit_code == 0, done.output
    assert api.applied == list(yaml.safe_load_all(preview.stdout))
    (sent,) = [thing for thing in api.applied if thing["kind"] == "Job"]
    assert sent["spec"]["parallelism"] == sent["spec"]["completions"] == 3
    for command in ("status digits --cluster", "logs digits -f", "results digits --cluster"):
        assert command in done.stdout
    assert max(map(len, done.stdout.splitlines()[-3:])) <= 80


def test_a_warning_of_models_that_are_deleted_with_their_pods(
    api: Api, cli: Callable[..., Result], digits: Path, secret: Object
) -> None:
    """Of a study that keeps some, where neither a bucket nor a volume does."""
    api.put("v1/secrets", secret)
    cautions = "are deleted with their pods"
    assert cautions not in cli("submit", digits, "--dry-run").stderr
    animals = digits.parent / "people-vs-animals"
    shutil.copytree(ROOT / "jobs/people-vs-animals", animals, ignore=shutil.ignore_patterns(".hpo"))
    assert cautions in cli("submit", animals, "--dry-run").stderr
    study, kept = animals / "study.toml", (animals / "study.toml").read_text()
    for table in ('store = "s3://models"', "keep = 0"):
        study.write_text(f"{kept}\n[artifacts]\n{table}\n")
        assert cautions not in cli("submit", animals, "--dry-run").stderr
    study.write_text(kept)
    volume = {"name": "cache", "persistentVolumeClaim": {"claimName": "c"}, "emptyDir": None}
    file = animals / "kustomization.yaml"
    patch = {"spec": {"template": {"spec": {"volumes": [volume]}}}}
    whole = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "worker"}, **patch}
    manifest = yaml.safe_load(file.read_text())
    manifest["patches"].append({"target": {"kind": "Job"}, "patch": yaml.safe_dump(whole)})
    file.write_text(yaml.safe_dump(manifest))
    api.put("v1/persistentvolumeclaims", {"metadata": {"name": "c"}, "status": {}})
    done = cli("submit", animals, "--dry-run")
    assert "claimName: c" in done.stdout
    assert cautions not in done.stderr


@pytest.mark.parametrize("name", ["2024", "1e3", "null"])
def test_a_name_that_yaml_would_take_for_something_else(
    api: Api, cli: Callable[..., Result], digits: Path, secret: Object, name: str
) -> None:
    api.put("v1/secrets", secret)
    (digits / "kustomization.yaml").unlink()
    study = digits / "study.toml"
    study.write_text(study.read_text().replace('name = "digits"', f'name = "{name}"'))
    done = cli("submit", digits)
    assert done.exit_code == 0, done.output
    assert f"job/{name}-worker" in done.stdout


def test_manifests_under_another_of_kustomizes_names(
    api: Api, cli: Callable[..., Result], digits: Path, secret: Object
) -> None:
    api.put("v1/secrets", secret)
    (digits / "kustomization.yaml").rename(digits / "kustomization.yml")
    done = cli("submit", digits)
    assert done.exit_code == 0, done.output
    assert not (digits / "kustomization.yaml").exists()


def test_a_name_of_no_pod_leaves_no_manifests(
    api: Api, cli: Callable[..., Result], digits: Path
) -> None:
    (digits / "kustomization.yaml").unlink()
    study = digits / "study.toml"
    study.write_text(study.read_text().replace('name = "digits"', f'name = "{"x" * 60}"'))
    assert "characters too long" in cli("submit", digits).stderr
    assert not (digits / "kustomization.yaml").exists()


def test_a_folder_without_manifests_gets_them(
    api: Api, cli: Callable[..., Result], digits: Path, secret: Object
) -> None:
    api.put("v1/secrets", secret)
    (digits / "kustomization.yaml").unlink()
    preview = cli("submit", digits, "--workers", "5", "--dry-run")
    assert "parallelism: 5" in preview.stdout
    assert not (digits / "kustomization.yaml").exists()
    done = cli("submit", digits, "--workers", "5")
    assert done.exit_code == 0, done.output
    assert "wrote" in done.stderr
    assert (digits / "kustomization.yaml").is_file()


def test_what_was_set_is_passed_on_to_the_workers(
    api: Api, cli: Callable[..., Result], digits: Path, secret: Object
) -> None:
    api.put("v1/secrets", secret)
    done = cli("submit", digits, "--set", "budget.trials=7", "--dry-run")
    assert done.exit_code == 0, done.output
    assert f"--set budget.trials=7, instead of {digits}/study.toml's" in done.stderr
    (job,) = [each for each in yaml.safe_load_all(done.stdout) if each["kind"] == "Job"]
    (worker,) = job["spec"]["template"]["spec"]["containers"]
    assert worker["args"] == ["worker", "/job", "--no-wait", "--set", "budget.trials=7"]
    assert cli("submit", digits, "--set", "budget.trails=7").exit_code == 2


def immutable(api: Api) -> None:
    api.answer(f"patch {JOBS}/digits-worker", 422, "spec.template: field is immutable")


def test_a_changed_study_needs_replace(
    api: Api, cli: Callable[..., Result], digits: Path, secret: Object, job: Object
) -> None:
    api.put("v1/secrets", secret)
    old = {
        "metadata": {"name": "digits-study-old", "labels": job["metadata"]["labels"]},
        "data": {"study.toml": "another", "objective.py": (digits / "objective.py").read_text()},
    }
    api.put("v1/configmaps", old)
    volume = {"name": "study", "configMap": {"name": "digits-study-old"}}
    job["spec"]["template"]["spec"]["volumes"] = [volume]
    api.put("batch/v1/jobs", job)
    immutable(api)
    refused = cli("submit", digits)
    assert refused.exit_code == 2
    assert "Job digits-worker exists already, with another study.toml; --replace" in refused.stderr
    assert "trials in the database stay" in refused.stderr
    assert api.applied == []
    preview = cli("submit", digits, "--dry-run")
    assert "add --replace" in preview.stderr


def test_what_kueue_has_added_is_no_change(
    api: Api, cli: Callable[..., Result], secret: Object, tmp_path: Path
) -> None:
    """Tolerations of the flavor that it has let the Job in with; a list, so not one field each."""
    api.put("v1/secrets", secret)
    api.install_kueue()
    digits = with_components(tmp_path / "queued", ("kueue", "spot"), ()) / "jobs/digits"
    assert cli("submit", digits, "--workers", "2").exit_code == 0
    path = "/apis/batch/v1/namespaces/hpo-job/jobs/digits-worker"
    pod = api.objects[path]["spec"]["template"]["spec"]
    flavor = {"key": "gpu-type", "value": "a100", "effect": "NoSchedule"}
    pod["tolerations"] = [*pod["tolerations"], flavor]
    for workers in ("5", "6"):
        again = cli("submit", digits, "--workers", workers)
        assert again.exit_code == 0, again.output
    assert api.objects[path]["spec"]["parallelism"] == 6
    assert flavor in api.objects[path]["spec"]["template"]["spec"]["tolerations"]


def test_tolerations_that_are_taken_away_are_a_change(
    api: Api, cli: Callable[..., Result], secret: Object, tmp_path: Path
) -> None:
    """Also in a queue: nobody but the folder has changed them."""
    api.put("v1/secrets", secret)
    api.install_kueue()
    clone = with_components(tmp_path / "queued", ("kueue", "spot"), ())
    assert cli("submit", clone / "jobs/digits").exit_code == 0
    settings = clone / "k8s/settings/kustomization.yaml"
    settings.write_text(settings.read_text().replace("  - ../components/spot", "  #"))
    refused = cli("submit", clone / "jobs/digits")
    assert refused.exit_code == 2
    assert "another pod template" in refused.stderr


def test_a_job_that_has_ended_needs_replace(
    api: Api, cli: Callable[..., Result], digits: Path, secret: Object, job: Object
) -> None:
    api.put("v1/secrets", secret)
    job["status"] = {"conditions": [{"type": "Complete", "status": "True"}]}
    api.put("batch/v1/jobs", job)
    refused = cli("submit", digits)
    assert "has ended already; --replace starts it again" in refused.stderr


def test_a_job_that_was_scaled_keeps_its_workers(
    api: Api, cli: Callable[..., Result], digits: Path, secret: Object, job: Object
) -> None:
    api.put("v1/secrets", secret)
    job["spec"].update(parallelism=8, completions=8)
    api.put("batch/v1/jobs", job)
    done = cli("submit", digits)
    assert done.exit_code == 0, done.output
    assert f"the Job has 8 workers, and {digits}/kustomization.yaml says 2" in done.stderr
    assert "8 workers of" in done.stdout
    assert "configured job/digits-worker" in done.stdout
    assert "created    configmap/digits-study" in done.stdout
    lowered = cli("submit", digits, "--workers", "2")
    assert "which kubectl apply -k would set" not in lowered.stderr
    assert "job/digits-worker: 8 workers, 2 from now on" in lowered.stdout
    assert api.objects[f"{JOBS}/digits-worker"]["spec"]["parallelism"] == 2


def test_submitting_with_fewer_workers_does_not_end_the_job(
    api: Api,
    cli: Callable[..., Result],
    digits: Path,
    secret: Object,
    job: Object,
    worker_pod: Callable[..., Object],
) -> None:
    api.put("v1/secrets", secret)
    job["status"] = {"completedIndexes": "0", "active": 1}
    api.put("batch/v1/jobs", job)
    api.put("v1/pods", worker_pod(1))
    refused = cli("submit", digits, "--workers", "1")
    assert refused.exit_code == 2
    assert "interrupt what runs in index 1;" in refused.stderr
    assert api.applied == []


def test_replacing_ends_the_job_first(
    api: Api, cli: Callable[..., Result], digits: Path, secret: Object, job: Object
) -> None:
    api.put("v1/secrets", secret)
    job["status"] = {"conditions": [{"type": "Complete", "status": "True"}]}
    api.put("batch/v1/jobs", job)
    old = {"metadata": {"name": "digits-study-old", "labels": LABELS}}
    api.put("v1/configmaps", old)
    done = cli("submit", digits, "--replace")
    assert done.exit_code == 0, done.output
    assert "replacing Job digits-worker" in done.stdout
    assert "created    job/digits-worker" in done.stdout  # so the old one was deleted
    assert not [name for name in api.objects if name.endswith("digits-study-old")]
    api.put("v1/configmaps", old)
    api.put(
        "batch/v1/jobs",
        {
            **job,
            "metadata": {
                **job["metadata"],
                "labels": {**LABELS, "kueue.x-k8s.io/queue-name": "team"},
            },
        },
    )
    assert cli("submit", digits, "--replace").exit_code == 0
    assert not [name for name in api.objects if name.endswith("digits-study-old")]


def started_otherwise(api: Api, job: Object, phase: str = "Running") -> None:
    """Let a Job run whose two pods differ from those of the folder; each has one CPU of node a."""
    tolerations = [{"key": "old", "operator": "Exists"}]
    job["spec"]["template"]["spec"]["tolerations"] = tolerations
    job["status"] = {"active": 2}
    api.put("batch/v1/jobs", job)
    api.tolerations[f"{JOBS}/digits-worker"] = tolerations  # it was hpo-job that applied them
    for index in range(2):
        api.put("v1/pods", running_pod(index, phase, requests={"cpu": "1"}))


def running_pod(index: int, phase: str = "Running", **resources: Any) -> Object:
    """A pod of the Job digits-worker."""
    labels = {"batch.kubernetes.io/job-name": "digits-worker"}
    return {
        "metadata": {"name": f"digits-worker-{index}-abcde", "uid": f"p{index}", "labels": labels},
        "spec": {"nodeName": "a", "containers": [{"resources": resources}]},
        "status": {"phase": phase},
    }


def edited(digits: Path, old: str, new: str) -> None:
    """Change the settings that the job folder uses."""
    file = digits.parents[1] / "k8s/settings/kustomization.yaml"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))


def test_no_job_is_ended_for_one_that_the_server_refuses(
    api: Api, cli: Callable[..., Result], digits: Path, secret: Object, job: Object
) -> None:
    """The dry run over the old Job says only that its pods cannot be changed."""
    api.put("v1/secrets", secret)
    api.put("v1/nodes", node("a"), namespace=None)
    started_otherwise(api, job)
    edited(digits, 'requests: {cpu: "1"', 'requests: {cpu: "90"')
    refused = cli("submit", digits, "--replace")
    assert refused.exit_code == 2
    assert (
        "Job digits-worker: spec.template.spec.containers[0].resources.requests" in refused.stderr
    )
    assert "must be less than or equal to cpu limit of 2" in refused.stderr
    assert f"delete {JOBS}/digits-worker" not in api.calls
    edited(digits, 'requests: {cpu: "90"', 'requests: {cpu: "1"')
    assert cli("submit", digits, "--replace").exit_code == 0
    assert f"delete {JOBS}/digits-worker" in api.calls


def test_no_job_is_ended_for_one_that_no_node_takes(
    api: Api, cli: Callable[..., Result], digits: Path, secret: Object, job: Object
) -> None:
    api.put("v1/secrets", secret)
    api.put("v1/nodes", node("a", unschedulable=True), namespace=None)
    started_otherwise(api, job)
    assert "exists already" in cli("submit", digits).stderr  # before what it would end
    refused = cli("submit", digits, "--replace")
    assert refused.exit_code == 2
    assert "no node takes it, because of taints" in refused.stderr
    assert "the workers that run now would be ended for it" in refused.stderr
    assert f"delete {JOBS}/digits-worker" not in api.calls
    assert cli("submit", digits, "--replace", "--nodes-may-come").exit_code == 0


def test_a_job_whose_pods_wait_is_replaced_also_where_no_node_takes_the_next(
    api: Api, cli: Callable[..., Result], digits: Path, secret: Object, job: Object
) -> None:
    """No trial is interrupted, and the cluster may add nodes."""
    api.put("v1/secrets", secret)
    api.put("v1/nodes", node("a", unschedulable=True), namespace=None)
    started_otherwise(api, job, phase="Pending")
    done = cli("submit", digits, "--replace")
    assert done.exit_code == 0, done.output
    assert "pods wait, unless the cluster adds such a node" in done.stderr


def test_the_nodes_have_the_space_of_the_pods_that_are_replaced(
    api: Api, cli: Callable[..., Result], digits: Path, secret: Object, job: Object
) -> None:
    """Four CPUs, of which one stays in use; the new workers ask for two each."""
    api.put("v1/secrets", secret)
    api.put("v1/nodes", node("a"), namespace=None)
    asks = {"containers": [{"resources": {"requests": {"cpu": "1"}}}], "nodeName": "a"}
    other = {"metadata": {"name": "p", "uid": "o"}, "status": {"phase": "Running"}, "spec": asks}
    api.put("v1/pods", other, namespace="of-others")
    started_otherwise(api, job)
    edited(digits, 'requests: {cpu: "1"', 'requests: {cpu: "2"')
    said = cli("submit", digits, "--replace", "--dry-run").stderr
    assert "the nodes have space for 1 worker (each asks for cpu 2" in said
    assert "the other 1 will wait" in said
    assert "1 node with space for 1 worker;" in said


def test_what_the_server_warns_of_is_shown(
    api: Api, cli: Callable[..., Result], digits: Path, secret: Object
) -> None:
    api.put("v1/secrets", secret)
    api.warnings.append('would violate PodSecurity \\"restricted:latest\\"')
    done = cli("submit", digits)
    assert done.stderr.count('hpo-job: would violate PodSecurity "restricted:latest"') == 1


def test_how_many_workers_have_space(
    api: Api, cli: Callable[..., Result], digits: Path, secret: Object
) -> None:
    """Four CPUs, of which three are used, and each worker asks for one."""
    api.put("v1/secrets", secret)
    api.put("v1/nodes", node("a"), namespace=None)
    asks = {"resources": {"requests": {"cpu": "3"}}}
    used = {
        "metadata": {"name": "p"},
        "status": {"phase": "Running"},
        "spec": {"nodeName": "a", "containers": [asks]},
    }
    api.put("v1/pods", used, namespace="of-others")
    said = cli("submit", digits, "--workers", "3", "--dry-run").stderr
    asked = "cpu 1, ephemeral-storage 2Gi, memory 2Gi"
    assert f"the nodes have space for 1 more worker (each asks for {asked})" in said
    assert "the other 2 will wait" in said
    api.put("v1/nodes", node("a", unschedulable=True), namespace=None)
    assert "no node takes it, because of taints" in cli("submit", digits, "--dry-run").stderr
    api.put("v1/nodes", node("a"), namespace=None)
    used["status"] = {"phase": "Failed"}
    assert "1 node with space for 4 more workers;" in cli("submit", digits, "--dry-run").stderr
    api.answer("get /api/v1/pods", 403, "forbidden")
    assert (
        "space for 4 more workers, if nothing else ran there"
        in cli("submit", digits, "--dry-run").stderr
    )


def test_gpu_nodes_may_come(
    api: Api, cli: Callable[..., Result], digits: Path, secret: Object
) -> None:
    copy = with_components(digits.parents[1] / "gpu", ("gpu",), ())
    api.put("v1/secrets", secret)
    refused = cli("submit", copy / "jobs/digits")
    assert refused.exit_code == 2
    assert "--nodes-may-come" in refused.stderr
    done = cli("submit", copy / "jobs/digits", "--nodes-may-come")
    assert done.exit_code == 0, done.output
    assert "pods wait, unless the cluster adds such a node" in done.stderr
    assert len(api.applied) == 3


def test_a_stopped_job_is_not_said_to_run(
    api: Api, cli: Callable[..., Result], digits: Path, secret: Object, job: Object
) -> None:
    api.put("v1/secrets", secret)
    job["spec"]["suspend"] = True
    api.put("batch/v1/jobs", job)
    assert "the Job is stopped: hpo-job resume digits" in cli("submit", digits).stderr
    job["metadata"]["labels"] = {**LABELS, "kueue.x-k8s.io/queue-name": "team"}
    assert "resume" not in cli("submit", digits).stderr
    job["spec"]["suspend"] = True
    job["status"] = {"conditions": [{"type": "Suspended", "status": "True"}]}
    assert "waits in queue team" in cli("status", "digits", "--cluster").stdout


def test_scale_patches_both_fields(api: Api, cli: Callable[..., Result], job: Object) -> None:
    api.put("batch/v1/jobs", job)
    done = cli("scale", "digits", "8")
    assert done.exit_code == 0, done.output
    assert "2 workers, 8 from now on" in done.stdout
    spec = api.objects[f"{JOBS}/digits-worker"]["spec"]
    assert (spec["parallelism"], spec["completions"]) == (8, 8)


def test_scaling_warns_of_a_quota_that_has_too_little_left(
    api: Api, cli: Callable[..., Result], job: Object
) -> None:
    """The Job gets its number all the same: pods are created when the quota has space."""
    job["spec"]["template"]["spec"]["containers"] = [{}]
    job["status"] = {"active": 2}
    api.put("batch/v1/jobs", job)
    quota: Object = {"metadata": {"name": "small"}, "spec": {}}
    quota["status"] = {"hard": {"pods": "3"}, "used": {"pods": "2"}}
    api.put("v1/resourcequotas", quota)
    done = cli("scale", "digits", "4")
    assert done.exit_code == 0, done.output
    assert done.stderr == (
        "hpo-job: quota small in namespace hpo-job: pods 3, of which 2 are used: too little for 2 "
        "more workers (2); some will wait\n"
    )
    assert "2 workers, 4 from now on" in done.stdout
    assert cli("scale", "digits", "3").stderr == ""


def test_status_counts_the_indexes_that_failed(
    api: Api, cli: Callable[..., Result], digits: Path, secret: Object
) -> None:
    """Index 0 alone is one of them."""
    api.put("v1/secrets", secret)
    assert cli("submit", digits, "--workers", "5").exit_code == 0
    job = api.objects[f"{JOBS}/digits-worker"]
    job["status"] = {"active": 1, "failedIndexes": "0"}
    assert "0 of 5 succeeded, 1 failed (index 0)" in cli("status", "digits", "--cluster").stdout
    job["status"] = {"active": 1, "failedIndexes": "0,2-4"}
    assert "4 failed (index 0,2-4)" in cli("status", "digits", "--cluster").stdout


@pytest.mark.parametrize("ended", ["completedIndexes", "failedIndexes"])
def test_scaling_down_does_not_end_the_job(
    api: Api,
    cli: Callable[..., Result],
    job: Object,
    worker_pod: Callable[..., Object],
    ended: str,
) -> None:
    """Index 0 has nothing more to start, or failed too often; index 1 runs the last trial."""
    job["status"] = {ended: "0", "active": 1}
    api.put("batch/v1/jobs", job)
    api.put("v1/pods", worker_pod(1))
    refused = cli("scale", "digits", "1")
    assert refused.exit_code == 2
    assert "interrupt what runs in index 1;" in refused.stderr


def test_stop_and_resume(api: Api, cli: Callable[..., Result], job: Object) -> None:
    api.put("batch/v1/jobs", job)
    for command, suspended in (("stop", True), ("resume", False)):
        assert cli(command, "digits").exit_code == 0
        spec = api.objects[f"{JOBS}/digits-worker"]["spec"]
        assert spec["suspend"] is suspended
        again = "is stopped already" if suspended else "was not stopped"
        assert cli(command, "digits").stdout == f"job/digits-worker: {again}\n"


def test_status_says_why_a_pod_waits(
    api: Api,
    cli: Callable[..., Result],
    job: Object,
    secret: Object,
    worker_pod: Callable[..., Object],
) -> None:
    api.put("v1/secrets", secret)
    api.put("batch/v1/jobs", job)
    why = {"type": "PodScheduled", "status": "False", "message": "0/1 nodes: 1 Insufficient cpu."}
    api.put("v1/pods", worker_pod(0, startTime="2026-01-01T00:00:00Z"))
    api.put("v1/pods", worker_pod(1, "Pending", conditions=[why]))
    done = cli("status", "digits", "--cluster")
    assert done.exit_code == 0, done.output
    text = " ".join(done.stdout.split())
    assert "digits-worker in hpo-job: 2 workers" in text
    assert "Running n1" in text
    assert "unschedulable:" in text
    assert "study storage" in text  # the database's own line in the study's place
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_status_says_why_there_are_no_pods(
    api: Api, cli: Callable[..., Result], job: Object, worker_pod: Callable[..., Object]
) -> None:
    """A quota, a limit, or the namespace's security standard: the Job itself says nothing."""
    api.put("batch/v1/jobs", job)
    api.note("Job", "u", "Error creating: exceeded quota: small", "2026-01-01T00:01:00Z")
    api.note("Job", "u", "older", "2026-01-01T00:00:00Z")
    assert "Error creating: exceeded quota: small" in cli("status", "digits", "--cluster").stdout
    assert "Error creating: exceeded quota: small" in cli("logs", "digits").stderr
    job["status"] = {"active": 2}
    assert "Error creating" not in cli("status", "digits", "--cluster").stdout
    api.put("v1/pods", worker_pod(0, "Pending"))
    api.note("Pod", "p0", "MountVolume.SetUp failed for volume storage")
    text = " ".join(cli("status", "digits", "--cluster").stdout.split())
    assert "MountVolume.SetUp failed" in text
    assert "MountVolume.SetUp failed" in cli("logs", "digits").stderr
    api.answer("get /api/v1/namespaces/hpo-job/events", 403, "forbidden")
    assert cli("status", "digits", "--cluster").exit_code == 0


def test_restarts_count_what_the_failure_policy_ignores(worker_pod: Callable[..., Object]) -> None:
    pod = worker_pod(0, containerStatuses=[{"restartCount": 1, "state": {}}])
    pod["metadata"]["annotations"] |= {
        "batch.kubernetes.io/job-index-failure-count": "2",
        "batch.kubernetes.io/job-index-ignored-failure-count": "3",
    }
    assert describe(pod, {}).restarts == 6


def test_an_eviction_says_for_what(worker_pod: Callable[..., Object]) -> None:
    """Rather than with which exit code the kubelet has ended the container."""
    pod = worker_pod(
        0,
        "Failed",
        reason="Evicted",
        message='Usage of EmptyDir volume "cache" exceeds the limit "16Gi". ',
        containerStatuses=[{"name": "worker", "state": {"terminated": {"exitCode": 137}}}],
    )
    expected = 'evicted: Usage of EmptyDir volume "cache" exceeds the limit "16Gi".'
    assert describe(pod, {}).why == expected


def test_a_watch_goes_on_over_a_network_that_is_away(
    api: Api, cli: Callable[..., Result], job: Object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hpo_job.cli.cluster_status.INTERVAL", 0.01)
    asked = []

    def look() -> Object:
        asked.append(1)
        if len(asked) == 2:
            raise kmock.KubernetesError(500, "", "etcd is away", {})
        if len(asked) == 3:
            job["status"] = {"conditions": [{"type": "Complete", "status": "True"}]}
        return job

    api.answers[f"get {JOBS}/digits-worker"] = look
    done = cli("status", "digits", "--cluster", "--watch")
    assert done.exit_code == 0, done.output
    assert len(asked) == 3
    assert "complete" in done.stdout


def test_a_watch_of_a_thousand_pods_asks_the_api_server_rarely(
    api: Api,
    cli: Callable[..., Result],
    job: Object,
    worker_pod: Callable[..., Object],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every look lists all of them, so the looks become rarer; what they list stays readable."""
    job["spec"].update(parallelism=1000, completions=1000)
    api.put("batch/v1/jobs", job)
    for number in range(1000):
        image = {"imageID": f"hpo-job@sha256:{'ab'[number % 2]}", "state": {"running": {}}}
        pod = worker_pod(number, containerStatuses=[image])
        api.put("v1/pods", pod)
    waits = worker_pod(7, "Pending", conditions=[{"type": "PodScheduled", "status": "False"}])
    api.put("v1/pods", waits)
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 3:
            job["status"] = {"conditions": [{"type": "Complete", "status": "True"}]}

    monkeypatch.setattr("hpo_job.cli.cluster_status.time.sleep", sleep)
    done = cli("status", "digits", "--cluster", "--watch")
    assert done.exit_code == 0, done.output
    requests_per_minute = len(api.calls) / sum(slept) * 60
    assert requests_per_minute < 90  # with a database that is looked for each time
    assert api.calls.count("get /api/v1/namespaces/hpo-job/pods") / sum(slept) * 60 <= 8
    last = done.stdout.split("pod ")[-1]
    assert "digits-worker-7-abcde" in last
    assert "and 950 more pods: 950 Running" in last
    others = "indexes 0, 2, 4, 6, 8, 10, 12, 14, 16, 18 and 490 more: another image than others"
    assert others in " ".join(last.split())


def test_status_says_what_a_worker_without_a_trial_waits_for(
    api: Api,
    cli: Callable[..., Result],
    job: Object,
    secret: Object,
    worker_pod: Callable[..., Object],
) -> None:
    """Its log has the driver's reason: what is reached from here may not be from the pods."""
    api.put("v1/secrets", secret)
    api.put("batch/v1/jobs", job)
    api.put("v1/pods", worker_pod(0, containerStatuses=[{"state": {"running": {}}}]))
    log = "get /api/v1/namespaces/hpo-job/pods/digits-worker-0-abcde/log"
    reason = "MySQL error 2005: Unknown server host 'db' (Name or service not known)"
    line = f"hpo-job: db/hpo: waiting for the server, 598 s at most: {reason}"
    api.answers[log] = f"2026-01-01T00:00:00.000000000Z {line}\n".encode()
    text = " ".join(cli("status", "digits", "--cluster").stdout.split())
    assert f"index 0: waits for the database: {reason}" in text
    api.answers[log] = b"2026-01-01T00:00:00.000000000Z hpo-job: trial 0 COMPLETE 1\n"
    assert "waits for" not in cli("status", "digits", "--cluster").stdout
    api.answer(log, 403, "forbidden")
    assert cli("status", "digits", "--cluster").exit_code == 0


@pytest.mark.parametrize("looks", [0, 1])
def test_a_watch_ends_with_credentials_that_do_not_do(
    api: Api, cli: Callable[..., Result], job: Object, monkeypatch: pytest.MonkeyPatch, looks: int
) -> None:
    monkeypatch.setattr("hpo_job.cli.cluster_status.INTERVAL", 0.01)
    asked = []

    def look() -> Object:
        asked.append(1)
        if len(asked) > looks:
            raise kmock.KubernetesError(401, "", "Unauthorized", {})
        return job

    api.answers[f"get {JOBS}/digits-worker"] = look
    done = cli("status", "digits", "--cluster", "--watch")
    assert done.exit_code == 2
    assert "log in again" in done.stderr


def test_a_watch_goes_on_over_a_database_that_goes_away_in_between(
    api: Api,
    cli: Callable[..., Result],
    job: Object,
    monkeypatch: pytest.MonkeyPatch,
    secret: Object,
    tmp_path: Path,
) -> None:
    """Between one query and the next of the same look, as when its pod is restarted."""
    monkeypatch.setattr("hpo_job.cli.cluster_status.INTERVAL", 0.01)
    url = f"sqlite:///{tmp_path}/studies.db"
    optuna.create_study(study_name="digits", storage=url)
    api.put("v1/secrets", {**secret, "data": {"url": base64.b64encode(url.encode()).decode()}})
    api.put("batch/v1/jobs", job)
    api.put(
        "v1/pods",
        {
            "metadata": {
                "name": "digits-worker-0-abcde",
                "uid": "p",
                "labels": {"batch.kubernetes.io/job-name": "digits-worker"},
            },
            "spec": {},
            "status": {"phase": "Running"},
        },
    )
    looks = []

    def running(*_: object) -> dict[int, str]:
        looks.append(1)
        if len(looks) < 3:
            raise StorageError("the database is away")
        job["status"] = {"conditions": [{"type": "Complete", "status": "True"}]}
        return {0: "#7 step 1"}

    monkeypatch.setattr("hpo_job.cluster.view.running", running)
    once = cli("status", "digits", "--cluster")
    assert once.exit_code == 0, once.output
    for part in ("job       digits-worker", "study     the database is away", "worker-0-abcde"):
        assert part in once.stdout
    watched = cli("status", "digits", "--cluster", "--watch")
    assert watched.exit_code == 0, watched.output
    assert "#7 step 1" in watched.stdout
    assert len(looks) == 4  # the last one saw the Job complete


def test_delete_leaves_nothing(api: Api, cli: Callable[..., Result], job: Object) -> None:
    api.put("batch/v1/jobs", job)
    api.put("v1/configmaps", {"metadata": {"name": "digits-study-x", "labels": LABELS}})
    done = cli("delete", "digits", "--cluster")
    assert done.exit_code == 0, done.output
    assert "deleted job/digits-worker" in done.stdout
    assert "deleted configmap/digits-study-x" in done.stdout


def test_kubectl_hpo_means_the_cluster(
    api: Api, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], job: Object
) -> None:
    from hpo_job import cli

    api.put("batch/v1/jobs", job)
    monkeypatch.setattr("sys.argv", ["kubectl-hpo", "status", "digits"])
    monkeypatch.setattr("os.environ", {**os.environ})  # `kubectl` writes into it
    os.environ.pop("HPO_JOB_CLUSTER", None)
    with pytest.raises(SystemExit):
        cli.kubectl()
    assert "digits-worker in hpo-job" in capsys.readouterr().out


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


def node(name: str, **spec: Any) -> Object:
    """A node with 4 CPUs and 2 GPUs."""
    allocatable = {
        "cpu": "4",
        "memory": "32Gi",
        "ephemeral-storage": "100Gi",
        "pods": "110",
        "nvidia.com/gpu": "2",
    }
    return {"metadata": {"name": name}, "spec": spec, "status": {"allocatable": allocatable}}


def test_a_quota_with_enough_left_is_not_shortages() -> None:
    container = {"resources": {"requests": {"cpu": "1"}, "limits": {"nvidia.com/gpu": 1}}}
    pod = {"containers": [container]}
    quota: Object = {"spec": {}, "status": {"hard": {"cpu": "4", "requests.nvidia.com/gpu": "2"}}}
    assert shortages(quota, pod, 2) == []
    assert len(shortages(quota, pod, 5)) == 2
    of_others: Object = {**quota, "spec": {"scopes": ["BestEffort"]}}
    assert shortages(of_others, pod, 5) == []
    of_ours: Object = {**quota, "spec": {"scopes": ["NotTerminating"]}}
    assert len(shortages(of_ours, pod, 5)) == 2


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


def test_completed_indexes() -> None:
    assert indexes_in("0,3-5") == {0, 3, 4, 5}
    assert indexes_in(None) == set()
