"""What no waiting mends, and what waiting does: one clear line, a non-zero exit, or a retry."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy
from sqlalchemy.engine import make_url

from hpo_job.storage.database import Storage
from hpo_job.storage.mysql import MySQLStorage, faults
from hpo_job.study.workers import INDEX, OWNER
from tests.quick import command, wait_until
from tests.storage.mysql.server import PrivateServer, connect, new_database, sql
from tests.storage.mysql.test_faults import account
from tests.storage.pods import HELD, pods_of, short

# Its fourth trial asks for more room than the server has
GREEDY = """
def train(trial, context):
    for i in range(600 if trial.number == 3 else 0):
        trial.set_user_attr(f"k{i}", "x" * 60000)
    return context.params["x"]
"""
# Numbers that the server itself sends, or the client library for it. Each stands here too, so that
# none goes missing unnoticed: it would end all workers of a study
PASSES = frozenset(
    (
        0,
        1020,
        1040,
        1053,
        1152,
        1158,
        1159,
        1160,
        1161,
        1203,
        1205,
        1213,
        1226,
        1927,
        2002,
        2003,
        2005,
        2006,
        2013,
        2014,
        2055,
        4031,
    )
)


def test_nothing_else_passes_by_itself() -> None:
    assert faults.BUSY | faults.LOST == PASSES


@pytest.mark.parametrize("number", sorted(PASSES))
def test_what_passes_by_itself_is_tried_again(storage: MySQLStorage, number: int) -> None:
    attempts = []

    def work(cursor, attempt: int) -> int:  # type: ignore[no-untyped-def]
        attempts.append(attempt)
        if attempt < 2 and number and number not in range(2000, 3000):  # those are the client's
            cursor.execute(f"SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = {number}")
        if attempt < 2:
            raise storage._connection.server.driver.OperationalError(number, "")
        cursor.execute("SELECT 7")
        return int(cursor.fetchone()[0])

    assert storage._connection.run(work) == 7
    assert attempts == [0, 1, 2]


@pytest.mark.parametrize("number", [1050, 1061, 1062, 1684])
def test_tables_that_plain_optuna_creates_at_this_moment_are_looked_at_again(
    url: str, number: int
) -> None:
    refused: list[int] = []

    def refuse(connection: Any, _cursor: Any, text: str, *_: Any) -> None:
        if "CREATE TABLE trials" in text and not refused:
            refused.append(number)
            signal = f"SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = {number}"
            connection.exec_driver_sql(signal)

    sqlalchemy.event.listen(sqlalchemy.Engine, "before_cursor_execute", refuse)
    try:
        MySQLStorage(url, patience=60).remove_session()
    finally:
        sqlalchemy.event.remove(sqlalchemy.Engine, "before_cursor_execute", refuse)
    assert refused == [number]


def test_an_account_that_may_only_read_ends_every_worker_with_one_line(
    root_url: str, url: str, tmp_path: Path
) -> None:
    reader = account(root_url, url, "GRANT SELECT ON {database}.* TO {user}")
    with pods_of(tmp_path, url, short(), budget="trials = 1") as pods:
        pods.start()
        assert pods.end() == [0]
        text = (pods.job / "study.toml").read_text()
        (pods.job / "study.toml").write_text(text.replace("trials = 1", "trials = 2"))
        (refused,) = pods.start(url=reader)
        assert pods.end() == [0, 2]
        (line,) = pods.said_by(refused).splitlines()
        assert "this account may not write" in line and "s3cret" not in line
        assert pods.states() == {"COMPLETE": 1}


def test_an_account_that_may_not_create_tables_works_all_the_same(
    root_url: str, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grant = "GRANT SELECT, INSERT, UPDATE, DELETE ON {database}.* TO {user}"
    writer = account(root_url, url, grant)
    with pods_of(tmp_path, url, short(), budget="trials = 1") as pods:
        Storage(url, create=True).close()  # Optuna's tables, by an account that may
        monkeypatch.setenv(OWNER, "uid-1")
        monkeypatch.setenv(INDEX, "0")
        pods.start(url=writer)
        assert pods.end() == [0], pods.said()
        (line,) = (line for line in pods.said().splitlines() if "hpo_job_studies" in line)
        assert "let the account create and write the table hpo_job_studies" in line
        assert "s3cret" not in line
        assert pods.states() == {"COMPLETE": 1}


def test_a_full_disk_ends_a_worker_with_one_line_and_the_study_stays_readable(
    start_server: Callable[..., PrivateServer], tmp_path: Path
) -> None:
    server = start_server(
        "innodb-file-per-table=0", "innodb-data-file-path=ibdata1:12M:autoextend:max:24M"
    )
    url = new_database(server.root_url)
    with pods_of(tmp_path, url, GREEDY, budget="trials = 9") as pods:
        pods.start()
        assert pods.end() == [2]
        (error,) = pods.complaints()
        assert "the server's disk is full" in error
    trials = optuna.load_study(study_name="quick", storage=url).trials
    assert [trial.state.name for trial in trials] == ["COMPLETE"] * 3 + ["RUNNING"]


@pytest.mark.needs("faketime")
@pytest.mark.parametrize("shift", ["-1h", "+1h"])
def test_a_worker_whose_clock_is_an_hour_off_takes_nothing_and_works_its_time(
    url: str, tmp_path: Path, shift: str
) -> None:
    faketime = shutil.which("faketime")
    # Trial 0 runs on while the others end, so that the study's time is counted up to now.
    source = HELD.replace("while not any", "while trial.number == 0 and not any")
    budget = 'trials = 3\ntimeout = "30m"'
    with pods_of(tmp_path, url, source, budget=budget) as pods:
        pods.start()
        pods.wait_for(1)
        off = subprocess.Popen(
            [
                str(faketime),
                "-f",
                shift,
                Path(sys.executable).with_name("hpo-job"),
                "worker",
                pods.job,
                "--storage",
                url,
            ],
            stderr=subprocess.PIPE,
            text=True,
        )
        wait_until(lambda: pods.finished() == 2)
        pods.go()
        _, said = off.communicate(timeout=120)
        assert off.returncode == 0, said
        assert pods.end() == [0]
        assert pods.states() == {"COMPLETE": 3}
        times = "SELECT datetime_start AS t FROM trials UNION SELECT datetime_complete FROM trials"
        off_by = f"SELECT MAX(ABS(TIMESTAMPDIFF(SECOND, t, UTC_TIMESTAMP()))) FROM ({times}) x"
        assert sql(url, off_by)[0][0] < 300


def test_an_older_schema_is_refused_with_the_command_that_upgrades_it_and_then_opens(
    url: str, tmp_path: Path
) -> None:
    with pods_of(tmp_path, url, short(), budget="trials = 1") as pods:
        pods.start()
        assert pods.end() == [0]
        sql(url, "UPDATE alembic_version SET version_num = 'v3.0.0.d'")
        pods.start()
        assert pods.end() == [0, 2]
        (line,) = pods.said_by(pods.all[1]).splitlines()
        assert "`optuna storage upgrade --storage URL`" in line
        optuna_program = str(Path(sys.executable).with_name("optuna"))
        upgrade = [optuna_program, "storage", "upgrade", "--storage", url]
        done = subprocess.run(upgrade, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        pods.start()
        assert pods.end() == [0, 2, 0]
        assert pods.states() == {"COMPLETE": 1}


def test_the_retries_of_a_trial_are_limited_and_their_chain_is_shown(
    url: str, tmp_path: Path
) -> None:
    with pods_of(tmp_path, url, HELD, budget="trials = 1\nretries = 2") as pods:
        for n in range(3):
            (pod,) = pods.start()
            pods.wait_for(n + 1)
            pods.know_parameters(n + 1)
            pod.terminate()
            pod.join(120)
        assert pods.states() == {"FAIL": 3}  # and none waits: that was the last retry
        assert pods.retries() == {1: "0", 2: "1"}
        pods.go()
        pods.start()
        assert pods.end() == [143, 143, 143, 0]
        output, _ = command("results", "quick", "--storage", url).communicate(timeout=120)
        rows = [line for line in output.splitlines() if "(preempted)" in line]
        assert len(rows) == 3
        assert "(retry of #0)" in rows[1] and "(retry of #1)" in rows[2]


def test_check_says_how_many_workers_a_server_carries_and_run_warns_above(
    root_url: str, url: str, tmp_path: Path
) -> None:
    grant = "GRANT ALL ON {database}.* TO {user}"
    narrow = account(root_url, url, grant)
    for host in ("%", "localhost"):
        user = f"'{make_url(narrow).username}'@'{host}'"
        sql(root_url, f"ALTER USER {user} WITH MAX_USER_CONNECTIONS 3")
    with pods_of(tmp_path, url, short(), budget="trials = 2") as pods:
        for connected, free in ((root_url, 3), (narrow, 2)):  # others' do not count against it
            with contextlib.closing(connect(connected)):
                said, _ = command("check", pods.job, "--storage", narrow).communicate(timeout=120)
            assert f"server        has free connections for {free} more workers" in said
        for workers, warned in (("3", True), ("2", False)):
            run = command("run", pods.job, "--workers", workers, "--storage", narrow)
            _, errors = run.communicate(timeout=120)
            assert run.returncode == 0
            assert ("has free connections for 3 more workers; of 3, some will" in errors) == warned
