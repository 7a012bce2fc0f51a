"""The view: reading a long study does not run Python's collector over and over."""

import gc

import optuna
import pytest

from hpo_job.storage.mysql import MySQLStorage
from hpo_job.storage.mysql.view import StudyView
from tests.storage.mysql.fleet import study_on


@pytest.mark.parametrize("enabled", [True, False])
def test_the_collector_is_as_it_was_after_a_study_was_read(url: str, enabled: bool) -> None:
    study = study_on(MySQLStorage(url))
    study.add_trials([optuna.trial.create_trial(value=float(i)) for i in range(200)])
    if not enabled:
        gc.disable()
    try:
        before = sum(generation["collections"] for generation in gc.get_stats())
        joined = optuna.load_study(study_name="s", storage=MySQLStorage(url))
        assert len(joined.get_trials(deepcopy=False)) == 200
        assert gc.isenabled() == enabled
        with pytest.raises(KeyError):
            StudyView(9, lambda _trial, _name: None, {}).apply([])
        assert gc.isenabled() == enabled
        assert enabled or before == sum(g["collections"] for g in gc.get_stats())
    finally:
        gc.enable()
