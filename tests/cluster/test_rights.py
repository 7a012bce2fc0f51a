"""The Roles of components/roles: an account with exactly these rights can do what they promise."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from hpo_job.cluster.render import render
from tests.cluster.conftest import Api
from tests.cluster.objects import JOB
from tests.cluster.test_place import ready_pod
from tests.cluster.test_queue import FULL
from tests.manifests.renders import with_components

Object = dict[str, Any]
Cli = Callable[..., Result]
pytestmark = pytest.mark.usefixtures("namespace")


@pytest.fixture(scope="module")
def granted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Object]]:
    """The rules that each group of the bindings gets."""
    folder = with_components(tmp_path_factory.mktemp("roles") / "clone", (), ("roles",))
    things = render(folder / "k8s/cluster")
    roles = {t["metadata"]["name"]: t["rules"] for t in things if t["kind"] == "Role"}
    rules: dict[str, list[Object]] = {}
    for thing in things:
        if thing["kind"] == "RoleBinding":
            for subject in thing["subjects"]:
                assert subject["kind"] == "Group"
                rules.setdefault(subject["name"], []).extend(roles[thing["roleRef"]["name"]])
    return rules


@pytest.fixture
def running(api: Api, secret: Object, worker_pod: Callable[..., Object]) -> Object:
    """A Job with a pod and its log."""
    api.put("v1/secrets", secret)
    pod = api.put("v1/pods", worker_pod(containerStatuses=[{"state": {"running": {}}}]))
    log = f"get /api/v1/namespaces/hpo-job/pods/{pod['metadata']['name']}/log"
    api.answers[log] = b"2026-01-01T00:00:00.000000000Z a line\n"
    return api.put("batch/v1/jobs", copy.deepcopy(JOB))


def test_people_who_look(
    api: Api, cli: Cli, running: Object, digits: Path, granted: dict[str, list[Object]]
) -> None:
    api.rules = granted["hpo-job-view"]
    assert "digits-worker in hpo-job" in cli("status", "digits", "--cluster").stdout
    assert "a line" in cli("logs", "digits").stdout
    # the right to the Secret is enough to learn of the database, which does not exist here
    assert "/nowhere/studies.db: no such file" in cli("results", "digits", "--cluster").stderr
    api.install_kueue()
    api.queue_job(running, FULL)
    assert "insufficient unused quota" in cli("status", "digits", "--cluster").stdout
    for command in (("submit", digits), ("scale", "digits", "5"), ("stop", "digits")):
        refused = cli(*command)
        assert refused.exit_code == 2
        assert "forbidden: this account may not" in refused.stderr
    assert "forbidden" in cli("delete", "digits", "--cluster").stderr
    assert api.applied == []


def test_people_who_submit(
    api: Api, cli: Cli, secret: Object, digits: Path, granted: dict[str, list[Object]]
) -> None:
    api.put("v1/secrets", secret)
    api.put("v1/resourcequotas", {"metadata": {"name": "q"}, "spec": {"hard": {}}})
    api.rules = granted["hpo-job-submit"]
    done = cli("submit", digits)
    assert done.exit_code == 0, done.output
    # nodes are of the whole cluster, and a Role cannot grant them: only the capacity is not known
    assert [line for line in done.stderr.splitlines() if "forbidden" in line] == [
        "hpo-job: capacity not checked: forbidden: this account may not list nodes"
    ]
    for command in (("scale", digits, "5"), ("stop", digits), ("resume", digits)):
        assert cli(*command).exit_code == 0, command
    api.install_kueue()
    workload = api.queue_job(api.objects["/apis/batch/v1/namespaces/hpo-job/jobs/digits-worker"])
    assert cli("stop", digits).exit_code == 0
    assert workload["spec"]["active"] is False
    assert cli("submit", digits, "--replace").exit_code == 0
    assert cli("delete", digits, "--cluster").exit_code == 0
    refused = cli("database")
    assert refused.exit_code == 2


def test_people_who_run_the_database(
    api: Api,
    cli: Cli,
    digits: Path,
    granted: dict[str, list[Object]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("hpo_job.cluster.server.log_in", lambda cluster, secret: None)
    monkeypatch.chdir(digits.parents[1])
    ready_pod(api)
    api.rules = granted["hpo-job-database"]
    done = cli("database")
    assert done.exit_code == 0, done.output
    assert cli("database").exit_code == 0
    assert "forbidden" in cli("submit", digits).stderr


def test_everybody_may_reach_the_databases_pod(granted: dict[str, list[Object]]) -> None:
    """A port-forward over a WebSocket asks for `get`; newer API servers for `create`."""
    for rules in granted.values():
        (forward,) = [rule for rule in rules if "pods/portforward" in rule["resources"]]
        assert set(forward["verbs"]) == {"get", "create"}


def test_nobody_reads_other_secrets(granted: dict[str, list[Object]]) -> None:
    for rules in granted.values():
        for rule in rules:
            if "secrets" in rule["resources"] and rule["verbs"] != ["create"]:
                assert set(rule["resourceNames"]) <= {"hpo-job-mysql", "hpo-job-storage"}
