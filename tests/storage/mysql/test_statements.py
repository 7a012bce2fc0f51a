"""How many statements and commits a trial costs: the server's own counters say."""

from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from hpo_job.storage.mysql import MySQLStorage
from hpo_job.study.admission import Refusal, admit
from hpo_job.study.bounded_tpe import BoundedTPESampler
from hpo_job.worker import loop as worker
from hpo_job.worker.machine_share import Machine
from hpo_job.worker.signals import Stop
from tests.quick import Quick
from tests.storage.mysql.server import connect
from tests.storage.pods import FIVE, short

COUNTED = ("Questions", "Com_commit")


def counters(cursor: Any) -> dict[str, int]:
    cursor.execute("SHOW GLOBAL STATUS")
    status = dict(cursor.fetchall())
    return {name: int(status[name]) for name in COUNTED}


def one_trial(storage: MySQLStorage, study: optuna.Study) -> None:
    with storage.exclusive(study.study_name):
        storage._get_stale_trial_ids(study._study_id)
        storage.get_all_trials(study._study_id, deepcopy=False)
        trial = study.ask()
        storage.set_trial_user_attr(trial._trial_id, "worker", "w")
        storage.record_heartbeat(trial._trial_id)
    for i in range(5):
        trial.suggest_float(f"x{i}", 0, 1)
    for step in range(5):
        trial.report(0.5, step + 1)
        trial.should_prune()
    trial.set_user_attr("seconds", 1.5)
    study.tell(trial, 0.5)


@pytest.mark.parametrize("others", [0, 127])
@pytest.mark.parametrize(
    "pruner",
    [
        pytest.param(optuna.pruners.MedianPruner(), id="MedianPruner"),
        pytest.param(optuna.pruners.SuccessiveHalvingPruner(), id="SuccessiveHalvingPruner"),
    ],
)
def test_a_trial_costs_at_most_25_statements_and_6_commits(
    root_url: str, url: str, others: int, pruner: optuna.pruners.BasePruner
) -> None:
    storage = MySQLStorage(url, heartbeat_interval=60)
    sampler = BoundedTPESampler(seed=0)
    study = optuna.create_study(storage=storage, sampler=sampler, pruner=pruner)
    elsewhere = MySQLStorage(url)
    for _ in range(others):
        elsewhere.create_new_trial(study._study_id)
    for _ in range(12):  # past TPE's random start
        one_trial(storage, study)

    connection = connect(root_url)
    cursor = connection.cursor()
    before = counters(cursor)
    for _ in range(4):
        one_trial(storage, study)
    after = counters(cursor)
    connection.close()

    grown = {name: after[name] - before[name] for name in COUNTED}
    assert (grown["Questions"] - 1) / 4 <= 25
    assert grown["Com_commit"] / 4 <= 6
    assert storage.counts(study._study_id)[TrialState.COMPLETE] == 16


@pytest.mark.parametrize("others", [0, 127])
@pytest.mark.parametrize("pruner", ["MedianPruner", "SuccessiveHalvingPruner"])
def test_the_workers_whole_loop_costs_no_more(
    root_url: str,
    url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    others: int,
    pruner: str,
) -> None:
    """From one question for a trial to the next: admission, the objective, the record."""
    more = f'[pruner]\nname = "{pruner}"'
    quick = Quick(tmp_path, short(), url=url, budget="trials = 1000", space=FIVE, more=more)
    elsewhere = MySQLStorage(url)
    study_id = elsewhere.get_study_id_from_name("quick")
    for _ in range(others):
        elsewhere.create_new_trial(study_id)
    connection = connect(root_url)
    cursor = connection.cursor()
    marks: list[dict[str, int]] = []

    def counted(*arguments: Any) -> optuna.Trial | Refusal:
        marks.append(counters(cursor))
        return Refusal.USED_UP if len(marks) > 16 else admit(*arguments)

    monkeypatch.setattr(worker, "admit", counted)
    worker.work(quick.checked, quick.study, quick.storage, Stop(), Machine(threads=1))
    connection.close()

    grown = {name: marks[-1][name] - marks[-5][name] for name in COUNTED}
    assert (grown["Questions"] - 4) / 4 <= 25
    assert grown["Com_commit"] / 4 <= 6
    assert quick.states()["COMPLETE"] + quick.states().get("PRUNED", 0) == 16


def test_a_finished_trial_is_read_once_and_a_refresh_is_one_statement(
    root_url: str, url: str
) -> None:
    writer, reader = MySQLStorage(url), MySQLStorage(url)
    study_id = writer.create_new_study([optuna.study.StudyDirection.MINIMIZE])
    for _ in range(3):
        writer.set_trial_state_values(writer.create_new_trial(study_id), TrialState.COMPLETE, [1.0])
    first = reader.get_all_trials(study_id, deepcopy=False)

    connection = connect(root_url)
    cursor = connection.cursor()
    before = counters(cursor)
    second = reader.get_all_trials(study_id, deepcopy=False)
    grown = counters(cursor)["Questions"] - before["Questions"] - 1
    connection.close()

    assert grown == 1
    assert all(a is b for a, b in zip(first, second, strict=True))
