"""What a server can do to a worker, done to it: nothing is lost, nothing counts twice."""

import logging
import os
import signal
import time
from collections.abc import Callable

import pytest
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import TrialState
from sqlalchemy.engine import make_url

from hpo_job.errors import StorageError
from hpo_job.storage.mysql import MySQLStorage
from tests.quick import wait_until
from tests.storage.mysql.fleet import exit_codes, start, study_on, work, worker
from tests.storage.mysql.server import PrivateServer, connect, new_database, sql


def whole(url: str, n: int) -> None:
    """The study holds n finished trials, each complete in all its parts."""
    assert sql(url, "SELECT state, COUNT(*) FROM trials GROUP BY state") == [("COMPLETE", n)]
    assert sql(url, "SELECT COUNT(DISTINCT number), MAX(number) FROM trials") == [(n, n - 1)]
    assert sql(url, "SELECT COUNT(*) FROM trial_params") == [(5 * n,)]
    assert sql(url, "SELECT COUNT(*) FROM trial_intermediate_values") == [(5 * n,)]
    assert sql(url, "SELECT COUNT(*) FROM trial_values") == [(n,)]


WAITING = "SELECT COUNT(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'"


def complete(url: str) -> int:
    """How many trials are COMPLETE."""
    return int(sql(url, "SELECT COUNT(*) FROM trials WHERE state = 'COMPLETE'")[0][0])


# ---- the server goes away ----------------------------------------------------------------


@pytest.mark.slow
def test_no_worker_and_no_trial_is_lost_when_the_server_is_killed_and_restarted(
    own_server: PrivateServer,
) -> None:
    url = new_database(own_server.root_url)
    study_on(MySQLStorage(url))
    workers = start(4, worker, url, 100, pause=0.02, patience=60)
    for end in (own_server.kill, own_server.stop, own_server.kill):
        done = complete(url)
        wait_until(lambda enough=done + 5: complete(url) >= enough)  # type: ignore[misc]
        end()
        time.sleep(1)  # how long the server is away
        own_server.start()
    assert exit_codes(workers, 120) == [0] * 4
    whole(url, 100)


@pytest.mark.slow
def test_one_line_when_waiting_and_one_when_resumed(
    own_server: PrivateServer, caplog: pytest.LogCaptureFixture
) -> None:
    storage = MySQLStorage(new_database(own_server.root_url), patience=60)
    study = study_on(storage)
    trial = study.ask()
    own_server.kill()
    import threading

    back = threading.Timer(5, own_server.start)
    back.start()
    with caplog.at_level(logging.INFO, "hpo_job"):
        trial.report(0.5, 1)
    back.join()
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2 and "waiting" in said[0] and "resumed" in said[1]
    study.tell(trial, 1.0)
    assert study.best_value == 1.0


def test_the_wait_ends_with_the_patience(own_server: PrivateServer) -> None:
    storage = MySQLStorage(new_database(own_server.root_url), patience=1)
    study = study_on(storage)
    own_server.stop()
    with pytest.raises(StorageError) as error:
        study.ask()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("moment", ["BEGIN", "LOCK", "INSERT INTO trials", "COMMIT"])
def test_an_ask_whose_answer_is_lost_makes_one_trial(
    root_url: str, url: str, moment: str, storage: MySQLStorage
) -> None:
    study = study_on(storage)
    cut_after(storage, root_url, moment)
    trial = study.ask()
    work(storage, study, trial)
    whole(url, 1)


@pytest.mark.parametrize(
    "moment",
    [
        "INSERT INTO trial_params",
        "INSERT INTO trial_intermediate",
        "INSERT INTO trial_values",
        "UPDATE trials",
    ],
)
def test_a_write_whose_answer_is_lost_is_sent_again(
    root_url: str, url: str, moment: str, storage: MySQLStorage
) -> None:
    study = study_on(storage)
    trial = study.ask()
    cut_after(storage, root_url, moment)
    work(storage, study, trial)
    whole(url, 1)


def test_a_study_whose_answer_is_lost_is_made_once(
    root_url: str, url: str, storage: MySQLStorage
) -> None:
    cut_after(storage, root_url, "COMMIT")
    study_on(storage, "once")
    assert sql(url, "SELECT COUNT(*), COUNT(DISTINCT study_name) FROM studies") == [(1, 1)]


def test_a_waiting_trial_whose_start_is_not_answered_is_run_once(
    root_url: str, url: str, storage: MySQLStorage
) -> None:
    study = study_on(storage)
    study.enqueue_trial({"x0": 0.5})
    with storage.exclusive(study.study_name):
        cut_after(storage, root_url, "COMMIT")
        trial = study.ask()
    assert trial.suggest_float("x0", 0, 1) == 0.5
    assert sql(url, "SELECT COUNT(*) FROM trials") == [(1,)]


def cut_after(storage: MySQLStorage, root_url: str, start_of_statement: str) -> None:
    """Let the server end the connection when it has executed, but not answered, a statement."""
    connection = storage._connection
    opened = connection._cursor

    class Cut:
        def __init__(self) -> None:
            self.real = opened()

        def execute(self, statement: str, *parameters: object) -> object:
            result = self.real.execute(statement, *parameters)
            if statement.startswith(start_of_statement) or start_of_statement in statement[:12]:
                connection._cursor = opened  # type: ignore[method-assign]
                sql(root_url, f"KILL {connection._raw.thread_id()}")
                raise connection.server.driver.OperationalError(2013, "Lost connection")
            return result

        def __getattr__(self, name: str) -> object:
            return getattr(self.real, name)

    connection._cursor = Cut  # type: ignore[method-assign]


# ---- the server says: not now --------------------------------------------------------------


def test_a_lock_wait_is_waited_for(root_url: str, url: str) -> None:
    storage = MySQLStorage(url, patience=30)
    study = study_on(storage)
    trial = study.ask()
    storage._connection.run(lambda c, _: c.execute("SET innodb_lock_wait_timeout = 1"))
    blocker = connect(url)
    cursor = blocker.cursor()
    cursor.execute("BEGIN")
    cursor.execute(f"SELECT * FROM trials WHERE trial_id = {trial._trial_id} FOR UPDATE")
    import threading

    begin = time.monotonic()
    threading.Timer(2.5, blocker.commit).start()
    work(storage, study, trial)
    assert time.monotonic() - begin > 2
    whole(url, 1)


def test_deadlocks_are_repeated(url: str) -> None:
    storage = MySQLStorage(url, patience=30)
    study = study_on(storage)
    first, second = study.ask(), study.ask()
    other = connect(url)
    cursor = other.cursor()
    met = []

    def cross(mine, attempt: int) -> None:  # type: ignore[no-untyped-def]
        met.append(attempt)
        mine.execute(f"UPDATE trials SET number = 7 WHERE trial_id = {first._trial_id}")
        if attempt == 0:
            cursor.execute("BEGIN")
            # Heavier than the storage's transaction, which is so the one that gives way.
            rows = ",".join(f"({second._trial_id}, {i}, 1)" for i in range(9))
            cursor.execute(
                f"INSERT INTO trial_user_attributes (trial_id, `key`, value_json) VALUES {rows}"
            )
            cursor.execute(f"UPDATE trials SET number = 8 WHERE trial_id = {second._trial_id}")
            import threading

            blocked = threading.Thread(
                target=lambda: (
                    cursor.execute(
                        f"UPDATE trials SET number = 9 WHERE trial_id = {first._trial_id}"
                    ),
                    other.commit(),
                )
            )
            blocked.start()
            wait_until(lambda: sql(url, WAITING) == [(1,)])
        mine.execute(f"UPDATE trials SET number = 10 WHERE trial_id = {second._trial_id}")

    storage._connection.run(cross, transaction=True)
    assert len(met) >= 2
    assert sql(url, "SELECT number FROM trials ORDER BY trial_id") == [(7,), (10,)]


@pytest.mark.slow
def test_32_workers_share_20_connections(start_server: Callable[..., PrivateServer]) -> None:
    url = new_database(start_server("max-connections=20").root_url)
    study_on(MySQLStorage(url)).set_user_attr("made", True)
    workers = start(32, worker, url, 400, pause=0.01)
    assert exit_codes(workers, 150) == [0] * 32
    whole(url, 400)


# ---- the server says: no ------------------------------------------------------------------


def test_an_account_that_may_not_write_gets_one_line(root_url: str, url: str) -> None:
    study_on(MySQLStorage(url))
    reader = account(root_url, url, "GRANT SELECT ON {database}.* TO {user}")
    storage = MySQLStorage(reader)
    study = study_on_existing(storage)
    assert study.trials == []
    with pytest.raises(StorageError) as error:
        study.ask()
    text = str(error.value)
    assert "may not write" in text and "1142" in text
    assert "\n" not in text and "s3cret" not in text


def test_an_account_without_the_database_or_with_a_wrong_password(root_url: str, url: str) -> None:
    stranger = account(root_url, url, "GRANT USAGE ON *.* TO {user}")
    wrong = make_url(stranger).set(password="other").render_as_string(hide_password=False)
    for bad in (stranger, wrong):
        with pytest.raises(StorageError) as error:
            MySQLStorage(bad)
        assert "s3cret" not in str(error.value) and "other@" not in str(error.value)


def account(root_url: str, url: str, grant: str) -> str:
    """Make an account with the password `s3cret`; its URL."""
    name = f"u{os.urandom(4).hex()}"
    user = f"'{name}'@'%'"
    database = make_url(url).database
    sql(
        root_url,
        f"CREATE USER {user} IDENTIFIED BY 's3cret'",
        f"CREATE USER '{name}'@'localhost' IDENTIFIED BY 's3cret'",
        grant.format(database=database, user=user),
        grant.format(database=database, user=f"'{name}'@'localhost'"),
    )
    return make_url(url).set(username=name, password="s3cret").render_as_string(False)


def study_on_existing(storage: MySQLStorage):  # type: ignore[no-untyped-def]
    import optuna

    return optuna.load_study(study_name="s", storage=storage)


def test_a_read_only_server_is_named(own_server: PrivateServer) -> None:
    url = new_database(own_server.root_url)
    study_on(MySQLStorage(url))
    writer = account(own_server.root_url, url, "GRANT ALL ON {database}.* TO {user}")
    sql(own_server.root_url, "SET GLOBAL read_only = 1")
    study = study_on_existing(MySQLStorage(writer))
    with pytest.raises(StorageError, match="read-only"):
        study.ask()


# ---- a frozen worker ----------------------------------------------------------------------


@pytest.mark.slow
def test_a_frozen_workers_late_result_is_refused(url: str) -> None:
    storage = MySQLStorage(url, heartbeat_interval=1, grace_period=2)
    study = study_on(storage)

    def frozen() -> None:
        own = MySQLStorage(url)
        study = study_on(own)
        trial = study.ask()
        trial.suggest_float("x", 0, 1)
        own.flush()
        os.kill(os.getpid(), signal.SIGSTOP)
        refused = 0
        for late in (lambda: trial.report(1.0, 1), lambda: study.tell(trial, 1.0)):
            try:
                late()
            except (UpdateFinishedTrialError, ValueError):
                refused += 1
        os._exit(10 + refused)

    (process,) = start(1, frozen)
    wait_until(lambda: bool(storage._get_stale_trial_ids(study._study_id)))
    stale = storage._get_stale_trial_ids(study._study_id)
    storage.set_trial_state_values(stale[0], TrialState.FAIL)
    os.kill(process.pid, signal.SIGCONT)
    assert exit_codes([process], 30) == [12]
    (trial,) = study.trials
    assert trial.state == TrialState.FAIL and not trial.intermediate_values
