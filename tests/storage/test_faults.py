"""The faults that MySQL's storage survives, done to workers on SQLite and PostgreSQL.

What cannot hold there is in the table of docs/storage.md.
"""

from __future__ import annotations

import logging
import os
import re
import signal
import socket
import sqlite3
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy
from optuna.trial import TrialState
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

from hpo_job.errors import StorageError, UnreachableError
from hpo_job.storage import outage, rdb_faults, timeouts
from hpo_job.storage.database import Storage, worker_capacity
from hpo_job.storage.locks import LockLost
from hpo_job.storage.shared_rdb import SharedRDBStorage
from tests.quick import wait_until
from tests.storage.conftest import plain, shared
from tests.storage.pods import HELD, ask_by, kill, pods_of, short
from tests.storage.postgres import PostgresServer
from tests.storage.sql import connect, sql

GRACE = 10  # seconds: a busy machine does not keep a worker from its heartbeat for so long
pytestmark = [
    pytest.mark.filterwarnings("ignore:Heartbeat of storage:UserWarning"),
    pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning"),
]


# ---- workers die, freeze, and come back ----------------------------------------------------


@pytest.mark.processes
def test_8_workers_at_once_on_an_empty_database_run_the_budget_and_then_none(
    empty_url: str, tmp_path: Path
) -> None:
    with pods_of(tmp_path, empty_url, short(), budget="trials = 20") as pods:
        pods.start(8)
        assert pods.end() == [0] * 8
        assert pods.states() == {"COMPLETE": 20}
        assert sql(empty_url, "SELECT COUNT(DISTINCT number), MAX(number) FROM trials") == [
            (20, 19)
        ]
        pods.start(2)
        assert pods.end() == [0] * 10
        assert pods.states() == {"COMPLETE": 20}
        assert "Traceback" not in pods.said()


@pytest.mark.processes
def test_trials_of_killed_workers_are_noticed_in_mid_trial_and_run_again_once(
    rdb_url: str, tmp_path: Path
) -> None:
    with pods_of(tmp_path, rdb_url, HELD, grace=GRACE, budget="trials = 3") as pods:
        pods.start(3)
        pods.wait_for(3)
        pods.know_parameters(3)
        for number in (0, 2):
            kill(pods.running()[number])
        # The one that is left is busy with its trial, and starts no other.
        wait_until(lambda: pods.states() == {"FAIL": 2, "RUNNING": 1, "WAITING": 2})
        pods.go()
        assert sorted(pods.end(), key=str) == [-9, -9, 0]
        assert pods.states() == {"FAIL": 2, "COMPLETE": 3}
        assert sorted(pods.retries().values()) == ["0", "2"]
        assert pods.reasons() == {0: "lost", 2: "lost"}
        with plain(rdb_url) as storage:
            trials = optuna.load_study(study_name="quick", storage=storage).trials
        assert all(trials[n].params == trials[int(m)].params for n, m in pods.retries().items())


@pytest.mark.parametrize("when", ["before the ask", "after the ask"])
@pytest.mark.processes
def test_a_worker_that_dies_while_it_asks_leaves_nothing_behind(
    rdb_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    def die(ask: Callable[[], optuna.Trial]) -> optuna.Trial:
        if when == "after the ask":
            ask()
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError

    with pods_of(tmp_path, rdb_url, short(), grace=2, budget="trials = 2") as pods:
        with monkeypatch.context() as patch:
            patch.setattr(optuna.Study, "ask", ask_by(die))
            pods.start()
            assert pods.end() == [-9]
        pods.start()
        assert pods.end() == [-9, 0]
        lost = {"FAIL": 1} if when == "after the ask" else {}
        assert pods.states() == {"COMPLETE": 2, **lost}


@pytest.mark.processes
def test_a_running_trial_of_plain_optuna_without_heartbeat_is_run_again(
    rdb_url: str, tmp_path: Path
) -> None:
    with pods_of(tmp_path, rdb_url, short(), grace=2, budget="trials = 2") as pods:
        pods.start()
        assert pods.end() == [0]
        text = (pods.job / "study.toml").read_text()
        (pods.job / "study.toml").write_text(text.replace("trials = 2", "trials = 3"))
        with plain(rdb_url) as storage:
            zombie = optuna.load_study(study_name="quick", storage=storage).ask()
        assert sql(rdb_url, "SELECT COUNT(*) FROM trial_heartbeats WHERE trial_id = 3") == [(0,)]
        pods.start()
        assert pods.end() == [0, 0]
        assert pods.states() == {"COMPLETE": 3, "FAIL": 1}
        assert pods.reasons() == {zombie.number: "lost"}


@pytest.mark.processes
def test_sigterm_is_a_preemption_and_the_parameters_wait_at_once(
    rdb_url: str, tmp_path: Path
) -> None:
    with pods_of(tmp_path, rdb_url, HELD, budget="trials = 1") as pods:
        (pod,) = pods.start()
        pods.wait_for(1)
        pod.terminate()
        assert pods.end() == [143]
        assert pods.states() == {"FAIL": 1, "WAITING": 1}
        assert pods.reasons() == {0: "preempted"}
        assert pods.retries() == {1: "0"}


@pytest.mark.processes
def test_a_worker_that_is_woken_after_its_trial_was_given_away_takes_a_new_one(
    rdb_url: str, tmp_path: Path
) -> None:
    with pods_of(tmp_path, rdb_url, HELD, grace=GRACE, budget="trials = 2") as pods:
        (frozen,) = pods.start()
        pods.wait_for(1)
        pods.know_parameters(1)
        os.kill(frozen.pid, signal.SIGSTOP)
        pods.start()
        wait_until(lambda: pods.states() == {"FAIL": 1, "RUNNING": 1, "WAITING": 1})
        os.kill(frozen.pid, signal.SIGCONT)
        (pods.job / "go-0").touch()
        wait_until(lambda: pods.running().get(2) == frozen.pid)  # one that waited: its own, again
        pods.go()
        assert pods.end() == [0, 0]
        assert pods.states() == {"FAIL": 1, "COMPLETE": 2}
        with plain(rdb_url) as storage:
            lost = optuna.load_study(study_name="quick", storage=storage).trials[0]
        assert lost.values is None
        assert lost.intermediate_values == {}


def is_stopped(pid: int) -> bool:
    """Whether SIGSTOP has reached a process."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def test_a_worker_that_is_frozen_inside_the_lock_of_a_server_does_not_hold_up_the_others(
    postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def freeze(ask: Callable[[], optuna.Trial]) -> optuna.Trial:
        if not frozen_once.exists():
            frozen_once.touch()
            os.kill(os.getpid(), signal.SIGSTOP)
        return ask()

    frozen_once = tmp_path / "frozen"
    monkeypatch.setattr(timeouts, "FROZEN_TIMEOUT", 2)
    with pods_of(tmp_path, postgres_url, short(), budget="trials = 3") as pods:
        with monkeypatch.context() as patch:
            patch.setattr(optuna.Study, "ask", ask_by(freeze))
            (frozen,) = pods.start()
            wait_until(lambda: is_stopped(frozen.pid))
        (other,) = pods.start()
        other.join(120)
        assert pods.states()["COMPLETE"] >= 2
        os.kill(frozen.pid, signal.SIGCONT)
        assert pods.end() == [0, 0]
        assert pods.states() == {"COMPLETE": 3}


# ---- the server goes away ------------------------------------------------------------------


def test_a_server_that_is_killed_and_one_that_restarts_lose_no_worker_and_no_trial(
    own_postgres: PostgresServer, tmp_path: Path
) -> None:
    url = own_postgres.new_database()
    with pods_of(tmp_path, url, short(0.02), grace=2, budget="trials = 40") as pods:
        pods.start(3)
        for end in (own_postgres.kill, own_postgres.stop):
            done = pods.finished()
            wait_until(lambda enough=done + 6: pods.finished() >= enough)  # type: ignore[misc]
            end()
            time.sleep(3)  # longer than the grace: no worker could write its heartbeat
            own_postgres.start()
        assert pods.end() == [0] * 3, pods.said()
        # one whose start was not answered counts as lost: it had not begun
        assert pods.finished() == 40 and set(pods.states()) <= {"COMPLETE", "FAIL"}
        for pod in pods.all:
            lines = pods.said_by(pod).splitlines()
            waiting = [line for line in lines if "waiting for the server" in line]
            # an outage of 3 s may pass between two tries, and is no line then
            assert len(waiting) == sum("resumed" in line for line in lines) <= 2
            assert not any("s3cret" in line for line in lines)
        assert "waiting for the server" in pods.said()
        assert sql(url, "SELECT COUNT(*) FROM trial_values") == [(40,)]
        reports = "SELECT COUNT(*) FROM trial_intermediate_values JOIN trials USING (trial_id)"
        assert sql(url, f"{reports} WHERE state = 'COMPLETE'") == [(200,)]


def test_the_wait_for_a_server_ends_with_the_patience(own_postgres: PostgresServer) -> None:
    url = own_postgres.new_database()
    Storage(url, create=True).close()
    storage = Storage(url, patience=1)
    own_postgres.stop()
    with pytest.raises(UnreachableError) as error:
        storage.optuna.get_study_id_from_name("s")
    assert "\n" not in str(error.value) and "s3cret" not in str(error.value)
    with pytest.raises(UnreachableError):
        Storage(url, patience=0.5)
    storage.close()


@contextmanager
def cut(storage: Any, server: str, statement: str) -> Iterator[list[str]]:
    """Let the server end the connection when it has executed, but not answered, a statement."""
    done: list[str] = []

    def end(connection: sqlalchemy.Connection) -> None:
        pid = connection.connection.driver_connection.info.backend_pid  # type: ignore[union-attr]
        sql(server, f"SELECT pg_terminate_backend({pid})")

    def after(connection: Any, _cursor: Any, text: str, *_: Any) -> None:
        if text.startswith(statement) and not done:
            done.append(text)
            end(connection)
            connection.exec_driver_sql("SELECT 1")  # and so the loss is met at this statement

    def commit(connection: sqlalchemy.Connection) -> None:
        if not done:
            done.append("COMMIT")
            connection.connection.driver_connection.commit()  # type: ignore[union-attr]
            end(connection)
            connection.exec_driver_sql("SELECT 1")

    name, hook = ("commit", commit) if statement == "COMMIT" else ("after_cursor_execute", after)
    sqlalchemy.event.listen(storage.engine, name, hook)
    try:
        yield done
    finally:
        sqlalchemy.event.remove(storage.engine, name, hook)


def work(storage: Any, study: optuna.Study) -> None:
    """One trial of 5 parameters and 5 reports."""
    trial = study.ask()
    storage.record_heartbeat(trial._trial_id)
    value = sum(trial.suggest_float(f"x{i}", 0, 1) for i in range(5))
    for step in range(5):
        trial.report(value, step)
    trial.set_user_attr("a", 1)
    study.tell(trial, value)


def whole(url: str, n: int) -> None:
    """The study holds n finished trials, each complete in all its parts."""
    assert sql(url, "SELECT CAST(state AS CHAR(8)), COUNT(*) FROM trials GROUP BY state") == [
        ("COMPLETE", n)
    ]
    for table, each in (("params", 5), ("intermediate_values", 5), ("values", 1)):
        assert sql(url, f"SELECT COUNT(*) FROM trial_{table}") == [(each * n,)]


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO studies",
        "INSERT INTO trials",
        "INSERT INTO trial_params",
        "INSERT INTO trial_intermediate",
        "INSERT INTO trial_user_attributes",
        "INSERT INTO trial_values",
        "INSERT INTO trial_heartbeats",
        "UPDATE trials",
        "COMMIT",
    ],
)
def test_what_is_sent_again_after_a_lost_answer_counts_once(
    postgres: PostgresServer, postgres_template: str, statement: str
) -> None:
    url = postgres.new_database(postgres_template)
    with shared(url) as storage:
        if statement != "INSERT INTO studies":
            optuna.create_study(storage=storage, study_name="s")
        with cut(storage, postgres.root_url, statement) as done:
            study = optuna.create_study(storage=storage, study_name="s", load_if_exists=True)
            work(storage, study)
        assert len(done) == 1
        whole(url, 1)


@pytest.mark.parametrize("nth", range(1, 16))
def test_no_commit_whose_answer_is_lost_counts_twice(
    postgres: PostgresServer, postgres_template: str, nth: int
) -> None:
    """Whichever of the commits of a trial it is."""
    url = postgres.new_database(postgres_template)
    with shared(url) as storage:
        study = optuna.create_study(storage=storage, study_name="s")
        commits = 0

        def commit(connection: sqlalchemy.Connection) -> None:
            nonlocal commits
            commits += 1
            if commits == nth:
                driver: Any = connection.connection.driver_connection
                driver.commit()
                sql(postgres.root_url, f"SELECT pg_terminate_backend({driver.info.backend_pid})")
                connection.exec_driver_sql("SELECT 1")

        sqlalchemy.event.listen(storage.engine, "commit", commit)
        work(storage, study)
        assert commits > nth
        whole(url, 1)


# ---- the database says: not now ------------------------------------------------------------


def test_a_busy_sqlite_file_is_waited_for(
    tmp_path: Path, empty_database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path}/busy.db"
    (tmp_path / "busy.db").write_bytes(empty_database.read_bytes())
    with shared(url, engine_kwargs={"connect_args": {"timeout": 0.05}}) as storage:
        study = optuna.create_study(storage=storage, study_name="s")
        blocker = sqlite3.connect(tmp_path / "busy.db", check_same_thread=False)
        blocker.execute("BEGIN IMMEDIATE")
        refused = threading.Event()
        is_transient = rdb_faults.is_transient

        def seen(error: BaseException, ever: bool) -> bool:
            refused.set()
            return is_transient(error, ever)

        monkeypatch.setattr(rdb_faults, "is_transient", seen)

        def give_way() -> None:
            refused.wait(120)
            blocker.rollback()

        other = threading.Thread(target=give_way)
        other.start()
        work(storage, study)
        other.join()
        blocker.close()
        assert refused.is_set()
        whole(url, 1)


def test_a_file_that_plain_optuna_writes_to_is_waited_for_before_it_is_in_wal_mode(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite refuses the change of mode at once, whatever its timeout."""
    blocker = sqlite3.connect(tmp_path / "new.db", check_same_thread=False)
    blocker.execute("CREATE TABLE studies_of_another_program (id INTEGER)")
    blocker.execute("BEGIN IMMEDIATE")
    is_transient = rdb_faults.is_transient

    def give_way(error: BaseException, ever: bool) -> bool:
        blocker.rollback()
        return is_transient(error, ever)

    monkeypatch.setattr(rdb_faults, "is_transient", give_way)
    storage = Storage(f"sqlite:///{tmp_path}/new.db", create=True)
    assert storage.optuna.get_all_studies() == []
    storage.close()
    blocker.close()


# Each stands here too, so that none goes missing unnoticed: it would end all workers of a study
PASSES = frozenset(
    [
        "08000",
        "08001",
        "08003",
        "08004",
        "08006",
        "25P03",
        "40001",
        "40P01",
        "53300",
        "55P03",
        "57P01",
        "57P02",
        "57P03",
        "57P05",
    ]
)


SQLITE_PASSES = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL})


def test_nothing_else_passes_by_itself() -> None:
    assert rdb_faults.BUSY | rdb_faults.LOST == PASSES
    assert rdb_faults.SQLITE_BUSY == SQLITE_PASSES


@pytest.mark.parametrize("code", sorted(SQLITE_PASSES))
def test_what_passes_by_itself_is_tried_again_on_sqlite(storage: Storage, code: int) -> None:
    attempts = []

    def work() -> int:
        attempts.append(1)
        if len(attempts) < 3:
            error = sqlite3.OperationalError("x")
            error.sqlite_errorcode = code
            raise DBAPIError("SELECT 7", None, error)
        return 7

    assert isinstance(storage.optuna, SharedRDBStorage)
    assert storage.optuna.retries.until_answered(work) == 7
    assert len(attempts) == 3


@pytest.mark.parametrize("state", sorted(PASSES))
def test_what_passes_by_itself_is_tried_again(
    postgres: PostgresServer, postgres_template: str, state: str
) -> None:
    url = postgres.new_database(postgres_template)
    raise_it = f"DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '{state}'; END $$"
    with shared(url) as storage:
        attempts = []

        def work() -> int:
            attempts.append(1)
            with storage.engine.connect() as connection:
                if len(attempts) < 3:
                    connection.exec_driver_sql(raise_it)
                return int(connection.exec_driver_sql("SELECT 7").scalar_one())

        assert storage.retries.until_answered(work) == 7
        assert len(attempts) == 3


def test_a_deadlock_is_repeated(postgres: PostgresServer, postgres_template: str) -> None:
    url = postgres.new_database(postgres_template)
    with shared(url) as storage:
        study = optuna.create_study(storage=storage, study_name="s")
        first, second = study.ask()._trial_id, study.ask()._trial_id
        both = threading.Barrier(2, timeout=60)
        tries: list[int] = []

        def cross(one: int, other: int) -> None:
            met = False

            def update() -> None:
                nonlocal met
                tries.append(1)
                with storage.engine.begin() as connection:
                    lock = "SELECT 1 FROM trials WHERE trial_id = {} FOR UPDATE"
                    connection.exec_driver_sql(lock.format(one))
                    if not met:
                        met = True
                        both.wait()
                    connection.exec_driver_sql(lock.format(other))

            storage.retries.until_answered(update)

        threads = [
            threading.Thread(target=cross, args=pair) for pair in ((first, second), (second, first))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(tries) == 3  # one of the two gave way


# As the server's source has them, version 15
NOT_NOW = [
    "canceling authentication due to timeout",
    "remaining connection slots are reserved for non-replication superuser connections",
    "sorry, too many clients already",
    "terminating connection due to administrator command",
    "the database system is in recovery mode",
    "the database system is not yet accepting connections",
    "the database system is shutting down",
    "the database system is starting up",
    'too many connections for database "hpo"',
    'too many connections for role "hpo"',
]
NEVER = [
    'database "hpo" is not currently accepting connections',
    'no pg_hba.conf entry for host "127.0.0.1", user "hpo", database "hpo", no encryption',
    'role "hpo" does not exist',
    "the database system is not accepting connections",  # a standby that may not be read
]


@contextmanager
def refusing(text: str) -> Iterator[str]:
    """The URL of a server that answers each log-in as PostgreSQL does which lets nobody in.

    How a real one comes to say most of these takes a moment that no test can hold.
    """
    fields = b"".join(field.encode() + b"\0" for field in ("SFATAL", "VFATAL", f"M{text}"))
    answer = b"E" + struct.pack(">I", len(fields) + 5) + fields + b"\0"

    def serve() -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                with client:
                    if client.recv(1024)[4:8] == struct.pack(">HH", 1234, 5679):  # asks for TLS
                        client.sendall(b"N")
                        client.recv(1024)
                    client.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"postgresql+psycopg://hpo:s3cret@127.0.0.1:{listener.getsockname()[1]}/hpo"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.mark.web
@pytest.mark.parametrize("text", NOT_NOW)
def test_a_server_that_lets_nobody_in_for_now_is_waited_for(text: str) -> None:
    with refusing(text) as url, pytest.raises(UnreachableError, match=re.escape(text)):
        Storage(url, create=True, patience=0.1)


@pytest.mark.web
@pytest.mark.parametrize("text", NEVER)
def test_a_server_that_never_lets_this_account_in_is_not_waited_for(text: str) -> None:
    with refusing(text) as url, pytest.raises(StorageError, match=re.escape(text)) as refused:
        Storage(url, create=True, patience=60)
    assert not isinstance(refused.value, UnreachableError)


def test_a_server_that_recovers_as_a_process_of_it_was_killed_loses_no_worker(
    own_postgres: PostgresServer, tmp_path: Path
) -> None:
    """As for lack of memory: the server recovers, and lets nobody in meanwhile."""
    url = own_postgres.new_database()
    with pods_of(tmp_path, url, short(0.02), budget="trials = 30") as pods:
        pods.start(3)
        for _ in range(3):
            done = pods.finished()
            wait_until(lambda enough=done + 4: pods.finished() >= enough)  # type: ignore[misc]
            ask = "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
            os.kill(sql(url, f"{ask} AND pid <> pg_backend_pid()")[0][0], signal.SIGKILL)
            wait_until(lambda: answers(url))
        assert pods.end() == [0] * 3, pods.said()


def answers(url: str) -> bool:
    """Whether a server lets somebody in."""
    try:
        connect(url).close()
    except DBAPIError:
        return False
    return True


def test_a_mistake_in_the_url_is_not_waited_for(postgres_url: str) -> None:
    begin = postgres_url.rpartition("/")[0]
    wrong = postgres_url.replace("s3cret-of-postgres", "another-s3cret")
    for url, reason in (
        (wrong, 'user name or password are wrong; correct them in the URL: .*user "root"'),
        (f"{begin}/no_such_database", "there is no such database, or it was dropped"),
    ):
        with pytest.raises(Exception, match=reason) as error:
            Storage(url, create=True, patience=60)
        assert not isinstance(error.value, UnreachableError)
        assert "s3cret" not in str(error.value)
        assert "\n" not in str(error.value)


# ---- the lock ------------------------------------------------------------------------------


def end_lock(server: PostgresServer, url: str) -> None:
    """The server ends the connection that holds an advisory lock."""
    database = url.rpartition("/")[2]
    sql(
        server.root_url,
        "SELECT pg_terminate_backend(a.pid) FROM pg_stat_activity a JOIN pg_locks l"
        f" ON l.pid = a.pid WHERE l.locktype = 'advisory' AND a.datname = '{database}'",
    )


def test_a_lost_lock_is_noticed_before_a_trial_is_started(
    postgres: PostgresServer, postgres_template: str
) -> None:
    url = postgres.new_database(postgres_template)
    storage = Storage(url)
    study = optuna.create_study(storage=storage.optuna, study_name="s")
    with pytest.raises(LockLost), storage.exclusive("s"):
        end_lock(postgres, url)
        study.ask()
    assert study.trials == []
    study.enqueue_trial({})
    with pytest.raises(LockLost), storage.exclusive("s"):
        end_lock(postgres, url)
        study.ask()
    assert [trial.state for trial in study.trials] == [TrialState.WAITING]
    assert storage.run_exclusively("s", study.ask).number == 0
    storage.close()


@pytest.mark.parametrize("fails", [False, True])
def test_work_under_a_lost_lock_is_done_again(
    postgres: PostgresServer, postgres_template: str, fails: bool
) -> None:
    """Also where it fails, since another worker has taken what this one had enqueued."""
    url = postgres.new_database(postgres_template)
    storage = Storage(url)
    calls = []

    def work() -> int:
        calls.append(1)
        if len(calls) == 1:
            end_lock(postgres, url)
            if fails:
                raise IndexError
        return len(calls)

    assert storage.run_exclusively("s", work) == 2
    storage.close()


def test_a_lock_that_another_holds_is_waited_for_with_patience(
    postgres: PostgresServer, postgres_template: str
) -> None:
    url = postgres.new_database(postgres_template)
    holder, other = Storage(url), Storage(url, patience=0.5)
    with holder.exclusive("s"):
        held = "another worker has held the lock of 's'"
        with pytest.raises(UnreachableError, match=held), other.exclusive("s"):
            raise AssertionError("two are inside")
        with other.exclusive("t"):
            pass
    with other.exclusive("s"):
        pass
    holder.close()
    other.close()


# ---- heartbeats ----------------------------------------------------------------------------

AGO: dict[str, Callable[[int], str]] = {
    "sqlite": lambda seconds: f"datetime('now', '-{seconds} seconds')",
    "postgresql": lambda seconds: f"CAST(now() AS timestamp) - interval '{seconds} seconds'",
}
BEGUN: dict[str, Callable[[int], str]] = {
    "sqlite": AGO["sqlite"],
    "postgresql": lambda seconds: f"now() AT TIME ZONE 'UTC' - interval '{seconds} seconds'",
}


def test_a_trial_is_stale_by_its_heartbeat_or_without_one_by_its_start(
    rdb_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = rdb_url.partition(":")[0].partition("+")[0]
    with shared(rdb_url, grace=60) as storage:
        monkeypatch.setattr(storage, "_was_away", lambda *_: False)  # the server has just started
        study = optuna.create_study(storage=storage, study_name="s")
        other = optuna.create_study(storage=storage, study_name="other")
        ids = [study.ask()._trial_id for _ in range(5)]
        other.ask()
        study.enqueue_trial({})
        for trial_id, age in zip(ids[:3], (70, 50, None), strict=True):
            storage.record_heartbeat(trial_id)
            if age is not None:
                beat = f"SET heartbeat = {AGO[kind](age)} WHERE trial_id = {trial_id}"
                sql(rdb_url, f"UPDATE trial_heartbeats {beat}")
        for trial_id, age in zip(ids, (500, 500, 500, 70, 50), strict=True):
            begun = f"SET datetime_start = {BEGUN[kind](age)} WHERE trial_id = {trial_id}"
            sql(rdb_url, f"UPDATE trials {begun}")
        assert sorted(storage._get_stale_trial_ids(study._study_id)) == [ids[0], ids[3]]
        storage.record_heartbeat(ids[0])
        assert storage._get_stale_trial_ids(study._study_id) == [ids[3]]
        storage.record_heartbeat(99999)  # no such trial: nothing is left behind
        assert sql(rdb_url, "SELECT COUNT(*) FROM trial_heartbeats") == [(3,)]


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/St_Johns"])
def test_heartbeats_of_sessions_in_any_time_zone_are_compared_rightly(
    postgres: PostgresServer, postgres_template: str, zone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = postgres.new_database(postgres_template)
    sql(url, f"ALTER DATABASE {url.rpartition('/')[2]} SET timezone = '{zone}'")
    with shared(url, grace=60) as storage:
        monkeypatch.setattr(storage, "_was_away", lambda *_: False)
        study = optuna.create_study(storage=storage, study_name="s")
        beaten, silent = study.ask()._trial_id, study.ask()._trial_id
        storage.record_heartbeat(beaten)
        sql(url, f"UPDATE trials SET datetime_start = {BEGUN['postgresql'](70)}")
        assert storage._get_stale_trial_ids(study._study_id) == [silent]


def test_after_an_outage_workers_have_the_grace_anew(
    own_postgres: PostgresServer,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # with the usual 2 s, an outage of 3 s may pass between two tries
    monkeypatch.setattr(outage, "QUIET", 0.5)
    url = own_postgres.new_database()
    Storage(url, create=True).close()
    with shared(url, grace=60, patience=60) as storage:
        study = optuna.create_study(storage=storage, study_name="s")
        study.ask()
        sql(url, f"UPDATE trials SET datetime_start = {BEGUN['postgresql'](500)}")
        assert storage._get_stale_trial_ids(study._study_id) == []  # it was started just now
        monotonic = time.monotonic()
        own_postgres.kill()
        back = threading.Timer(3, own_postgres.start)
        back.start()
        with caplog.at_level(logging.INFO, "hpo_job"):
            assert len(study.get_trials(deepcopy=False)) == 1
        back.join()
        said = [record.getMessage() for record in caplog.records]
        assert len(said) == 2 and "waiting" in said[0] and "resumed" in said[1]
        assert storage.retries.outage.was_within(time.monotonic() - monotonic)


# ---- the database says: no -----------------------------------------------------------------


def test_an_account_that_may_only_read_ends_a_worker_with_one_line(
    postgres: PostgresServer, postgres_template: str, tmp_path: Path
) -> None:
    url = postgres.new_database(postgres_template)
    with pods_of(tmp_path, url, short(), budget="trials = 1") as pods:
        pods.start()
        assert pods.end() == [0]
        text = (pods.job / "study.toml").read_text()
        (pods.job / "study.toml").write_text(text.replace("trials = 1", "trials = 2"))
        (refused,) = pods.start(url=reader_account(postgres, url))
        assert pods.end() == [0, 2]
        (line,) = pods.said_by(refused).splitlines()
        assert "this account may not do that: permission denied" in line
        assert "s3cret" not in line
        assert pods.states() == {"COMPLETE": 1}


def test_an_account_that_may_use_no_schema_is_told_so(postgres: PostgresServer) -> None:
    url = postgres.new_database()
    account = reader_account(postgres, url)
    sql(url, "REVOKE USAGE ON SCHEMA public FROM PUBLIC")
    with pytest.raises(StorageError, match="this account may use no schema of the database"):
        Storage(account, create=True)


def reader_account(server: PostgresServer, url: str) -> str:
    """The URL of a new account that may read the tables of a database, and nothing else."""
    name = f"u{os.urandom(4).hex()}"
    sql(
        url,
        f"CREATE ROLE {name} LOGIN PASSWORD 's3cret-reader'",
        f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {name}",
    )
    database = url.rpartition("/")[2]
    return f"postgresql+psycopg://{name}:s3cret-reader@127.0.0.1:{server.port}/{database}"


def test_what_is_no_fault_of_a_database_is_not_tried_again() -> None:
    assert not rdb_faults.is_transient(ValueError("deadlock"), ever_connected=True)
    assert not rdb_faults.is_transient(DBAPIError("x", None, ValueError()), ever_connected=True)


# ---- how much a server carries -------------------------------------------------------------


def test_the_capacity_counts_connections_of_others(own_postgres: PostgresServer) -> None:
    """Of 20 connections, 3 are for administrators, and a worker has two at a time."""
    sql(own_postgres.root_url, "ALTER SYSTEM SET max_connections = 20")
    own_postgres.stop()
    own_postgres.start()
    assert worker_capacity(own_postgres.root_url) == 8
    with connect(own_postgres.root_url), connect(own_postgres.root_url):
        assert worker_capacity(own_postgres.root_url) == 7
        other = reader_account(own_postgres, own_postgres.root_url)  # sees no more than a number
        assert worker_capacity(other) == 7
        sql(own_postgres.root_url, f"ALTER ROLE {make_url(other).username} CONNECTION LIMIT 7")
        assert worker_capacity(other) == 3
        with connect(other), connect(other):
            assert worker_capacity(other) == 2
        sql(own_postgres.root_url, "CREATE DATABASE small CONNECTION LIMIT 2")
        assert worker_capacity(f"{other.rpartition('/')[0]}/small") == 1
    assert worker_capacity("sqlite:///x.db") is None
    with pytest.raises(StorageError, match="password authentication failed") as error:
        worker_capacity(own_postgres.root_url.replace("s3cret-of-postgres", "another-s3cret"))
    assert "s3cret" not in str(error.value)


def test_our_own_words_are_not_redacted() -> None:
    error = RuntimeError('password authentication failed for user "wrong"')
    line = rdb_faults.reason(error, "/run/wrong", lambda text: text.replace("wrong", "***"))
    said = 'password authentication failed for user "***"'
    assert line == f"user name or password are wrong; correct them in /run/wrong: {said}"
