"""A Job that exists: stopped, resumed, deleted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from tests.cluster.conftest import Api
from tests.cluster.objects import JOBS, LABELS

Object = dict[str, Any]
pytestmark = pytest.mark.usefixtures("namespace")


def test_a_stopped_job_is_not_said_to_run(
    api: Api, cli: Callable[..., Result], digits: Path, secret: Object, worker_job: Object
) -> None:
    api.put("v1/secrets", secret)
    worker_job["spec"]["suspend"] = True
    api.put("batch/v1/jobs", worker_job)
    assert "the Job is stopped: hpo-job resume digits" in cli("submit", digits).stderr
    worker_job["metadata"]["labels"] = {**LABELS, "kueue.x-k8s.io/queue-name": "team"}
    assert "resume" not in cli("submit", digits).stderr
    worker_job["spec"]["suspend"] = True
    worker_job["status"] = {"conditions": [{"type": "Suspended", "status": "True"}]}
    assert "waits in queue team" in cli("status", "digits", "--cluster").stdout


def test_stop_and_resume(api: Api, cli: Callable[..., Result], worker_job: Object) -> None:
    api.put("batch/v1/jobs", worker_job)
    for command, suspended in (("stop", True), ("resume", False)):
        assert cli(command, "digits").exit_code == 0
        spec = api.objects[f"{JOBS}/digits-worker"]["spec"]
        assert spec["suspend"] is suspended
        again = "is stopped already" if suspended else "was not stopped"
        assert cli(command, "digits").stdout == f"job/digits-worker: {again}\n"


def test_delete_leaves_nothing(api: Api, cli: Callable[..., Result], worker_job: Object) -> None:
    api.put("batch/v1/jobs", worker_job)
    api.put("v1/configmaps", {"metadata": {"name": "digits-study-x", "labels": LABELS}})
    done = cli("delete", "digits", "--cluster")
    assert done.exit_code == 0, done.output
    assert "deleted job/digits-worker" in done.stdout
    assert "deleted configmap/digits-study-x" in done.stdout
