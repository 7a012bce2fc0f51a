"""`hpo-job database --rotate`: a stand-in for the API server, but a real database."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import Result
from sqlalchemy.engine import make_url

from hpo_job.cluster.certificate import new_certificate
from hpo_job.storage.mysql import MySQLStorage
from hpo_job.storage.mysql.passwords import accepts
from tests.cluster.conftest import Api, api, encoded, namespace  # noqa: F401  # fixtures
from tests.storage.mysql.fleet import study_on
from tests.storage.mysql.server import PrivateServer, sql
from tests.storage.mysql.test_through_a_cluster import cluster_of  # noqa: F401  # a fixture

SECRETS = "/api/v1/namespaces/hpo-job/secrets"
RESTART = "after patch /apis/apps/v1/namespaces/hpo-job/statefulsets/hpo-job-mysql"
pytestmark = pytest.mark.needs("mariadb")


@pytest.fixture
def database(
    own_server: PrivateServer,
    api: Api,  # noqa: F811
    cluster_of: Callable[[str], None],  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> str:
    """A database as `hpo-job database` makes it, and its URL on this machine."""
    monkeypatch.setattr("hpo_job.storage.timeouts.RENEWAL", 0)
    monkeypatch.setattr("hpo_job.cluster.rotation.LOOK", 0.0)
    sql(
        own_server.root_url,
        "CREATE DATABASE hpo",
        "CREATE USER hpo@'%' IDENTIFIED BY 'old'",
        "GRANT ALL ON hpo.* TO hpo@'%'",
        "CREATE USER root@'%' IDENTIFIED BY 'oldroot'",
        "GRANT ALL ON *.* TO root@'%' WITH GRANT OPTION",
        "DROP USER root@localhost",
        "DROP USER IF EXISTS root@'127.0.0.1'",
    )
    here = make_url(own_server.root_url).set(username="hpo", password="old", database="hpo")
    url = here.render_as_string(hide_password=False)
    cluster_of(url)
    authority, _, _ = new_certificate("hpo-job-mysql", "hpo-job")
    content = {"password": "old", "root-password": "oldroot", "ca.pem": authority}
    data = encoded(content)
    api.put("v1/secrets", {"metadata": {"name": "hpo-job-mysql"}, "data": data})
    api.objects[f"{SECRETS}/hpo-job-storage"]["data"]["ca.pem"] = data["ca.pem"]
    api.put("apps/v1/statefulsets", {"metadata": {"name": "hpo-job-mysql"}, "spec": {}})
    (pod,) = [each for name, each in api.objects.items() if name.endswith("/pods/hpo-job-mysql-0")]

    def restart() -> None:
        pod["metadata"]["uid"] = f"{pod['metadata'].get('uid')}+"

    api.answers[RESTART] = restart
    return url


def content_of(api: Api, name: str) -> dict[str, str]:  # noqa: F811
    data = api.objects[f"{SECRETS}/{name}"]["data"]
    return {key: base64.b64decode(value).decode() for key, value in data.items()}


def test_passwords_and_certificate_are_new_and_trials_stay(
    database: str,
    api: Api,  # noqa: F811
    cli: Callable[..., Result],
) -> None:
    study_on(MySQLStorage(database)).optimize(lambda trial: 1.0, n_trials=3)
    before = content_of(api, "hpo-job-mysql")
    done = cli("database", "--rotate")
    assert done.exit_code == 0, done.output
    server, workers = content_of(api, "hpo-job-mysql"), content_of(api, "hpo-job-storage")
    assert not any(key.startswith("next-") for key in server)
    for key in ("password", "root-password"):
        assert server[key] != before[key]
    assert make_url(workers["url"]).password == server["password"]
    assert make_url(workers["url"]).host == "hpo-job-mysql"
    # a worker that has the old file still knows the server, and one that has the new, both
    assert workers["ca.pem"].endswith(before["ca.pem"])
    assert workers["ca.pem"].count("BEGIN CERTIFICATE") == 2
    assert server["server.pem"]
    assert not accepts(database, 5)
    assert "3 trials" in cli("status", "s", "--cluster").stdout
    for secret in ("old", "oldroot", server["password"], server["root-password"]):
        assert f" {secret}" not in done.output


@pytest.mark.parametrize("step", ["_store", "_restart", "wait_ready"])
def test_a_rotation_that_was_cut_off_is_completed(
    database: str,
    api: Api,  # noqa: F811
    cli: Callable[..., Result],
    monkeypatch: pytest.MonkeyPatch,
    step: str,
) -> None:
    def cut(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(f"hpo_job.cluster.rotation.{step}", cut)
        assert cli("database", "--rotate").exit_code == 130
    done = cli("database", "--rotate")
    assert done.exit_code == 0, done.output
    password = content_of(api, "hpo-job-mysql")["password"]
    now = make_url(database).set(password=password).render_as_string(hide_password=False)
    assert accepts(now, 5)


def test_a_rotation_that_fails_says_that_it_is_to_be_run_again(
    database: str,
    api: Api,  # noqa: F811
    cli: Callable[..., Result],
) -> None:
    """The server has the new passwords by then, and accepts the old ones as well."""
    api.answer(RESTART.removeprefix("after "), 403, "forbidden")
    refused = cli("database", "--rotate")
    assert refused.exit_code == 2
    assert "not finished: run hpo-job database --rotate again" in " ".join(refused.stderr.split())
    del api.answers[RESTART.removeprefix("after ")]
    assert cli("database", "--rotate").exit_code == 0


def test_only_a_database_of_this_command_is_rotated(
    database: str,
    api: Api,  # noqa: F811
    cli: Callable[..., Result],
) -> None:
    api.delete("v1/secrets", "hpo-job-mysql")
    refused = cli("database", "--rotate")
    assert refused.exit_code == 2
    assert "only a database of `hpo-job database` can be rotated" in " ".join(
        refused.stderr.split()
    )
