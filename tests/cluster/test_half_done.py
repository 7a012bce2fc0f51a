"""A command that fails after it has changed the cluster says so, and how to go on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import kmock
import pytest
from click.testing import Result

from tests.cluster.conftest import Api
from tests.cluster.objects import JOBS

Object = dict[str, Any]
Cli = Callable[..., Result]
pytestmark = pytest.mark.usefixtures("namespace")
DONE_OR_NOT = "; the change may have been made all the same: run the command again"
JOB_PATH = f"{JOBS}/digits-worker"


def test_a_change_that_is_not_answered(api: Api, cli: Cli, worker_job: Object) -> None:
    api.put("batch/v1/jobs", worker_job)
    api.lose(f"patch {JOB_PATH}")
    lost = cli("scale", "digits", "4")
    assert lost.exit_code == 2
    assert "does not answer: ('Connection aborted.'" in lost.stderr
    assert lost.stderr.endswith(f"{DONE_OR_NOT}\n")
    assert worker_job["spec"]["parallelism"] == 4
    again = cli("scale", "digits", "4")
    assert again.exit_code == 0, again.output


@pytest.mark.parametrize("code", [502, 504])
def test_a_gateway_that_does_not_know(api: Api, cli: Cli, worker_job: Object, code: int) -> None:
    api.put("batch/v1/jobs", worker_job)
    api.answer(f"patch {JOB_PATH}", code, "upstream is away")
    lost = cli("stop", "digits")
    assert lost.exit_code == 2
    assert f"upstream is away{DONE_OR_NOT}" in lost.stderr


def test_what_was_refused_was_not_made(api: Api, cli: Cli, worker_job: Object) -> None:
    api.put("batch/v1/jobs", worker_job)
    api.answer(f"patch {JOB_PATH}", 500, "a webhook is away")
    assert DONE_OR_NOT not in cli("stop", "digits").stderr


def test_a_submission_is_repeated_after_a_lost_answer(
    api: Api, cli: Cli, digits: Path, secret: Object
) -> None:
    """Not after a dry run, which changes nothing."""
    api.put("v1/secrets", secret)
    api.answer(f"patch {JOB_PATH}", 504, "upstream is away")
    assert DONE_OR_NOT not in cli("submit", digits).stderr
    assert api.applied == []
    del api.answers[f"patch {JOB_PATH}"]
    api.lose(f"patch {JOB_PATH}")
    lost = cli("submit", digits)
    assert lost.exit_code == 2
    assert lost.stderr.endswith(f"{DONE_OR_NOT}\n")
    again = cli("submit", digits)
    assert again.exit_code == 0, again.output
    assert "configured job/digits-worker" in again.stdout


@pytest.fixture
def ended(api: Api, secret: Object, worker_job: Object, monkeypatch: pytest.MonkeyPatch) -> Object:
    """The Job is complete, so that `--replace` deletes it; nobody waits in between."""
    monkeypatch.setattr("hpo_job.cluster.existing.time.sleep", lambda seconds: None)
    api.put("v1/secrets", secret)
    worker_job["status"] = {"conditions": [{"type": "Complete", "status": "True"}]}
    return api.put("batch/v1/jobs", worker_job)


def after_the_deletion(api: Api, *answers: Exception) -> None:
    """Let the API server answer so when it is asked whether the Job is gone; later it is."""
    left = [*answers]
    path = f"{JOBS}/digits-worker"

    def look() -> Object:
        if path in api.objects:
            return api.objects[path]
        raise left.pop(0) if left else kmock.KubernetesError(404, "NotFound", "not found", {})

    api.answers[f"get {path}"] = look


def test_the_wait_goes_on_over_an_api_server_that_is_away(
    api: Api, cli: Cli, digits: Path, ended: Object
) -> None:
    """The old Job is deleted already, and the new one has still to be started."""
    away = kmock.KubernetesError(500, "", "etcd is away", {})
    after_the_deletion(api, away, away)
    done = cli("submit", digits, "--replace")
    assert done.exit_code == 0, done.output
    assert "created    job/digits-worker" in done.stdout


def test_a_wait_that_cannot_go_on_says_that_the_job_is_being_deleted(
    api: Api, cli: Cli, digits: Path, ended: Object
) -> None:
    after_the_deletion(api, kmock.KubernetesError(401, "", "Unauthorized", {}))
    refused = cli("submit", digits, "--replace")
    assert refused.exit_code == 2
    assert "log in again; Job digits-worker is being deleted" in refused.stderr


def test_what_fails_after_the_deletion_says_that_the_job_is_gone(
    api: Api, cli: Cli, digits: Path, ended: Object
) -> None:
    """And what was made before it is listed."""
    api.lose(f"patch {JOBS}/digits-worker")
    refused = cli("submit", digits, "--replace")
    assert refused.exit_code == 2
    assert "the old Job digits-worker is deleted; submit again to start the new one" in (
        refused.stderr
    )
    assert "created    configmap/digits-study" in refused.stdout
    assert cli("submit", digits).exit_code == 0


def test_configmaps_that_cannot_be_deleted_fail_no_submission(
    api: Api, cli: Cli, digits: Path, secret: Object
) -> None:
    """The Job runs by then."""
    api.put("v1/secrets", secret)
    api.answer("get /api/v1/namespaces/hpo-job/configmaps", 403, "forbidden")
    done = cli("submit", digits)
    assert done.exit_code == 0, done.output
    assert "created    job/digits-worker" in done.stdout
    assert "ConfigMaps of earlier submissions are left: forbidden" in done.stderr


def test_a_job_that_is_not_changed_is_not_said_to_be(
    api: Api, cli: Cli, digits: Path, secret: Object
) -> None:
    api.put("v1/secrets", secret)
    assert cli("submit", digits, "--workers", "2").exit_code == 0
    api.lose(f"patch {JOBS}/digits-worker")
    refused = cli("submit", digits, "--workers", "3")
    assert refused.exit_code == 2
    assert "from now on" not in refused.stdout
