"""`hpo-job database` says "ready" once workers can log in: a stand-in, but a real server."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from sqlalchemy.engine import make_url

from hpo_job.cluster.server import new_server
from tests.cluster.conftest import Api, api, digits, namespace  # noqa: F401  # fixtures
from tests.cluster.test_place import ready_pod
from tests.storage.mysql.server import PrivateServer, sql

Object = dict[str, Any]


def test_ready_means_logged_in(
    api: Api,  # noqa: F811
    namespace: None,  # noqa: F811
    cli: Callable[..., Result],
    digits: Path,  # noqa: F811
    start_server: Callable[..., PrivateServer],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """Over TLS, with the password of the Secret; and not if the volume has another one."""
    secret = new_server("hpo-job")
    for name in ("ca.pem", "server.pem", "server-key.pem"):
        (tmp_path / name).write_text(secret[name])
        (tmp_path / name).chmod(0o644)
    for folder in (tmp_path, *tmp_path.parents):
        if folder.owner() == Path.home().owner() and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o111)
    url = start_server(
        f"ssl-ca={tmp_path}/ca.pem",
        f"ssl-cert={tmp_path}/server.pem",
        f"ssl-key={tmp_path}/server-key.pem",
    ).root_url
    sql(
        url,
        "CREATE DATABASE hpo",
        f"CREATE USER hpo@'%' IDENTIFIED BY '{secret['password']}' REQUIRE SSL",
        "GRANT ALL ON hpo.* TO hpo@'%'",
    )
    data = {key: base64.b64encode(value.encode()).decode() for key, value in secret.items()}
    api.put("v1/secrets", {"metadata": {"name": "hpo-job-mysql"}, "data": data})
    ready_pod(api)
    api.listen("hpo-job-mysql-0", int(make_url(url).port or 3306))
    monkeypatch.chdir(digits.parents[1])
    done = cli("database")
    assert done.exit_code == 0, done.output
    assert "the database is ready" in done.stdout

    sql(url, "ALTER USER hpo@'%' IDENTIFIED BY 'another'")
    refused = cli("database")
    assert refused.exit_code == 2
    assert "the database does not accept Secret hpo-job-storage" in refused.stderr
    assert "user name or password are wrong" in refused.stderr
    assert "ready; next" not in refused.stdout
    assert secret["password"] not in refused.output
