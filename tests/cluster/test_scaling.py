"""How many workers a Job has, changed while it runs, against a stand-in for the API server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from tests.cluster.conftest import Api
from tests.cluster.objects import JOBS

Object = dict[str, Any]
Cli = Callable[..., Result]
pytestmark = pytest.mark.usefixtures("namespace")
CHANGE = f"patch {JOBS}/digits-worker"


def test_a_job_that_was_scaled_keeps_its_workers(
    api: Api, cli: Callable[..., Result], digits: Path, secret: Object, worker_job: Object
) -> None:
    api.put("v1/secrets", secret)
    worker_job["spec"].update(parallelism=8, completions=8)
    api.put("batch/v1/jobs", worker_job)
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
    worker_job: Object,
    worker_pod: Callable[..., Object],
) -> None:
    api.put("v1/secrets", secret)
    worker_job["status"] = {"completedIndexes": "0", "active": 1}
    api.put("batch/v1/jobs", worker_job)
    api.put("v1/pods", worker_pod(1))
    refused = cli("submit", digits, "--workers", "1")
    assert refused.exit_code == 2
    assert "interrupt what runs in index 1;" in refused.stderr
    assert api.applied == []


def test_scale_patches_both_fields(
    api: Api, cli: Callable[..., Result], worker_job: Object
) -> None:
    api.put("batch/v1/jobs", worker_job)
    done = cli("scale", "digits", "8")
    assert done.exit_code == 0, done.output
    assert "2 workers, 8 from now on" in done.stdout
    spec = api.objects[f"{JOBS}/digits-worker"]["spec"]
    assert (spec["parallelism"], spec["completions"]) == (8, 8)


def test_scaling_warns_of_a_quota_that_has_too_little_left(
    api: Api, cli: Callable[..., Result], worker_job: Object
) -> None:
    """The Job gets its number all the same: pods are created when the quota has space."""
    worker_job["spec"]["template"]["spec"]["containers"] = [{}]
    worker_job["status"] = {"active": 2}
    api.put("batch/v1/jobs", worker_job)
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


@pytest.mark.parametrize("ended", ["completedIndexes", "failedIndexes"])
def test_scaling_down_does_not_end_the_job(
    api: Api,
    cli: Callable[..., Result],
    worker_job: Object,
    worker_pod: Callable[..., Object],
    ended: str,
) -> None:
    """Index 0 has nothing more to start, or failed too often; index 1 runs the last trial."""
    worker_job["status"] = {ended: "0", "active": 1}
    api.put("batch/v1/jobs", worker_job)
    api.put("v1/pods", worker_pod(1))
    refused = cli("scale", "digits", "1")
    assert refused.exit_code == 2
    assert "interrupt what runs in index 1;" in refused.stderr


@pytest.fixture
def running(api: Api, worker_job: Object) -> Object:
    """The Job, with two workers that run."""
    worker_job["spec"]["template"]["spec"]["containers"] = [{}]
    worker_job["status"] = {"active": 2}
    return api.put("batch/v1/jobs", worker_job)


def quota(api: Api, pods: int, used: int) -> None:
    status = {"hard": {"pods": str(pods)}, "used": {"pods": str(used)}}
    small = {"metadata": {"name": "small"}, "spec": {}, "status": status}
    api.put("v1/resourcequotas", small)


def test_nothing_is_asked_once_the_job_is_changed(
    api: Api, cli: Cli, running: Object, digits: Path
) -> None:
    """So nothing can fail then, and hide that it was."""
    quota(api, pods=3, used=2)
    done = cli("scale", digits, "4")
    assert done.exit_code == 0, done.output
    assert "too little for 2 more workers (2); some will wait" in done.stderr
    assert "says 2, which kubectl apply -k would set" in done.stderr
    assert api.calls[-1] == CHANGE


def test_quotas_that_cannot_be_read_leave_the_job_as_it_is(
    api: Api, cli: Cli, running: Object
) -> None:
    api.answer("get /api/v1/namespaces/hpo-job/resourcequotas", 500, "etcd is away")
    refused = cli("scale", "digits", "4")
    assert refused.exit_code == 2
    assert "etcd is away" in refused.stderr
    assert CHANGE not in api.calls
    assert cli("scale", "digits", "1").exit_code == 0  # fewer need no quota


def test_a_stopped_job_needs_the_quota_of_all_its_workers(
    api: Api, cli: Cli, running: Object
) -> None:
    running["spec"]["suspend"], running["status"] = True, {}
    quota(api, pods=3, used=0)
    assert "too little for 4 more workers (4)" in cli("scale", "digits", "4").stderr
    assert cli("scale", "digits", "3").stderr == ""


def test_an_index_that_has_ended_starts_no_pod_again(
    api: Api, cli: Cli, running: Object, digits: Path, secret: Object
) -> None:
    """Nor does one whose pod runs: of eight, two have ended, and one runs."""
    running["spec"].update(parallelism=3, completions=3)
    running["status"] = {"completedIndexes": "0", "failedIndexes": "2", "active": 1}
    quota(api, pods=3, used=1)
    assert "too little for 5 more workers (5)" in cli("scale", "digits", "8").stderr
    api.put("v1/secrets", secret)
    refused = cli("submit", digits, "--workers", "8")
    assert refused.exit_code == 2
    assert "too little for 5 more workers (" in refused.stderr
    assert cli("scale", "digits", "5").stderr == ""


def test_a_job_whose_pods_are_still_to_start_is_not_ended_either(
    api: Api, cli: Cli, running: Object
) -> None:
    """No index is named where none runs, as in a Job that is stopped."""
    running["spec"]["suspend"] = True
    running["status"] = {"completedIndexes": "0"}
    refused = cli("scale", "digits", "1")
    assert refused.exit_code == 2
    assert "because those have ended, before others start; it ends by itself" in refused.stderr
    assert CHANGE not in api.calls
