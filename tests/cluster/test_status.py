"""What `status --cluster` says of a Job and its pods."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from hpo_job.cluster.pods import describe, indexes_in
from tests.cluster.conftest import Api
from tests.cluster.objects import JOBS

Object = dict[str, Any]
pytestmark = pytest.mark.usefixtures("namespace")


def test_status_counts_the_indexes_that_failed(
    api: Api, cli: Callable[..., Result], digits: Path, secret: Object
) -> None:
    """Index 0 alone is one of them."""
    api.put("v1/secrets", secret)
    assert cli("submit", digits, "--workers", "5").exit_code == 0
    worker_job = api.objects[f"{JOBS}/digits-worker"]
    worker_job["status"] = {"active": 1, "failedIndexes": "0"}
    assert "0 of 5 succeeded, 1 failed (index 0)" in cli("status", "digits", "--cluster").stdout
    worker_job["status"] = {"active": 1, "failedIndexes": "0,2-4"}
    assert "4 failed (index 0,2-4)" in cli("status", "digits", "--cluster").stdout


def test_status_says_why_a_pod_waits(
    api: Api,
    cli: Callable[..., Result],
    worker_job: Object,
    secret: Object,
    worker_pod: Callable[..., Object],
) -> None:
    api.put("v1/secrets", secret)
    api.put("batch/v1/jobs", worker_job)
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
    api: Api, cli: Callable[..., Result], worker_job: Object, worker_pod: Callable[..., Object]
) -> None:
    """A quota, a limit, or the namespace's security standard: the Job itself says nothing."""
    api.put("batch/v1/jobs", worker_job)
    api.note("Job", "u", "Error creating: exceeded quota: small", "2026-01-01T00:01:00Z")
    api.note("Job", "u", "older", "2026-01-01T00:00:00Z")
    assert "Error creating: exceeded quota: small" in cli("status", "digits", "--cluster").stdout
    assert "Error creating: exceeded quota: small" in cli("logs", "digits").stderr
    worker_job["status"] = {"active": 2}
    assert "Error creating" not in cli("status", "digits", "--cluster").stdout
    api.put("v1/pods", worker_pod(0, "Pending"))
    api.note("Pod", "p0", "MountVolume.SetUp failed for volume storage")
    text = " ".join(cli("status", "digits", "--cluster").stdout.split())
    assert "MountVolume.SetUp failed" in text
    assert "MountVolume.SetUp failed" in cli("logs", "digits").stderr
    api.answer("get /api/v1/namespaces/hpo-job/events", 403, "forbidden")
    assert cli("status", "digits", "--cluster").exit_code == 0


def test_status_says_what_a_worker_without_a_trial_waits_for(
    api: Api,
    cli: Callable[..., Result],
    worker_job: Object,
    secret: Object,
    worker_pod: Callable[..., Object],
) -> None:
    """Its log has the driver's reason: what is reached from here may not be from the pods."""
    api.put("v1/secrets", secret)
    api.put("batch/v1/jobs", worker_job)
    api.put("v1/pods", worker_pod(0, containerStatuses=[{"state": {"running": {}}}]))
    log = "get /api/v1/namespaces/hpo-job/pods/digits-worker-0-abcde/log"
    reason = "MySQL error 2005: Unknown server host 'db' (Name or service not known)"
    line = f"hpo-job: db/hpo: waiting for the server, 598 s at most: {reason}"
    api.answers[log] = f"2026-01-01T00:00:00.000000000Z {line}\n".encode()
    text = " ".join(cli("status", "digits", "--cluster").stdout.split())
    assert f"index 0: waits for the database: {reason}" in text
    refused = "MySQL error 1045: Access denied for user 'hpo'@'10.0.0.7' (using password: YES)"
    line = f"hpo-job: db/hpo: waiting for /var/run/url to be renewed, 148 s at most: {refused}"
    api.answers[log] = f"2026-01-01T00:00:00.000000000Z {line}\n".encode()
    text = " ".join(cli("status", "digits", "--cluster").stdout.split())
    assert f"index 0: waits for the database: {refused}" in text
    api.answers[log] = b"2026-01-01T00:00:00.000000000Z hpo-job: trial 0 COMPLETE 1\n"
    assert "waits for" not in cli("status", "digits", "--cluster").stdout
    api.answer(log, 403, "forbidden")
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


def test_kubectl_hpo_means_the_cluster(
    api: Api,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    worker_job: Object,
) -> None:
    from hpo_job import cli

    api.put("batch/v1/jobs", worker_job)
    monkeypatch.setattr("sys.argv", ["kubectl-hpo", "status", "digits"])
    monkeypatch.setattr("os.environ", {**os.environ})  # `kubectl` writes into it
    os.environ.pop("HPO_JOB_CLUSTER", None)
    with pytest.raises(SystemExit):
        cli.kubectl()
    assert "digits-worker in hpo-job" in capsys.readouterr().out


def test_completed_indexes() -> None:
    assert indexes_in("0,3-5") == {0, 3, 4, 5}
    assert indexes_in(None) == set()
