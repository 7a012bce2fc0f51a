"""One worker at a time inside a study's lock; who loses the lock is told."""

import threading
import time
from typing import Any

import pytest
from optuna.trial import TrialState

from hpo_job.storage.mysql import LockLost, MySQLStorage
from tests.quick import wait_until
from tests.storage.mysql.fleet import exit_codes, start, study_on, worker
from tests.storage.mysql.server import sql


def end_connection(root_url: str, storage: MySQLStorage) -> None:
    """What a restart of the server, or a proxy between, does to a worker."""
    number = storage._connection._raw.thread_id()
    sql(root_url, f"KILL {number}")
    listed = f"SELECT COUNT(*) FROM information_schema.processlist WHERE id = {number}"
    wait_until(lambda: sql(root_url, listed) == [(0,)])


def test_two_workers_are_never_inside_together(url: str) -> None:
    storages = [MySQLStorage(url) for _ in range(2)]
    study_on(storages[0])
    inside: list[Any] = []
    most = 0

    def enter(storage: MySQLStorage) -> None:
        nonlocal most
        for _ in range(20):
            with storage.exclusive("s"):
                inside.append(storage)
                most = max(most, len(inside))
                time.sleep(0.002)  # long enough for another thread to come in
                inside.remove(storage)

    threads = [threading.Thread(target=enter, args=(s,)) for s in storages for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


def test_a_lost_lock_is_noticed_before_a_trial_is_started(
    root_url: str, url: str, storage: MySQLStorage
) -> None:
    study = study_on(storage)
    with pytest.raises(LockLost), storage.exclusive(study.study_name):
        storage.counts(study._study_id)
        end_connection(root_url, storage)
        study.ask()
    assert storage.get_all_trials(study._study_id) == []


def test_a_lock_lost_without_a_word_is_noticed_at_the_end(
    root_url: str, url: str, storage: MySQLStorage
) -> None:
    study = study_on(storage)
    other = MySQLStorage(url)
    with pytest.raises(LockLost), storage.exclusive(study.study_name):
        end_connection(root_url, storage)
        heartbeat = threading.Thread(target=storage.record_heartbeat, args=(1,))
        heartbeat.start()  # another thread's statement opens a new connection, without the lock
        heartbeat.join()
        with other.exclusive(study.study_name):
            pass


def test_once_a_trial_is_started_the_lock_may_go(
    root_url: str, url: str, storage: MySQLStorage
) -> None:
    study = study_on(storage)
    with storage.exclusive(study.study_name):
        trial = study.ask()
        end_connection(root_url, storage)
        storage.set_trial_user_attr(trial._trial_id, "worker", "w")
        storage.flush()
        storage.record_heartbeat(trial._trial_id)
    study.tell(trial, 1.0)
    assert storage.counts(study._study_id)[TrialState.COMPLETE] == 1


def test_the_lock_of_a_dead_worker_is_free(url: str, storage: MySQLStorage) -> None:
    study_on(storage)

    def die_inside() -> None:
        import os

        with MySQLStorage(url).exclusive("s"):
            os._exit(9)

    assert exit_codes(start(1, die_inside), 30) == [9]
    with storage.exclusive("s"):
        pass


@pytest.mark.slow
def test_the_budget_is_exact_and_stays_exact(url: str) -> None:
    for _ in range(2):
        assert exit_codes(start(32, worker, url, 100), 120) == [0] * 32
        counts = MySQLStorage(url).counts(1)
        assert counts[TrialState.COMPLETE] == sum(counts.values()) == 100
    assert sql(url, "SELECT COUNT(DISTINCT number), MAX(number) FROM trials") == [(100, 99)]


def test_32_processes_start_at_once_on_an_empty_database(url: str) -> None:
    def join() -> None:
        storage = MySQLStorage(url)
        study_on(storage)
        storage.remove_session()

    assert exit_codes(start(32, join), 60) == [0] * 32
    assert sql(url, "SELECT COUNT(*) FROM studies") == [(1,)]
    assert sql(url, "SELECT COUNT(*) FROM alembic_version") == [(1,)]


def test_what_was_read_under_the_lock_spares_one_read_and_no_more(
    url: str, storage: MySQLStorage
) -> None:
    study = study_on(storage)
    with storage.exclusive(study.study_name):
        study.ask()
    other = study_on(MySQLStorage(url))
    other.ask()
    assert len(study.get_trials(deepcopy=False)) == 1  # as the trial's sampler saw it
    assert len(study.get_trials(deepcopy=False)) == 2


def test_what_was_read_under_the_lock_of_one_study_spares_no_read_of_another(
    url: str, storage: MySQLStorage
) -> None:
    study, another = study_on(storage), study_on(storage, "another")
    assert another.get_trials(deepcopy=False) == []
    with storage.exclusive(study.study_name):
        study.ask()
    study_on(MySQLStorage(url), "another").ask()
    assert len(another.get_trials(deepcopy=False)) == 1


def test_a_trial_that_another_creates_without_the_lock_is_read(
    url: str, storage: MySQLStorage
) -> None:
    study = study_on(storage)
    with storage.exclusive(study.study_name):
        assert study.get_trials(deepcopy=False) == []
        study_on(MySQLStorage(url)).ask()
        study.ask()
        assert len(study.get_trials(deepcopy=False)) == 2
