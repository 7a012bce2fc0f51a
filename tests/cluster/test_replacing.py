"""Submitting what differs from the Job that exists: `--replace` ends that one first."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from tests.cluster.conftest import Api
from tests.cluster.objects import JOBS, LABELS, node, running_pod
from tests.manifests.renders import with_components

Object = dict[str, Any]
pytestmark = pytest.mark.usefixtures("namespace")


def immutable(api: Api) -> None:
    api.answer(f"patch {JOBS}/digits-worker", 422, "spec.template: field is immutable")


def test_a_changed_study_needs_replace(
    api: Api, cli: Callable[..., Result], digits: Path, secret: Object, worker_job: Object
) -> None:
    api.put("v1/secrets", secret)
    old = {
        "metadata": {"name": "digits-study-old", "labels": worker_job["metadata"]["labels"]},
        "data": {"study.toml": "another", "objective.py": (digits / "objective.py").read_text()},
    }
    api.put("v1/configmaps", old)
    volume = {"name": "study", "configMap": {"name": "digits-study-old"}}
    worker_job["spec"]["template"]["spec"]["volumes"] = [volume]
    api.put("batch/v1/jobs", worker_job)
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
    api: Api, cli: Callable[..., Result], digits: Path, secret: Object, worker_job: Object
) -> None:
    api.put("v1/secrets", secret)
    worker_job["status"] = {"conditions": [{"type": "Complete", "status": "True"}]}
    api.put("batch/v1/jobs", worker_job)
    refused = cli("submit", digits)
    assert "has ended already; --replace starts it again" in refused.stderr


def test_replacing_ends_the_job_first(
    api: Api, cli: Callable[..., Result], digits: Path, secret: Object, worker_job: Object
) -> None:
    api.put("v1/secrets", secret)
    worker_job["status"] = {"conditions": [{"type": "Complete", "status": "True"}]}
    api.put("batch/v1/jobs", worker_job)
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
            **worker_job,
            "metadata": {
                **worker_job["metadata"],
                "labels": {**LABELS, "kueue.x-k8s.io/queue-name": "team"},
            },
        },
    )
    assert cli("submit", digits, "--replace").exit_code == 0
    assert not [name for name in api.objects if name.endswith("digits-study-old")]


def started_otherwise(api: Api, worker_job: Object, phase: str = "Running") -> None:
    """Let a Job run whose two pods differ from those of the folder; each has one CPU of node a."""
    tolerations = [{"key": "old", "operator": "Exists"}]
    worker_job["spec"]["template"]["spec"]["tolerations"] = tolerations
    worker_job["status"] = {"active": 2}
    api.put("batch/v1/jobs", worker_job)
    api.tolerations[f"{JOBS}/digits-worker"] = tolerations  # it was hpo-job that applied them
    for index in range(2):
        api.put("v1/pods", running_pod(index, phase, requests={"cpu": "1"}))


def edited(digits: Path, old: str, new: str) -> None:
    """Change the settings that the job folder uses."""
    file = digits.parents[1] / "k8s/settings/kustomization.yaml"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))


def test_no_job_is_ended_for_one_that_the_server_refuses(
    api: Api, cli: Callable[..., Result], digits: Path, secret: Object, worker_job: Object
) -> None:
    """The dry run over the old Job says only that its pods cannot be changed."""
    api.put("v1/secrets", secret)
    api.put("v1/nodes", node("a"), namespace=None)
    started_otherwise(api, worker_job)
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
    api: Api, cli: Callable[..., Result], digits: Path, secret: Object, worker_job: Object
) -> None:
    api.put("v1/secrets", secret)
    api.put("v1/nodes", node("a", unschedulable=True), namespace=None)
    started_otherwise(api, worker_job)
    assert "exists already" in cli("submit", digits).stderr  # before what it would end
    refused = cli("submit", digits, "--replace")
    assert refused.exit_code == 2
    assert "no node takes it, because of taints" in refused.stderr
    assert "the workers that run now would be ended for it" in refused.stderr
    assert f"delete {JOBS}/digits-worker" not in api.calls
    assert cli("submit", digits, "--replace", "--nodes-may-come").exit_code == 0


def test_a_job_whose_pods_wait_is_replaced_also_where_no_node_takes_the_next(
    api: Api, cli: Callable[..., Result], digits: Path, secret: Object, worker_job: Object
) -> None:
    """No trial is interrupted, and the cluster may add nodes."""
    api.put("v1/secrets", secret)
    api.put("v1/nodes", node("a", unschedulable=True), namespace=None)
    started_otherwise(api, worker_job, phase="Pending")
    done = cli("submit", digits, "--replace")
    assert done.exit_code == 0, done.output
    assert "pods wait, unless the cluster adds such a node" in done.stderr


def test_the_nodes_have_the_space_of_the_pods_that_are_replaced(
    api: Api, cli: Callable[..., Result], digits: Path, secret: Object, worker_job: Object
) -> None:
    """Four CPUs, of which one stays in use; the new workers ask for two each."""
    api.put("v1/secrets", secret)
    api.put("v1/nodes", node("a"), namespace=None)
    asks = {"containers": [{"resources": {"requests": {"cpu": "1"}}}], "nodeName": "a"}
    other = {"metadata": {"name": "p", "uid": "o"}, "status": {"phase": "Running"}, "spec": asks}
    api.put("v1/pods", other, namespace="of-others")
    started_otherwise(api, worker_job)
    edited(digits, 'requests: {cpu: "1"', 'requests: {cpu: "2"')
    said = cli("submit", digits, "--replace", "--dry-run").stderr
    assert "the nodes have space for 1 worker (each asks for cpu 2" in said
    assert "the other 1 will wait" in said
    assert "1 node with space for 1 worker;" in said


def test_a_job_that_is_being_deleted_is_waited_for(
    api: Api, cli: Callable[..., Result], digits: Path, secret: Object
) -> None:
    """It is what the folder says, but whatever it is changed to would go with it."""
    api.put("v1/secrets", secret)
    assert cli("submit", digits).exit_code == 0
    job = api.objects[f"{JOBS}/digits-worker"]
    job["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    job["status"] = {"active": 2}
    refused = cli("submit", digits)
    assert refused.exit_code == 2
    assert "Job digits-worker is being deleted already; --replace starts it again" in (
        refused.stderr
    )
    assert "is being deleted; hpo-job submit --replace" in cli("scale", "digits", "3").stderr
    assert "is being deleted; its pods" in cli("status", "digits", "--cluster").stdout
    done = cli("submit", digits, "--replace")
    assert done.exit_code == 0, done.output
    assert "created    job/digits-worker" in done.stdout
    assert "deletionTimestamp" not in api.objects[f"{JOBS}/digits-worker"]["metadata"]
