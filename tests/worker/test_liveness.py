"""The file of a worker's progress, and the probe of k8s/base that looks at it."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from click.testing import Result

from hpo_job.machine import cpu_name
from hpo_job.worker.heartbeat import heartbeat
from hpo_job.worker.liveness import FOLDER, Progress
from tests import ROOT

Job = Callable[..., Path]
HALF_AN_HOUR = 1800
SPIES = """
import os
from pathlib import Path
def train(trial, context):
    (file,) = Path(os.environ["HPO_JOB_PROGRESS"]).iterdir()
    assert file.name == str(os.getpid())
    os.utime(file, (1, 1))
    context.report(1.0)
    (file,) = Path(os.environ["HPO_JOB_PROGRESS"]).iterdir()
    assert file.stat().st_mtime > 1, "a report is no progress"
    return 1.0
"""


@pytest.fixture
def alive(tmp_path: Path) -> Callable[[], bool]:
    """Runs the probe of the manifest on a folder of this test."""
    job = yaml.safe_load((ROOT / "k8s/base/worker.yaml").read_text())
    (container,) = job["spec"]["template"]["spec"]["containers"]
    variables = {each["name"]: each.get("value") for each in container["env"]}
    command = container["livenessProbe"]["exec"]["command"]
    assert variables[FOLDER] in command[-1]
    here = [part.replace(variables[FOLDER], str(tmp_path / "progress")) for part in command]

    def run() -> bool:
        # with the programs of the image, not those of a test
        path = {"PATH": "/usr/bin:/bin"}
        return subprocess.run(here, env=path, capture_output=True).returncode == 0

    return run


def test_a_worker_is_alive_until_its_trial_makes_no_progress(
    alive: Callable[[], bool], tmp_path: Path
) -> None:
    assert not alive()  # it never began
    file = tmp_path / "progress" / str(os.getpid())
    progress = Progress(file)
    with progress.kept():
        assert alive()
        with progress.trial():
            progress.note()
            long_ago = time.time() - HALF_AN_HOUR
            os.utime(file, (long_ago + 120, long_ago + 120))
            assert alive()
            os.utime(file, (long_ago - 120, long_ago - 120))
            assert not alive()
        assert alive()  # between trials
    assert not file.exists()


def test_the_thread_leaves_the_file_to_a_trial_that_has_noted_progress(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    beats: list[Callable[[], None]] = []

    def catch(name: str, seconds: float, beat: Callable[[], None]) -> object:
        beats.append(beat)
        return heartbeat(name, HALF_AN_HOUR, beat)

    monkeypatch.setattr("hpo_job.worker.liveness.heartbeat", catch)
    file = tmp_path / str(os.getpid())
    progress = Progress(file)
    with progress.kept(), progress.trial():
        (beat,) = beats
        os.utime(file, (1, 1))
        beat()
        assert file.stat().st_mtime > 1  # data is read, or the function never reports
        progress.note()
        os.utime(file, (1, 1))
        beat()
        assert file.stat().st_mtime == 1


def test_files_of_workers_that_were_killed_are_removed(tmp_path: Path) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    (tmp_path / str(gone.pid)).touch()
    with Progress(tmp_path / str(os.getpid())).kept():
        assert [file.name for file in tmp_path.iterdir()] == [str(os.getpid())]


def test_a_report_is_progress(
    job: Job,
    tmp_path: Path,
    database: str,
    cli: Callable[..., Result],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("hpo_job.worker.liveness.LEAST", 0)
    folder = job(code=SPIES, budget={"trials": 1, "failures": 1})
    done = cli("worker", folder, "--storage", database, HPO_JOB_PROGRESS=str(tmp_path / "progress"))
    assert done.exit_code == 0, done.output
    assert not list((tmp_path / "progress").iterdir())


def test_a_worker_says_what_it_does(
    job: Job, database: str, cli: Callable[..., Result], caplog: pytest.LogCaptureFixture
) -> None:
    code = "def train(trial, context):\n    context.report(0.5)\n    return 0.25\n"
    folder = job(code=code, budget={"trials": 1})
    pod = {"HPO_JOB_INDEX": "3", "HPO_JOB_NODE": "n1", "HPO_JOB_OWNER": "job"}
    cli("worker", folder, "--threads", "2", "--storage", database, **pod)
    here = f"{cpu_name()}, 2 threads, index 3 on node n1"
    assert caplog.messages[0] == f"worker of study quadratic: {here}"
    assert "trial 0 step 0: 0.5" in caplog.messages


def test_one_of_several_workers_that_hangs_is_enough(
    alive: Callable[[], bool], tmp_path: Path
) -> None:
    folder = tmp_path / "progress"
    folder.mkdir()
    for name in ("17", "18"):
        (folder / name).touch()
    assert alive()
    long_ago = time.time() - HALF_AN_HOUR - 120
    os.utime(folder / "18", (long_ago, long_ago))
    assert not alive()
