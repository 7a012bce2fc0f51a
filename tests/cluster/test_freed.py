"""What the pods that are replaced free: a quota, and connections of the database."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from tests.cluster.conftest import Api, encoded
from tests.cluster.objects import JOBS, claim, patched, running_pod
from tests.manifests.renders import with_components

Object = dict[str, Any]
pytestmark = pytest.mark.usefixtures("namespace")


def test_a_quota_too_small_for_the_job_that_replaces_one(
    api: Api, cli: Callable[..., Result], digits: Path, secret: Object
) -> None:
    """The pods that are ended leave the quota; all of the new ones have to find place in it."""
    api.put("v1/secrets", secret)
    assert cli("submit", digits, "--workers", "2").exit_code == 0
    for index in range(2):
        api.put("v1/pods", running_pod(index))
    patched(digits, tolerations=[{"key": "dedicated", "operator": "Exists"}])
    quota: Object = {"metadata": {"name": "small"}, "spec": {}}
    quota["status"] = {"hard": {"pods": "2"}, "used": {"pods": "3"}}
    api.put("v1/resourcequotas", quota)
    replace = ("submit", digits, "--workers", "2", "--replace", "--nodes-may-come")
    refused = cli(*replace)
    assert refused.exit_code == 2
    assert "pods 2, of which 1 are used by others: too little for 2 workers (2)" in refused.stderr
    assert f"{JOBS}/digits-worker" in api.objects
    quota["status"]["hard"] = {"pods": "3"}
    api.put("v1/resourcequotas", quota)
    done = cli(*replace, "--dry-run")
    assert done.exit_code == 0, done.output


def test_a_quota_that_the_replaced_pods_are_not_in(
    api: Api, cli: Callable[..., Result], digits: Path, secret: Object
) -> None:
    """They free nothing of it; but all workers are new, and none is a further one."""
    api.put("v1/secrets", secret)
    assert cli("submit", digits, "--workers", "2").exit_code == 0
    for index in range(2):
        api.put("v1/pods", running_pod(index))  # which ask for nothing
    patched(digits, tolerations=[{"key": "dedicated", "operator": "Exists"}])
    quota: Object = {"metadata": {"name": "small"}, "spec": {"scopes": ["NotBestEffort"]}}
    quota["status"] = {"hard": {"requests.cpu": "2"}, "used": {"requests.cpu": "500m"}}
    api.put("v1/resourcequotas", quota)
    refused = cli("submit", digits, "--workers", "2", "--replace", "--nodes-may-come")
    assert refused.exit_code == 2
    said = "requests.cpu 2, of which 0.5 are used by others: too little for 2 workers (2)"
    assert said in refused.stderr


def test_pods_that_are_replaced_free_what_the_namespace_had_them_ask_for(
    api: Api, cli: Callable[..., Result], digits: Path, secret: Object
) -> None:
    """A LimitRange adds to the pods what the Job's own template leaves out."""
    api.put("v1/secrets", secret)
    assert cli("submit", digits, "--workers", "2").exit_code == 0
    template = api.objects[f"{JOBS}/digits-worker"]["spec"]["template"]["spec"]
    template["containers"][0]["resources"] = {}
    for index in range(2):
        api.put("v1/pods", running_pod(index, limits={"memory": "4Gi"}))
    patched(digits, tolerations=[{"key": "dedicated", "operator": "Exists"}])
    quota: Object = {"metadata": {"name": "small"}, "spec": {}}
    quota["status"] = {"hard": {"limits.memory": "8Gi"}, "used": {"limits.memory": "8Gi"}}
    api.put("v1/resourcequotas", quota)
    done = cli("submit", digits, "--workers", "2", "--replace", "--nodes-may-come", "--dry-run")
    assert done.exit_code == 0, done.output


@pytest.fixture
def crowded(
    api: Api, cli: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A job folder whose Job runs in two pods of two workers each, and is to have four in each.

    SQLite has no connections to count, and stands in for a server that has two left.
    """
    url = f"sqlite:///{tmp_path}/studies.db"
    put_secret(api, "hpo-job-storage", url)
    api.put("v1/persistentvolumeclaims", claim("Bound", "ReadWriteOnce"))
    job = with_components(tmp_path / "cached", ("cache",), ()) / "jobs/digits"
    study, before = job / "study.toml", (job / "study.toml").read_text()
    study.write_text(f"{before}\n[cluster]\nworkers_per_gpu = 2\n")
    assert cli("create", job, "--storage", url).exit_code == 0
    assert cli("submit", job, "--workers", "2").exit_code == 0
    for index in range(2):
        api.put("v1/pods", running_pod(index))
    api.objects[f"{JOBS}/digits-worker"]["status"] = {"active": 2}
    study.write_text(f"{before}\n[cluster]\nworkers_per_gpu = 4\n")
    patched(job, tolerations=[{"key": "dedicated", "operator": "Exists"}])
    monkeypatch.setattr("hpo_job.cluster.preflight.database.worker_capacity", lambda url: 2)
    return job


def put_secret(api: Api, name: str, url: str) -> None:
    api.put("v1/secrets", {"metadata": {"name": name}, "data": encoded({"url": url})})


REPLACED = ("--workers", "2", "--replace", "--dry-run", "--nodes-may-come")


def test_all_workers_that_replace_others_need_the_claim_and_connections(
    cli: Callable[..., Result], crowded: Path
) -> None:
    """As many pods as before, but more workers."""
    done = cli("submit", crowded, *REPLACED)
    assert done.exit_code == 0, done.output
    assert "can be mounted by one node only (ReadWriteOnce)" in done.stderr
    assert "connections for 6 workers; of 8, some will wait for each other" in done.stderr


@pytest.mark.parametrize(
    ("url", "free"),
    [
        ("sqlite:///{}/studies.db", 6),  # the same server, under another name
        ("mysql+mysqldb://hpo:s3cret@elsewhere/hpo", 2),
        ("no url", 2),
        (None, 2),
    ],
)
def test_connections_to_another_server_do_not_become_free(
    api: Api, cli: Callable[..., Result], crowded: Path, tmp_path: Path, url: str, free: int
) -> None:
    """The workers that are replaced used another Secret."""
    pod = api.objects[f"{JOBS}/digits-worker"]["spec"]["template"]["spec"]
    (volume,) = [each for each in pod["volumes"] if each["name"] == "storage"]
    volume["secret"]["secretName"] = "old"
    if url:
        put_secret(api, "old", url.format(tmp_path))
    done = cli("submit", crowded, *REPLACED)
    assert done.exit_code == 0, done.output
    assert f"connections for {free} workers; of 8, some will wait for each other" in done.stderr
