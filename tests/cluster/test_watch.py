"""`status --cluster --watch`: how often it asks, and what it goes on over."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kmock
import optuna
import pytest
from click.testing import Result

from hpo_job.errors import StorageError
from tests.cluster.conftest import Api
from tests.cluster.objects import JOBS

Object = dict[str, Any]
pytestmark = pytest.mark.usefixtures("namespace")


def test_a_watch_goes_on_over_a_network_that_is_away(
    api: Api, cli: Callable[..., Result], worker_job: Object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hpo_job.cli.cluster_status.INTERVAL", 0.01)
    asked = []

    def look() -> Object:
        asked.append(1)
        if len(asked) == 2:
            raise kmock.KubernetesError(500, "", "etcd is away", {})
        if len(asked) == 3:
            worker_job["status"] = {"conditions": [{"type": "Complete", "status": "True"}]}
        return worker_job

    api.answers[f"get {JOBS}/digits-worker"] = look
    done = cli("status", "digits", "--cluster", "--watch")
    assert done.exit_code == 0, done.output
    assert len(asked) == 3
    assert "complete" in done.stdout


def test_a_watch_of_a_thousand_pods_asks_the_api_server_rarely(
    api: Api,
    cli: Callable[..., Result],
    worker_job: Object,
    worker_pod: Callable[..., Object],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every look lists all of them, so the looks become rarer; what they list stays readable."""
    worker_job["spec"].update(parallelism=1000, completions=1000)
    api.put("batch/v1/jobs", worker_job)
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
            worker_job["status"] = {"conditions": [{"type": "Complete", "status": "True"}]}

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


@pytest.mark.parametrize("looks", [0, 1])
def test_a_watch_ends_with_credentials_that_do_not_do(
    api: Api,
    cli: Callable[..., Result],
    worker_job: Object,
    monkeypatch: pytest.MonkeyPatch,
    looks: int,
) -> None:
    monkeypatch.setattr("hpo_job.cli.cluster_status.INTERVAL", 0.01)
    asked = []

    def look() -> Object:
        asked.append(1)
        if len(asked) > looks:
            raise kmock.KubernetesError(401, "", "Unauthorized", {})
        return worker_job

    api.answers[f"get {JOBS}/digits-worker"] = look
    done = cli("status", "digits", "--cluster", "--watch")
    assert done.exit_code == 2
    assert "log in again" in done.stderr


def test_a_watch_goes_on_over_a_database_that_goes_away_in_between(
    api: Api,
    cli: Callable[..., Result],
    worker_job: Object,
    monkeypatch: pytest.MonkeyPatch,
    secret: Object,
    tmp_path: Path,
) -> None:
    """Between one query and the next of the same look, as when its pod is restarted."""
    monkeypatch.setattr("hpo_job.cli.cluster_status.INTERVAL", 0.01)
    url = f"sqlite:///{tmp_path}/studies.db"
    optuna.create_study(study_name="digits", storage=url)
    api.put("v1/secrets", {**secret, "data": {"url": base64.b64encode(url.encode()).decode()}})
    api.put("batch/v1/jobs", worker_job)
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
        worker_job["status"] = {"conditions": [{"type": "Complete", "status": "True"}]}
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
