"""A worker in a pod: known by Job and index, and gone once nothing is left to start."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from optuna.trial import TrialState

from hpo_job.spec.reading import read_spec
from hpo_job.storage.database import Storage
from hpo_job.study.admission import admit
from hpo_job.study.checking import check
from hpo_job.study.joining import create
from hpo_job.study.workers import identity, is_gone
from hpo_job.trial import attributes
from tests.quick import wait_until

ELSEWHERE = {"host": "another", "pid": 2**22 + 1}  # no process of this machine


@pytest.fixture
def in_pod(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HPO_JOB_OWNER", "uid-1")
    monkeypatch.setenv("HPO_JOB_INDEX", "3")


@pytest.mark.usefixtures("in_pod")
def test_a_predecessor_is_gone() -> None:
    assert is_gone({**ELSEWHERE, "owner": "uid-1", "index": "3"})


@pytest.mark.usefixtures("in_pod")
@pytest.mark.parametrize(("owner", "index"), [("uid-1", "2"), ("uid-2", "3")])
def test_another_index_or_job_is_not(owner: str, index: str) -> None:
    assert not is_gone({**ELSEWHERE, "owner": owner, "index": index})


@pytest.mark.usefixtures("in_pod")
def test_workers_of_one_pod_do_not_succeed_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Known by their process numbers there; those of an earlier pod of the index are gone."""
    monkeypatch.setenv("HPO_JOB_POD", "x-worker-3-new")
    mine = identity()
    assert mine["pod"] == "x-worker-3-new"
    assert not is_gone({**mine, "pid": os.getppid()})
    ended = subprocess.Popen(["true"])
    ended.wait()
    assert is_gone({**mine, "pid": ended.pid})
    assert is_gone(mine)
    assert is_gone({**mine, "pid": os.getppid(), "pod": "x-worker-3-old"})
    assert not is_gone({**mine, "pid": os.getppid(), "pod": "x-worker-2-old", "index": "2"})


@pytest.mark.usefixtures("in_pod")
def test_a_worker_without_a_job_is_not() -> None:
    assert not is_gone(ELSEWHERE)


def test_outside_of_a_pod_nobody_has_an_index(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HPO_JOB_OWNER", "HPO_JOB_INDEX"):
        monkeypatch.delenv(name, raising=False)
    assert identity().keys() == {"host", "pid"}
    assert not is_gone({**ELSEWHERE, "owner": "uid-1", "index": "3"})


def test_a_successor_takes_back_at_once(
    job: Callable[..., Path], storage: Storage, monkeypatch: pytest.MonkeyPatch, in_pod: None
) -> None:
    """What runs elsewhere under this index is lost, whatever its heartbeat; the rest is not."""
    spec = read_spec(job())
    study = create(check(spec, Path()), storage)
    for index in ("3", "4"):
        monkeypatch.setenv("HPO_JOB_INDEX", index)
        trial = admit(study, spec, storage)
        assert not isinstance(trial, str)
        worker = {**identity(), **ELSEWHERE}
        trial.set_user_attr(attributes.WORKER, worker)  # type: ignore[union-attr]
    monkeypatch.setenv("HPO_JOB_INDEX", "3")
    admit(study, spec, storage)
    states = [trial.state for trial in study.get_trials()]
    assert states[:2] == [TrialState.FAIL, TrialState.RUNNING]
    assert study.trials[0].user_attrs[attributes.REASON] == attributes.LOST
    assert study.trials[2].user_attrs[attributes.RETRY_OF] == 0


SLOW = """
import time
def train(trial, context):
    open(f"running-{trial.number}", "w").close()
    time.sleep(60)
    return 1.0
"""


@pytest.mark.processes
def test_a_worker_leaves_when_others_run_the_rest(job: Callable[..., Path], tmp_path: Path) -> None:
    """It waits for longer than the grace first: then whoever runs has shown that it lives."""
    folder = job(budget={"trials": 1}, code=SLOW)
    command = [
        sys.executable,
        "-m",
        "hpo_job",
        "worker",
        str(folder),
        "--grace",
        "2",
        "--storage",
        f"sqlite:///{tmp_path}/s.db",
    ]
    busy = subprocess.Popen(command, cwd=tmp_path, env={**os.environ, "HPO_JOB_OWNER": ""})
    try:
        wait_until((tmp_path / "running-0").exists)
        begun = time.monotonic()
        left = subprocess.run([*command, "--no-wait"], cwd=tmp_path, capture_output=True, text=True)
        assert left.returncode == 0, left.stderr
        assert time.monotonic() - begun > 2
        assert "may use up the budget" in left.stderr
        assert busy.poll() is None
    finally:
        busy.terminate()
        busy.wait(120)
