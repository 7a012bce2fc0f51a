"""Durations and budgets on the two nights on which the clocks change, as databases hold them."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial

from hpo_job.results.frames import frame
from hpo_job.results.trials import seconds
from hpo_job.storage import trial_rows
from hpo_job.storage.database import Storage
from hpo_job.study.admission import Refusal, admit
from hpo_job.study.ledger import working_time
from hpo_job.trial.clock import elapsed, instant, later, local_time, running_time
from tests.quick import Quick

SPRING = datetime(2026, 3, 29, 0, 50), datetime(2026, 3, 29, 1, 10)  # UTC, twenty minutes
AUTUMN = datetime(2026, 10, 25, 0, 50), datetime(2026, 10, 25, 1, 10)
NIGHTS = pytest.mark.parametrize("night", [SPRING, AUTUMN], ids=["spring", "autumn"])


@pytest.fixture(params=["Europe/Berlin", "UTC", "Australia/Lord_Howe"])
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """This process is in that time zone."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", request.param)
        time.tzset()
        yield request.param
    time.tzset()


@NIGHTS
def test_the_time_between_two_local_times(zone: str, night: tuple[datetime, datetime]) -> None:
    start, end = map(local_time, night)
    assert elapsed(start, end) == 1200
    assert instant(start) < instant(end)
    assert later(start, 1200) == end
    assert later(start, 1200).fold == end.fold


def test_what_has_not_ended_is_sorted_last() -> None:
    assert instant(None) > instant(datetime(2999, 1, 1))


@NIGHTS
def test_a_storage_that_reads_mysql_rows_tells_the_two_hours_apart(
    zone: str, night: tuple[datetime, datetime]
) -> None:
    start, end = map(trial_rows.local_time, night)
    assert start is not None
    assert end is not None
    assert elapsed(start, end) == 1200
    assert trial_rows.stored_time(end) == f"{night[1]}"


def at_night(file: Path, night: tuple[datetime, datetime]) -> None:
    """All trials in this SQLite file ran for these twenty minutes."""
    with sqlite3.connect(file) as database:
        start, end = (f"{each}.000000" for each in night)
        database.execute(
            "UPDATE trials SET datetime_start = ?, datetime_complete = ?", (start, end)
        )
    database.close()


@NIGHTS
def test_a_trial_of_that_night_lasted_as_long_as_it_did(
    zone: str, night: tuple[datetime, datetime], storage: Storage, database: str
) -> None:
    study = optuna.create_study(study_name="night", storage=storage.optuna)
    seen = optuna.load_study(study_name="night", storage=storage.optuna)
    assert seen.trials == []  # so that what comes now is read as Optuna reads what is new
    study.add_trial(create_trial(value=0.5))
    at_night(Path(database.removeprefix("sqlite:///")), night)
    again = Storage(database)
    for which in (seen, optuna.load_study(study_name="night", storage=again.optuna)):
        (trial,) = which.get_trials(deepcopy=False)
        assert running_time(trial) == seconds(trial) == 1200
        assert working_time([trial], datetime.now()) == pytest.approx(1200)
        assert frame(which)["duration"].dt.total_seconds().tolist() == [1200]
    again.close()


@NIGHTS
def test_the_timeout_is_as_long_on_that_night(
    zone: str, night: tuple[datetime, datetime], tmp_path: Path
) -> None:
    """Twenty minutes are neither over at once, in spring, nor never, in autumn."""
    quick = Quick(tmp_path, budget='timeout = "20m"')
    quick.study.tell(quick.start(), 0.5)
    at_night(tmp_path / "studies.db", night)
    again = Quick(tmp_path, budget='timeout = "20m1s"')
    trial = again.start()
    again.study.tell(trial, state=TrialState.FAIL)
    at_night(tmp_path / "studies.db", night)
    shorter = Quick(tmp_path, budget='timeout = "20m"')
    assert admit(shorter.study, shorter.checked.spec, shorter.storage) is Refusal.TIMEOUT


@NIGHTS
def test_what_still_runs_is_counted_from_its_start(
    zone: str, night: tuple[datetime, datetime]
) -> None:
    start, now = map(local_time, night)
    trial = create_trial(state=TrialState.RUNNING)
    trial.datetime_start = start
    assert running_time(trial, now) == 1200
    assert working_time([trial], now) == 1200


def test_a_trial_that_waits_has_not_run() -> None:
    waiting: FrozenTrial = create_trial(state=TrialState.WAITING)
    waiting.datetime_start = None
    assert running_time(waiting) == 0
