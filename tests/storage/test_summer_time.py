"""Times on the nights when the clocks change, as every storage writes and reads them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator

import optuna
import pytest

from hpo_job.storage.database import Storage
from hpo_job.trial.clock import running_time
from tests.storage.sql import sql

# UTC; in Berlin from 1:50 to 3:10, and from 2:50 to 2:10
NIGHTS = {
    "spring": ("2026-03-29 00:50:00", "2026-03-29 01:10:00"),
    "autumn": ("2026-10-25 00:50:00", "2026-10-25 01:10:00"),
    "second-hour": ("2026-10-25 01:10:00", "2026-10-25 01:30:00"),
}


@pytest.fixture(params=["Europe/Berlin", "UTC"])
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """This process is in that time zone."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", request.param)
        time.tzset()
        yield request.param
    time.tzset()


def test_a_trial_of_twenty_minutes_is_read_as_one(any_url: str, zone: str) -> None:
    writer = Storage(any_url, create=True)
    study = optuna.create_study(storage=writer.optuna, study_name="s")
    study.add_trials([optuna.trial.create_trial(value=1.0) for _ in NIGHTS])
    writer.close()
    for number, (start, end) in enumerate(NIGHTS.values()):
        sql(
            any_url,
            f"UPDATE trials SET datetime_start = '{start}', datetime_complete = '{end}'"
            f" WHERE number = {number}",
        )
    reader = Storage(any_url, read_only=True)
    trials = optuna.load_study(study_name="s", storage=reader.optuna).trials
    assert [running_time(trial) for trial in trials] == [1200] * len(NIGHTS)
    each = [reader.optuna.get_trial(trial._trial_id) for trial in trials]
    assert [running_time(trial) for trial in each] == [1200] * len(NIGHTS)
    reader.close()


TRIAL = """
import sys, warnings
warnings.simplefilter("ignore")
import optuna
from hpo_job.storage.database import Storage
storage = Storage(sys.argv[1], create=True)
study = optuna.create_study(storage=storage.optuna, study_name="s")
trial = study.ask()
study.tell(trial, 1.0)
storage.close()
"""


@pytest.mark.needs("faketime")
def test_a_trial_in_the_hour_that_comes_twice_is_stored_in_utc(rdb_url: str) -> None:
    """By the worker's clock on SQLite and PostgreSQL; MySQL's server has its own."""
    done = subprocess.run(
        ["faketime", "2026-10-25 02:30:00 +0100", sys.executable, "-c", TRIAL, rdb_url],
        capture_output=True,
        text=True,
        env={**os.environ, "TZ": "Europe/Berlin"},
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    ((start, end),) = sql(rdb_url, "SELECT datetime_start, datetime_complete FROM trials")
    assert str(start).startswith("2026-10-25 01:30") and str(end).startswith("2026-10-25 01:30")
