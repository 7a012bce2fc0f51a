"""What starting and recording a trial costs in statements, and that it is measured."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
import sqlalchemy
from click.testing import Result
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import TrialState

from hpo_job.errors import GoneError
from hpo_job.results.overhead import overhead
from hpo_job.study.joining import create
from hpo_job.study.recovery import trial_id
from hpo_job.trial.attributes import LOCK_TIME, RECORDING_TIME, SAMPLING_TIME, STORAGE_TIME
from tests.quick import Quick
from tests.storage.test_reading_once import counted

TRIALS = 10


def test_a_trial_takes_few_transactions(tmp_path: Path) -> None:
    """On SQLite each waits for the disk; Optuna's own storage makes one for each attribute."""
    quick = Quick(tmp_path, budget=f"trials = {TRIALS}")
    commits = 0

    def count(_: sqlalchemy.Connection) -> None:
        nonlocal commits
        commits += 1

    sqlalchemy.event.listen(quick.storage.optuna.engine, "commit", count)  # type: ignore[union-attr]
    quick.work()
    assert quick.states() == {"COMPLETE": TRIALS}
    assert commits <= 15 * TRIALS  # those that only read included; it was 20


def test_a_worker_that_joins_reads_the_study_s_attributes_once(tmp_path: Path) -> None:
    """Once more to see whether its creator has finished; it was twice as often."""
    quick = Quick(tmp_path)
    with counted() as sent:
        create(quick.checked, quick.storage)
    assert len(sent) <= 12  # with those that look for the study itself


def test_lock_sampling_and_statements_are_measured(
    any_url: str, tmp_path: Path, cli: Callable[..., Result]
) -> None:
    quick = Quick(tmp_path, budget=f"trials = {TRIALS}", url=any_url)
    quick.work()
    trials = quick.study.trials
    for trial in trials:
        lock, sampling = (trial.user_attrs[each] for each in (LOCK_TIME, SAMPLING_TIME))
        assert lock >= 0
        assert sampling > 0
        assert lock + sampling <= trial.user_attrs[STORAGE_TIME]
    recorded = [trial.user_attrs[RECORDING_TIME] for trial in trials]
    assert recorded[0] == 0
    assert all(seconds > 0 for seconds in recorded[1:])

    spent = overhead(quick.study)
    assert spent is not None
    assert spent.trials == TRIALS
    assert 0 < spent.share <= 1
    place = ("quick", "--storage", any_url)
    facts = json.loads(cli("status", *place, "--format", "json").stdout)["overhead"]
    assert facts["share"] == pytest.approx(spent.share)
    line = f"overhead  {spent.share:.1%} of the workers' time: lock"
    assert line in cli("status", *place).stdout


def test_a_study_that_measured_nothing_says_nothing(cli: Callable[..., Result]) -> None:
    study = optuna.create_study()
    study.add_trial(optuna.create_trial(value=1.0))
    assert overhead(study) is None


def test_attributes_are_stored_together_or_not_at_all(any_url: str, tmp_path: Path) -> None:
    quick = Quick(tmp_path, url=any_url)
    trial = quick.start()
    number, store = trial_id(quick.study, trial.number, quick.storage), quick.storage.optuna
    store.set_trial_user_attrs(number, {"a": 1, "b": [1.5, None], "ä": 'quoted " text'})
    store.set_trial_user_attrs(number, {"a": 2})
    store.set_trial_user_attrs(number, {})
    quick.storage.flush()
    stored = quick.study.get_trials()[trial.number].user_attrs
    assert {name: stored[name] for name in ("a", "b", "ä")} == {
        "a": 2,
        "b": [1.5, None],
        "ä": 'quoted " text',
    }
    quick.study.tell(trial, state=TrialState.FAIL)
    with pytest.raises(UpdateFinishedTrialError):
        store.set_trial_user_attrs(number, {"late": 1})
        quick.storage.flush()
    assert "late" not in quick.study.get_trials()[trial.number].user_attrs
    with pytest.raises(GoneError):
        store.set_trial_user_attrs(number + 1000, {"a": 1})
        quick.storage.flush()
