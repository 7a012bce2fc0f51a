"""How many workers a Job has, changed while it runs, against a stand-in for the API server."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from tests.cluster.conftest import Api
from tests.cluster.test_errors import JOB, JOBS

Object = dict[str, Any]
Cli = Callable[..., Result]
pytestmark = pytest.mark.usefixtures("namespace")
CHANGE = f"patch {JOBS}/digits-worker"


@pytest.fixture
def job(api: Api) -> Object:
    """The Job, with two workers that run."""
    running = copy.deepcopy(JOB)
    running["spec"]["template"]["spec"]["containers"] = [{}]
    running["status"] = {"active": 2}
    return api.put("batch/v1/jobs", running)


def quota(api: Api, pods: int, used: int) -> None:
    status = {"hard": {"pods": str(pods)}, "used": {"pods": str(used)}}
    small = {"metadata": {"name": "small"}, "spec": {}, "status": status}
    api.put("v1/resourcequotas", small)


def test_nothing_is_asked_once_the_job_is_changed(
    api: Api, cli: Cli, job: Object, digits: Path
) -> None:
    """So nothing can fail then, and hide that it was."""
    quota(api, pods=3, used=2)
    done = cli("scale", digits, "4")
    assert done.exit_code == 0, done.output
    assert "too little for 2 more workers (2); some will wait" in done.stderr
    assert "says 2, which kubectl apply -k would set" in done.stderr
    assert api.calls[-1] == CHANGE


def test_quotas_that_cannot_be_read_leave_the_job_as_it_is(api: Api, cli: Cli, job: Object) -> None:
    api.answer("get /api/v1/namespaces/hpo-job/resourcequotas", 500, "etcd is away")
    refused = cli("scale", "digits", "4")
    assert refused.exit_code == 2
    assert "etcd is away" in refused.stderr
    assert CHANGE not in api.calls
    assert cli("scale", "digits", "1").exit_code == 0  # fewer need no quota


def test_a_stopped_job_needs_the_quota_of_all_its_workers(api: Api, cli: Cli, job: Object) -> None:
    job["spec"]["suspend"], job["status"] = True, {}
    quota(api, pods=3, used=0)
    assert "too little for 4 more workers (4)" in cli("scale", "digits", "4").stderr
    assert cli("scale", "digits", "3").stderr == ""


def test_an_index_that_has_ended_starts_no_pod_again(
    api: Api, cli: Cli, job: Object, digits: Path, secret: Object
) -> None:
    """Nor does one whose pod runs: of eight, two have ended, and one runs."""
    job["spec"].update(parallelism=3, completions=3)
    job["status"] = {"completedIndexes": "0", "failedIndexes": "2", "active": 1}
    quota(api, pods=3, used=1)
    assert "too little for 5 more workers (5)" in cli("scale", "digits", "8").stderr
    api.put("v1/secrets", secret)
    refused = cli("submit", digits, "--workers", "8")
    assert refused.exit_code == 2
    assert "too little for 5 more workers (" in refused.stderr
    assert cli("scale", "digits", "5").stderr == ""


def test_a_job_whose_pods_are_still_to_start_is_not_ended_either(
    api: Api, cli: Cli, job: Object
) -> None:
    """No index is named where none runs, as in a Job that is stopped."""
    job["spec"]["suspend"] = True
    job["status"] = {"completedIndexes": "0"}
    refused = cli("scale", "digits", "1")
    assert refused.exit_code == 2
    assert "because those have ended, before others start; it ends by itself" in refused.stderr
    assert CHANGE not in api.calls
