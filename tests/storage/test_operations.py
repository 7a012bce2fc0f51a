"""Backup and restore, with the commands of docs/operations.md."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import optuna
import pytest
from sqlalchemy.engine import make_url

from hpo_job.storage.database import Storage
from hpo_job.study.joining import load
from tests import ROOT
from tests.needs import find_program
from tests.storage.mysql.server import PrivateServer
from tests.storage.mysql.server import sql as sql_mysql
from tests.storage.pods import HELD, kill, pods_of
from tests.storage.postgres import PASSWORD, PostgresServer
from tests.storage.sql import sql

PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
PATH = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
pytestmark = [
    pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning"),
    pytest.mark.filterwarnings("ignore:Heartbeat of storage:UserWarning"),
]


def documented(program: str) -> str:
    """The command of the page that begins so."""
    (line,) = re.findall(rf"^\$ ({re.escape(program)} .*)$", PAGE, re.MULTILINE)
    return str(line)


def shell(
    command: str, folder: Path, replaced: Mapping[str, str], **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run a command of the page, with this machine's places in it."""
    for text, place in replaced.items():
        assert text in command, f"{command} has no {text}"
        command = command.replace(text, place)
    done = subprocess.run(
        ["sh", "-ec", command],
        cwd=folder,
        env={**os.environ, "PATH": PATH, **variables},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done


def run_trials(url: str, count: int) -> None:
    """A study called s, with so many further trials."""
    storage = Storage(url, create=True)
    study = optuna.create_study(study_name="s", storage=storage.optuna, load_if_exists=True)
    study.optimize(objective, n_trials=count)
    storage.close()


def objective(trial: optuna.Trial) -> float:
    x = trial.suggest_float("x", 0, 1)
    trial.report(x, 0)
    trial.set_user_attr("note", "ü")
    return x


def stored(url: str) -> list[Any]:
    """What is in the trials of the study."""
    storage = Storage(url, read_only=True)
    trials = load("s", storage).trials
    storage.close()
    return [(t.number, t.state, t.value, t.params, t.user_attrs, t.datetime_start) for t in trials]


# -- SQLite ------------------------------------------------------------------------------------


@pytest.mark.needs("sqlite3")
def test_a_sqlite_file_is_backed_up_while_it_is_written_to(tmp_path: Path) -> None:
    (tmp_path / ".hpo").mkdir()
    url = f"sqlite:///{tmp_path}/.hpo/studies.db"
    run_trials(url, 4)
    before = stored(url)
    worker = Storage(url)
    study = optuna.load_study(study_name="s", storage=worker.optuna)
    trial = study.ask()  # in the log, which is not yet part of the file
    study.tell(trial, 0.5)
    assert (tmp_path / ".hpo/studies.db-wal").stat().st_size
    shell(documented("sqlite3"), tmp_path, {})
    worker.close()
    copied = stored(f"sqlite:///{tmp_path}/studies-backup.db")
    assert copied[:4] == before and len(copied) == 5


def test_a_plain_copy_of_a_sqlite_file_has_what_is_in_its_log(tmp_path: Path) -> None:
    (tmp_path / ".hpo").mkdir()
    (tmp_path / "backup").mkdir()
    url = f"sqlite:///{tmp_path}/.hpo/studies.db"
    run_trials(url, 2)
    worker = Storage(url)
    optuna.load_study(study_name="s", storage=worker.optuna).optimize(objective, n_trials=3)
    assert (tmp_path / ".hpo/studies.db-wal").stat().st_size
    shell(documented("cp .hpo/studies.db*"), tmp_path, {"/backup/": f"{tmp_path}/backup/"})
    before = stored(url)
    worker.close()
    run_trials(url, 2)
    for file in (tmp_path / ".hpo").glob("studies.db*"):
        file.unlink()
    for file in (tmp_path / "backup").iterdir():
        shutil.copy(file, tmp_path / ".hpo")
    assert len(before) == 5
    assert stored(url) == before


# -- MySQL and MariaDB ---------------------------------------------------------------------------


@pytest.fixture
def hpo(own_server: PrivateServer) -> str:
    """A server with the database and the account of the page."""
    for statement in account_statements("MySQL and MariaDB"):
        sql_mysql(own_server.root_url, statement)
    here = make_url(own_server.root_url).set(
        username="worker", password="PASSWORD", database="hpo", host="127.0.0.1"
    )
    return here.render_as_string(hide_password=False)


def account_statements(database: str) -> list[str]:
    """The SQL for accounts, of one kind of database."""
    block = PAGE.partition(f"For {database}")[2].partition("```sql\n")[2].partition("```")[0]
    return [statement.strip() for statement in block.split(";") if statement.strip()]


def at(server: PrivateServer) -> dict[str, str]:
    return {"--host=127.0.0.1": f"--host=127.0.0.1 --port={server.port}"}


@pytest.mark.needs("mariadb")
def test_a_dump_of_mysql_is_restored_and_its_running_trial_run_again(
    hpo: str, own_server: PrivateServer, tmp_path: Path
) -> None:
    with pods_of(tmp_path, hpo, HELD, grace=2, budget="trials = 2") as pods:
        run_trials(hpo, 3)
        (pod,) = pods.start()
        pods.wait_for(1)
        pods.know_parameters(4)
        shell(documented("mysqldump"), tmp_path, at(own_server), PASSWORD="PASSWORD")
        before = stored(hpo)
        kill(pod.pid)
        run_trials(hpo, 2)
        root = {"--user=root": "--user=root", **at(own_server)}
        sql_mysql(own_server.root_url, "DROP DATABASE hpo", "CREATE DATABASE hpo")
        shell(documented("mysql"), tmp_path, root, PASSWORD="")
        assert stored(hpo) == before
        pods.go()
        pods.start()
        assert pods.end() == [-9, 0]
        states = "SELECT state, COUNT(*) FROM trials JOIN studies USING (study_id)"
        counts = sql(hpo, f"{states} WHERE study_name = 'quick' GROUP BY state ORDER BY state")
        assert dict(counts) == {"COMPLETE": 2, "FAIL": 1}
        assert set(pods.reasons().values()) == {"lost"}


@pytest.mark.needs("mariadb")
def test_a_physical_copy_of_mysql_is_restored(
    hpo: str, own_server: PrivateServer, tmp_path: Path
) -> None:
    run_trials(hpo, 5)
    before = stored(hpo)
    data = own_server.directory / "data"
    own_server.stop()
    shell(
        documented("cp -a"), tmp_path, {"/var/lib/mysql": str(data), "/backup/": f"{tmp_path}/copy"}
    )
    own_server.start()
    run_trials(hpo, 2)
    own_server.stop()
    shutil.rmtree(data)
    shutil.copytree(tmp_path / "copy", data)
    own_server.start()
    assert stored(hpo) == before
    run_trials(hpo, 1)
    assert len(stored(hpo)) == 6


# -- PostgreSQL ----------------------------------------------------------------------------------


def test_a_dump_of_postgresql_is_restored(
    postgres: PostgresServer, postgres_url: str, tmp_path: Path
) -> None:
    run_trials(postgres_url, 4)
    before = stored(postgres_url)
    restored = postgres.new_database()
    for program, url in (("pg_dump", postgres_url), ("pg_restore", restored)):
        name = url.rpartition("/")[2]
        database = {"hpo.dump hpo": f"hpo.dump {name}"} if program == "pg_dump" else {}
        database |= {"--dbname=hpo": f"--dbname={name}"} if program == "pg_restore" else {}
        command = documented(program).replace(program, str(find_program(program)), 1)
        place = {"--host=127.0.0.1": f"--host=127.0.0.1 --port={postgres.port}"}
        account = {"--username=worker": "--username=root"}
        shell(command, tmp_path, database | place | account, PGPASSWORD=PASSWORD)
    assert stored(restored) == before
    run_trials(restored, 1)
    assert len(stored(restored)) == 5


# -- Optuna's schema -----------------------------------------------------------------------------


@pytest.mark.processes
def test_an_older_schema_of_a_sqlite_file_is_refused_and_upgraded(
    tmp_path: Path, cli: Callable[..., Any]
) -> None:
    url = f"sqlite:///{tmp_path}/studies.db"
    run_trials(url, 2)
    before = stored(url)
    sql(url, "UPDATE alembic_version SET version_num = 'v3.0.0.d'")
    refused = cli("results", "s", "--storage", url)
    assert refused.exit_code == 2
    assert len(refused.output.splitlines()) == 1
    assert "optuna storage upgrade --storage" in refused.output
    upgrade = documented("optuna storage upgrade")
    shell(upgrade, tmp_path, {"URL": url})
    assert stored(url) == before
