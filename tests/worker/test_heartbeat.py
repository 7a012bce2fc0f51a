"""A worker sends heartbeats for the trial that it runs, for as long as it runs."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from hpo_job.study.recovery import trial_id
from hpo_job.worker.heartbeat import heartbeat
from hpo_job.worker.liveness import Progress
from hpo_job.worker.loop import Worker
from hpo_job.worker.machine_share import Machine
from hpo_job.worker.signals import Stop
from tests.quick import Quick


def test_they_come_again_and_again_until_the_end() -> None:
    beats: list[str] = []
    enough = threading.Event()

    def beat() -> None:
        beats.append(threading.current_thread().name)
        if len(beats) == 3:
            enough.set()

    with heartbeat("name", 0.001, beat):
        assert enough.wait(60)
    assert set(beats) == {"name"}
    assert "name" not in {thread.name for thread in threading.enumerate()}


def test_a_worker_sends_them_for_its_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quick = Quick(tmp_path, grace=1)
    trial = quick.start()
    sent: list[int] = []
    arrived = threading.Event()
    record = quick.storage.optuna.record_heartbeat

    def recorded(number: int) -> None:
        record(number)
        sent.append(number)
        arrived.set()

    monkeypatch.setattr(quick.storage.optuna, "record_heartbeat", recorded)
    machine = Machine(threads=1)
    worker = Worker(quick.checked, quick.study, quick.storage, Stop(), machine, Progress(None))
    with worker._heartbeat(trial):
        assert arrived.wait(60)
    assert set(sent) == {trial_id(quick.study, trial.number, quick.storage)}
