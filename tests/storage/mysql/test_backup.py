"""The nightly dump of components/backup, and how docs/kubernetes.md says to restore it."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml
from sqlalchemy.engine import make_url

from hpo_job.storage.mysql import MySQLStorage
from tests import ROOT
from tests.needs import find_program
from tests.storage.mysql.fleet import study_on
from tests.storage.mysql.server import PrivateServer, sql

pytestmark = pytest.mark.needs("mariadb")
PASSWORD = "s3cret"


@pytest.fixture
def database(own_server: PrivateServer) -> str:
    """A server with the database and the account of k8s/mysql."""
    sql(
        own_server.root_url,
        "CREATE DATABASE hpo",
        f"CREATE USER hpo@'%' IDENTIFIED BY '{PASSWORD}'",
        "GRANT ALL ON hpo.* TO hpo@'%'",
    )
    here = make_url(own_server.root_url).set(username="hpo", password=PASSWORD, database="hpo")
    return here.render_as_string(hide_password=False)


@pytest.fixture
def backup(database: str, tmp_path: Path) -> Callable[[], subprocess.CompletedProcess[str]]:
    """Runs the command of the CronJob into ``tmp_path``; only the connection differs."""
    manifest = yaml.safe_load((ROOT / "k8s/components/backup/cronjob.yaml").read_text())
    pod = manifest["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    variables = {each["name"]: each.get("value", PASSWORD) for each in container["env"]}
    port = make_url(database).port
    here = {"FOLDER": str(tmp_path), "CONNECTION": f"--no-defaults --host=127.0.0.1 --port={port}"}
    assert here.keys() <= variables.keys()
    environment = {**os.environ, **variables, **here}

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(container["command"], env=environment, capture_output=True, text=True)

    return run


def documented_restore() -> str:
    """The command in docs/kubernetes.md that the database's pod runs."""
    text = (ROOT / "docs/kubernetes.md").read_text()
    match = re.search(r"exec -i hpo-job-mysql-0 -- \\\n\s+(sh -c '.*') < ", text)
    assert match
    return match[1]


def trials(storage: MySQLStorage) -> list[Any]:
    study = optuna.load_study(study_name="s", storage=storage)
    return [(t.number, t.state, t.value, t.params, t.user_attrs) for t in study.trials]


def test_a_dump_is_restored(
    database: str,
    backup: Callable[[], subprocess.CompletedProcess[str]],
    own_server: PrivateServer,
    tmp_path: Path,
) -> None:
    storage = MySQLStorage(database)
    study = study_on(storage)
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=5)
    before = trials(storage)
    done = backup()
    assert done.returncode == 0, done.stderr
    (dump,) = tmp_path.iterdir()
    assert re.fullmatch(r"hpo-\d{4}-\d\d-\d\dT\d{6}\.sql", dump.name)
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=2)
    storage.remove_session()
    sql(own_server.root_url, "DROP DATABASE hpo", "CREATE DATABASE hpo")
    client = f"{find_program('mysql')} --no-defaults -h 127.0.0.1 -P {own_server.port}"
    restore = documented_restore().replace("mysql ", f"{client} ", 1)
    with dump.open() as source:
        again = subprocess.run(
            ["sh", "-c", restore],
            stdin=source,
            env={**os.environ, "MYSQL_PASSWORD": PASSWORD},
            capture_output=True,
            text=True,
        )
    assert again.returncode == 0, again.stderr
    restored = MySQLStorage(database)
    assert trials(restored) == before
    restored.remove_session()


def test_seven_dumps_are_kept(
    backup: Callable[[], subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    for day in range(1, 9):
        (tmp_path / f"hpo-2026-01-0{day}T031700.sql").touch()
    assert backup().returncode == 0
    kept = sorted(file.name for file in tmp_path.iterdir())
    assert len(kept) == 7
    assert kept[0] == "hpo-2026-01-03T031700.sql"


def test_a_dump_that_fails_is_no_dump(
    backup: Callable[[], subprocess.CompletedProcess[str]],
    own_server: PrivateServer,
    tmp_path: Path,
) -> None:
    own_server.kill()
    (tmp_path / "hpo-2026-01-01T031700.sql").touch()
    done = backup()
    assert done.returncode != 0
    assert [file.name for file in tmp_path.glob("hpo-*")] == ["hpo-2026-01-01T031700.sql"]
