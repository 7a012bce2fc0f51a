"""A pod's disk: what fills it ends with a line that says so, and is counted by the Job."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml
from click.testing import Result

from hpo_job.errors import DiskFullError
from hpo_job.worker.disk import FOLDERS, LIMIT, REQUEST, Disk, parse_bytes
from tests import ROOT

Job = Callable[..., Path]
MEBIBYTE = 2**20
# Fills the folder, and then does what a training does: it goes on for a long time
FILLS = """
import os
import time
from pathlib import Path
def train(trial, context):
    Path(os.environ["FILLED"], str(trial.number)).write_bytes(os.urandom(2**20))
    for _ in range(3000):
        time.sleep(0.01)
    return 1.0
"""


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hpo_job.worker.disk.EVERY", 0.01)


def filled(folder: Path, size: int) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "file").write_bytes(os.urandom(size))
    return folder


@pytest.mark.usefixtures("often")
def test_a_trial_that_fills_the_disk_fails_with_a_line_that_says_so(
    job: Job, cli: Callable[..., Result], database: str, tmp_path: Path
) -> None:
    cache = filled(tmp_path / "cache", 10)
    folder = job(code=FILLS, budget={"trials": 3})
    variables = {FOLDERS: f"{cache}=1Mi", "FILLED": str(cache)}
    done = cli("worker", folder, "--storage", database, **variables)
    assert done.exit_code == 1, done.output
    (study,) = optuna.get_all_study_names(database)
    (trial,) = optuna.load_study(study_name=study, storage=database).trials
    assert trial.state == optuna.trial.TrialState.FAIL
    assert trial.user_attrs["fail_reason"] == "error"
    line = f"the disk of this pod is full: {cache} holds 1.0 MiB of 1.0 MiB; raise it"
    assert line in trial.user_attrs["error"]
    assert line in done.stderr.splitlines()[-1]


@pytest.mark.usefixtures("often")
def test_a_worker_does_not_start_on_a_full_disk(
    job: Job, cli: Callable[..., Result], database: str, tmp_path: Path
) -> None:
    """As where the data alone are too large."""
    cache = filled(tmp_path / "cache", MEBIBYTE)
    slow = "import time\ntime.sleep(0.5)\n" + FILLS
    done = cli("worker", job(code=slow), "--storage", database, **{FOLDERS: f"{cache}=1Mi"})
    assert done.exit_code == 1
    assert "the disk of this pod is full" in done.stderr


@pytest.mark.processes
def test_an_eviction_for_the_disk_is_counted(job: Job, database: str, tmp_path: Path) -> None:
    """The node is faster: its SIGTERM comes before the worker has looked."""
    cache = filled(tmp_path / "cache", 10)
    reports = FILLS.replace("    for _", "    context.report(0.0)\n    for _")
    folder = str(job(code=reports, budget={"trials": 3}))
    command = [sys.executable, "-m", "hpo_job", "worker", folder, "--storage", database]
    limits = {FOLDERS: f"{cache}=1Gi", LIMIT: str(MEBIBYTE), "FILLED": str(cache)}
    with subprocess.Popen(
        command, env={**os.environ, **limits}, stderr=subprocess.PIPE, text=True
    ) as worker:
        assert worker.stderr
        assert any("trial 0 step 0" in line for line in worker.stderr)
        worker.send_signal(signal.SIGTERM)
        errors = worker.stderr.read()
    assert worker.returncode == 1, errors
    assert "the disk of this pod is full" in errors


def test_which_limits_are_near(tmp_path: Path) -> None:
    cache, tmp = filled(tmp_path / "cache", MEBIBYTE), filled(tmp_path / "tmp", MEBIBYTE)
    wide = {cache: 10 * MEBIBYTE, tmp: 10 * MEBIBYTE}
    assert Disk(wide, total=3 * MEBIBYTE).problem() is None
    assert f"{cache} and {tmp} hold" in str(Disk(wide, total=2 * MEBIBYTE).problem())
    assert f"{tmp} holds" in str(Disk({**wide, tmp: MEBIBYTE}).problem())
    assert Disk({}).problem() is None


def test_a_node_that_is_full_evicts_who_uses_more_than_it_requests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = filled(tmp_path / "cache", MEBIBYTE)
    disk = Disk({cache: 10 * MEBIBYTE}, request=MEBIBYTE // 2)
    monkeypatch.setattr("hpo_job.worker.disk.LOW", 0.0)
    assert disk.cause_of_eviction() is None
    monkeypatch.setattr("hpo_job.worker.disk.LOW", 1.1)
    assert "more than the" in str(disk.cause_of_eviction())
    assert disk.problem() is None  # its trials go on until then
    assert Disk({cache: 10 * MEBIBYTE}, request=2 * MEBIBYTE).cause_of_eviction() is None


def test_elsewhere_nothing_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk.from_environment()
    assert (disk.limits, disk.total) == ({}, None)
    with disk.watched(pytest.fail):
        pass


@pytest.mark.parametrize(
    ("text", "size"), [("16Gi", 2**34), ("1.5Gi", 3 * 2**29), ("500M", 5 * 10**8), ("1024", 1024)]
)
def test_quantities(text: str, size: int) -> None:
    assert parse_bytes(text) == size


def test_the_manifest_names_the_limits_of_its_volumes() -> None:
    job: Any = yaml.safe_load((ROOT / "k8s/base/worker.yaml").read_text())
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    variables = {each["name"]: each for each in container["env"]}
    mounts = {each["name"]: each["mountPath"] for each in container["volumeMounts"]}
    limits = [
        f"{mounts[volume['name']]}={volume['emptyDir']['sizeLimit']}"
        for volume in pod["volumes"]
        if "emptyDir" in volume and "medium" not in volume["emptyDir"]
    ]
    assert variables[FOLDERS]["value"].split() == limits
    for name, resource in ((LIMIT, "limits"), (REQUEST, "requests")):
        field = variables[name]["valueFrom"]["resourceFieldRef"]
        assert field["resource"] == f"{resource}.ephemeral-storage"


def test_the_job_counts_what_its_workers_are_at_fault_for() -> None:
    """Before it looks at why a pod was ended: else an eviction for its disk would not count."""
    job: Any = yaml.safe_load((ROOT / "k8s/base/worker.yaml").read_text())
    first = job["spec"]["podFailurePolicy"]["rules"][0]
    assert first["action"] == "Count"
    assert first["onExitCodes"]["values"] == [DiskFullError.exit_code]
