"""The faults that a fleet meets, done to real workers on a real server: see docs/storage.md."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest

from hpo_job.storage import timeouts
from hpo_job.storage.mysql import MySQLStorage
from tests.quick import wait_until
from tests.storage.mysql.server import PrivateServer, new_database, sql
from tests.storage.pods import HELD, ask_by, kill, pods_of, short

GRACE = 10  # seconds: a busy machine does not keep a worker from its heartbeat for so long


def test_32_workers_at_once_on_an_empty_database_run_the_budget_and_then_none(
    url: str, tmp_path: Path
) -> None:
    with pods_of(tmp_path, url, short(), budget="trials = 100") as pods:
        pods.start(32)
        assert pods.end() == [0] * 32
        assert pods.states() == {"COMPLETE": 100}
        assert sql(url, "SELECT COUNT(*) FROM studies") == [(1,)]
        assert sql(url, "SELECT COUNT(DISTINCT number), MAX(number) FROM trials") == [(100, 99)]
        pods.start(32)
        assert pods.end() == [0] * 64
        assert pods.states() == {"COMPLETE": 100}
        assert "Traceback" not in pods.said()


def test_trials_of_killed_workers_are_noticed_in_mid_trial_and_run_again_once(
    url: str, tmp_path: Path
) -> None:
    with pods_of(tmp_path, url, HELD, grace=GRACE, budget="trials = 8") as pods:
        pods.start(8)
        pods.wait_for(8)
        pods.know_parameters(8)
        killed = {0, 2, 4, 6}
        for number in killed:
            kill(pods.running()[number])
        # The four that are left are busy with their trials, and start no other.
        wait_until(lambda: set(pods.reasons()) == killed)
        wait_until(lambda: pods.states() == {"FAIL": 4, "RUNNING": 4, "WAITING": 4})
        pods.go()
        assert sorted(pods.end(), key=str) == [-9] * 4 + [0] * 4
        assert pods.states() == {"FAIL": 4, "COMPLETE": 8}
        assert sorted(pods.retries().values()) == ["0", "2", "4", "6"]
        assert set(pods.reasons().values()) == {"lost"}
        assert_same_parameters(url, pods.retries())


def assert_same_parameters(url: str, retries: dict[int, str]) -> None:
    trials = optuna.load_study(study_name="quick", storage=url).trials
    for number, earlier in retries.items():
        assert trials[number].params == trials[int(earlier)].params


@pytest.mark.parametrize("when", ["before the ask", "after the ask"])
def test_a_worker_that_dies_while_it_asks_leaves_nothing_behind(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    def die(ask: Callable[[], optuna.Trial]) -> optuna.Trial:
        if when == "after the ask":
            ask()
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError

    with pods_of(tmp_path, url, short(), grace=2, budget="trials = 2") as pods:
        with monkeypatch.context() as patch:
            patch.setattr(optuna.Study, "ask", ask_by(die))
            pods.start()
            assert pods.end() == [-9]
        pods.start()
        assert pods.end() == [-9, 0]
        lost = {"FAIL": 1} if when == "after the ask" else {}
        assert pods.states() == {"COMPLETE": 2, **lost}


def test_a_trial_that_never_had_a_heartbeat_is_recovered(url: str, tmp_path: Path) -> None:
    with pods_of(tmp_path, url, short(), grace=2, budget="trials = 1") as pods:
        pods.start()
        assert pods.end() == [0]
        storage = MySQLStorage(url)
        storage.create_new_trial(storage.get_study_id_from_name("quick"))
        sql(url, "DELETE FROM trial_heartbeats")
        (pods.job / "study.toml").write_text(
            (pods.job / "study.toml").read_text().replace("trials = 1", "trials = 2")
        )
        pods.start()
        assert pods.end() == [0, 0]
        assert pods.states() == {"COMPLETE": 2, "FAIL": 1}
        assert pods.reasons() == {1: "lost"}


def test_sigterm_is_a_preemption_and_the_parameters_wait_at_once(url: str, tmp_path: Path) -> None:
    with pods_of(tmp_path, url, HELD, budget="trials = 1") as pods:
        (pod,) = pods.start()
        pods.wait_for(1)
        pod.terminate()
        assert pods.end() == [143]
        assert pods.states() == {"FAIL": 1, "WAITING": 1}
        assert pods.reasons() == {0: "preempted"}
        assert pods.retries() == {1: "0"}
        pods.go()
        pods.start()
        assert pods.end() == [143, 0]
        assert_same_parameters(url, pods.retries())


def test_a_worker_that_is_woken_after_its_trial_was_given_away_takes_a_new_one(
    url: str, tmp_path: Path
) -> None:
    with pods_of(tmp_path, url, HELD, grace=GRACE, budget="trials = 2") as pods:
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
        assert pods.reasons() == {0: "lost"}
        assert_same_parameters(url, pods.retries())
        assert "trial 0: its result is not recorded" in pods.said_by(frozen)
        lost = optuna.load_study(study_name="quick", storage=url).trials[0]
        assert lost.values is None
        assert lost.intermediate_values == {}


def test_a_worker_that_is_frozen_inside_the_lock_does_not_hold_up_the_others(
    root_url: str, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def freeze(ask: Callable[[], optuna.Trial]) -> optuna.Trial:
        if not frozen_once.exists():
            frozen_once.touch()
            os.kill(os.getpid(), signal.SIGSTOP)
        return ask()

    frozen_once = tmp_path / "frozen"
    monkeypatch.setattr(timeouts, "FROZEN_TIMEOUT", 2)
    with pods_of(tmp_path, url, short(), budget="trials = 3") as pods:
        with monkeypatch.context() as patch:
            patch.setattr(optuna.Study, "ask", ask_by(freeze))
            (frozen,) = pods.start()
            wait_until(lambda: is_stopped(frozen.pid))
        (other,) = pods.start()
        other.join(120)
        assert pods.states() == {"COMPLETE": 3}
        frozen.kill()
        assert pods.end() == [-9, 0]


def is_stopped(pid: int) -> bool:
    """Whether SIGSTOP has reached a process."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def test_a_server_that_is_killed_and_one_that_restarts_lose_no_worker_and_no_trial(
    own_server: PrivateServer, tmp_path: Path
) -> None:
    url = new_database(own_server.root_url)
    with pods_of(tmp_path, url, short(0.05), grace=GRACE, budget="trials = 60") as pods:
        pods.start(4)
        for times, end in enumerate((own_server.kill, own_server.stop), 1):
            done = pods.finished()
            wait_until(lambda enough=done + 8: pods.finished() >= enough)  # type: ignore[misc]
            end()
            time.sleep(GRACE + 1)  # no heartbeat for the grace: that is not the workers' fault
            own_server.start()
            # all of them, before the next outage: to one that still waits, both would be one
            wait_until(
                lambda times=times: all(  # type: ignore[misc]
                    pods.said_by(pod).count("resumed") == times for pod in pods.all
                )
            )
        assert pods.end() == [0] * 4
        assert pods.states() == {"COMPLETE": 60}
        for pod in pods.all:
            lines = pods.said_by(pod).splitlines()
            waiting = [line for line in lines if "waiting for the server" in line]
            assert len(waiting) == sum("resumed" in line for line in lines) == 2
        assert sql(url, "SELECT COUNT(*) FROM trial_values") == [(60,)]
        assert sql(url, "SELECT COUNT(*) FROM trial_intermediate_values") == [(300,)]


@pytest.mark.slow
def test_32_workers_get_on_with_20_connections(
    start_server: Callable[..., PrivateServer], tmp_path: Path
) -> None:
    url = new_database(start_server("max-connections=20").root_url)
    with pods_of(tmp_path, url, short(0.02), budget="trials = 200") as pods:
        pods.start(32)
        assert pods.end() == [0] * 32
        assert pods.states() == {"COMPLETE": 200}
        assert "Traceback" not in pods.said()
