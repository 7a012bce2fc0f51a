"""A Job that exists: stopped, resumed, deleted."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from click.testing import Result

from hpo_job.cluster.names import worker_labels
from tests.cluster.conftest import Api, encoded
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


def test_nothing_is_deleted_before_all_of_it_is_found(
    api: Api, cli: Callable[..., Result], worker_job: Object
) -> None:
    api.put("batch/v1/jobs", worker_job)
    api.answer("get /api/v1/namespaces/hpo-job/serviceaccounts", 403, "forbidden")
    assert cli("delete", "digits", "--cluster").exit_code == 2
    assert f"{JOBS}/digits-worker" in api.objects


def test_what_is_deleted_is_said_also_if_the_rest_fails(
    api: Api, cli: Callable[..., Result], worker_job: Object
) -> None:
    api.put("batch/v1/jobs", worker_job)
    api.put("v1/configmaps", {"metadata": {"name": "digits-study-x", "labels": LABELS}})
    path = "/api/v1/namespaces/hpo-job/configmaps/digits-study-x"
    api.answer(f"delete {path}", 403, "forbidden")
    refused = cli("delete", "digits", "--cluster")
    assert refused.exit_code == 2
    assert refused.stdout == "deleted job/digits-worker\n"


@pytest.fixture
def databases(api: Api, worker_job: Object, tmp_path: Path) -> dict[str, str]:
    """Those of the study's Job and of another Job, by Secret; both have a study of that name."""
    urls = {name: f"sqlite:///{tmp_path}/{name}.db" for name in ("ours", "theirs")}
    for name, url in urls.items():
        optuna.create_study(study_name="digits", storage=url)
        secret = {"metadata": {"name": name}, "data": encoded({"url": url})}
        api.put("v1/secrets", secret)
    other = copy.deepcopy(worker_job)
    other["metadata"].update(name="other-worker", labels=worker_labels("other"))
    for job, name in ((worker_job, "ours"), (other, "theirs")):
        volume = {"name": "storage", "secret": {"secretName": name}}
        job["spec"]["template"]["spec"]["volumes"] = [volume]
        api.put("batch/v1/jobs", job)
    return urls


def studies_of(databases: dict[str, str]) -> dict[str, list[str]]:
    return {name: optuna.get_all_study_names(url) for name, url in databases.items()}


def test_a_study_is_deleted_from_the_database_of_its_job(
    api: Api, cli: Callable[..., Result], databases: dict[str, str]
) -> None:
    """Which is looked up before the Job is deleted; another Job has another one."""
    done = cli("delete", "digits", "--cluster", "--study", "--yes")
    assert done.exit_code == 0, done.output
    assert f"{JOBS}/digits-worker" not in api.objects
    assert studies_of(databases) == {"ours": [], "theirs": ["digits"]}


def test_without_its_job_a_study_is_not_looked_for_in_that_of_another(
    api: Api, cli: Callable[..., Result], databases: dict[str, str]
) -> None:
    kept = cli("delete", "digits", "--cluster").stdout
    assert "kept in the database of Secret ours; to delete them: hpo-job delete digits" in kept
    assert "--study, where k8s/settings names Secret ours" in kept
    refused = cli("delete", "digits", "--cluster", "--study", "--yes")
    assert refused.exit_code == 2
    assert "Secret hpo-job-storage is missing" in refused.stderr
    assert studies_of(databases) == {"ours": ["digits"], "theirs": ["digits"]}
    data = encoded({"url": databases["ours"]})
    api.put("v1/secrets", {"metadata": {"name": "hpo-job-storage"}, "data": data})
    assert cli("delete", "digits", "--cluster", "--study", "--yes").exit_code == 0
    assert studies_of(databases) == {"ours": [], "theirs": ["digits"]}


@pytest.mark.usefixtures("databases")
def test_a_job_stays_until_it_is_agreed_from_which_database_its_study_goes(
    api: Api, cli: Callable[..., Result]
) -> None:
    asked = cli("delete", "digits", "--cluster", "--study", input="n\n")
    assert "ours.db: 0 trials" in asked.output
    assert f"{JOBS}/digits-worker" in api.objects


def test_a_job_stays_whose_database_is_not_found(
    api: Api, cli: Callable[..., Result], worker_job: Object
) -> None:
    api.put("batch/v1/jobs", worker_job)
    refused = cli("delete", "digits", "--cluster", "--study", "--yes")
    assert refused.exit_code == 2
    assert "Secret hpo-job-storage is missing" in refused.stderr
    assert f"{JOBS}/digits-worker" in api.objects
