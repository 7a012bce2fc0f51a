"""Lost trials are found by the server's clock, with or without a heartbeat."""

import os
import shutil
import subprocess
import sys

import pytest
from optuna.storages import RDBStorage
from optuna.trial import TrialState

from hpo_job.storage.mysql import MySQLStorage, writer
from hpo_job.storage.mysql.connection import Connection
from tests.quick import wait_until
from tests.storage.mysql.fleet import study_on
from tests.storage.mysql.server import sql

BACK = "UPDATE trial_heartbeats SET heartbeat = heartbeat - INTERVAL {} SECOND"
BEGUN = "UPDATE trials SET datetime_start = datetime_start - INTERVAL {} SECOND"


@pytest.fixture(autouse=True)
def long_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests' server has just started, which would give every trial the grace anew."""
    monkeypatch.setattr(Connection, "was_away", lambda _connection, _seconds: False)


@pytest.fixture
def storage(url: str) -> MySQLStorage:
    return MySQLStorage(url, heartbeat_interval=30, grace_period=60)


def running(storage: MySQLStorage) -> tuple[int, int]:
    study_id = study_on(storage)._study_id
    return study_id, storage.create_new_trial(study_id)


def test_a_trial_with_a_recent_heartbeat_is_not_stale(url: str, storage: MySQLStorage) -> None:
    study_id, trial_id = running(storage)
    sql(url, BEGUN.format(3600))
    assert storage._get_stale_trial_ids(study_id) == [trial_id]
    MySQLStorage(url).record_heartbeat(trial_id)
    assert storage._get_stale_trial_ids(study_id) == []
    sql(url, BACK.format(61))
    assert storage._get_stale_trial_ids(study_id) == [trial_id]


def test_a_trial_whose_worker_died_before_its_first_heartbeat_is_found(
    url: str, storage: MySQLStorage
) -> None:
    study_id, trial_id = running(storage)
    other = MySQLStorage(url, heartbeat_interval=30, grace_period=60)
    assert other._get_stale_trial_ids(study_id) == []
    sql(url, BEGUN.format(61))
    # Found by a worker that knows the trial already, and by one that has just come.
    assert other._get_stale_trial_ids(study_id) == [trial_id]
    assert storage._get_stale_trial_ids(study_id) == [trial_id]
    other.set_trial_state_values(trial_id, TrialState.FAIL)
    assert storage._get_stale_trial_ids(study_id) == []


def test_a_beat_that_follows_the_last_one_at_once_is_not_repeated(
    url: str, storage: MySQLStorage
) -> None:
    _, trial_id = running(storage)
    storage.record_heartbeat(trial_id)
    assert sql(url, "SELECT COUNT(*) FROM trial_heartbeats") == [(0,)]  # its start is a beat

    def is_written() -> bool:
        storage.record_heartbeat(trial_id)
        return sql(url, "SELECT trial_id FROM trial_heartbeats") == [(trial_id,)]

    wait_until(is_written)  # BEAT seconds later


def test_stock_and_this_storage_agree_on_heartbeats(
    url: str, storage: MySQLStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    study_id, trial_id = running(storage)
    stock = RDBStorage(url, heartbeat_interval=30, grace_period=60)
    stock.record_heartbeat(trial_id)
    assert storage._get_stale_trial_ids(study_id) == []
    sql(url, BACK.format(61))
    assert storage._get_stale_trial_ids(study_id) == stock._get_stale_trial_ids(study_id)
    monkeypatch.setattr(writer, "BEAT", 0)
    storage.record_heartbeat(trial_id)
    assert stock._get_stale_trial_ids(study_id) == []


WORKER = """
import sys
from hpo_job.storage.mysql import MySQLStorage, writer
writer.BEAT = 0
storage = MySQLStorage(sys.argv[1], heartbeat_interval=30, grace_period=60)
study_id = storage.get_study_id_from_name("s")
print(*storage._get_stale_trial_ids(study_id), "stale")
trial_id = storage.create_new_trial(study_id)
storage.record_heartbeat(trial_id)
done = storage.create_new_trial(study_id)
from optuna.trial import TrialState
storage.set_trial_state_values(done, TrialState.COMPLETE, [1.0])
"""


@pytest.mark.needs("faketime")
@pytest.mark.parametrize("shift", ["-1h", "+1h"])
def test_a_workers_clock_an_hour_off_changes_nothing(
    url: str, storage: MySQLStorage, shift: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    faketime = shutil.which("faketime")
    study_id, trial_id = running(storage)
    monkeypatch.setattr(writer, "BEAT", 0)
    storage.record_heartbeat(trial_id)
    env = {**os.environ, "TZ": "Asia/Kolkata"}
    done = subprocess.run(
        [str(faketime), "-f", shift, sys.executable, "-c", WORKER, url],
        capture_output=True,
        text=True,
        env=env,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "stale"
    assert storage._get_stale_trial_ids(study_id) == []
    off = sql(
        url,
        "SELECT MAX(ABS(TIMESTAMPDIFF(SECOND, datetime_start, UTC_TIMESTAMP()))),"
        " MAX(ABS(TIMESTAMPDIFF(SECOND, datetime_complete, UTC_TIMESTAMP()))) FROM trials",
    )[0]
    assert max(off) < 60
    assert (
        sql(url, "SELECT MAX(ABS(TIMESTAMPDIFF(SECOND, heartbeat, NOW()))) FROM trial_heartbeats")[
            0
        ][0]
        < 60
    )
