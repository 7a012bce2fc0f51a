"""The Makefile's targets for a cluster, run as they are against a stand-in for the API server."""

from __future__ import annotations

import copy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import ROOT
from tests.cluster.conftest import Api
from tests.cluster.objects import JOB

Object = dict[str, Any]
Make = Callable[..., "subprocess.CompletedProcess[str]"]
pytestmark = [pytest.mark.processes, pytest.mark.usefixtures("namespace")]


@pytest.fixture
def make() -> Make:
    """Runs make in the environment of these tests, which is set up."""
    venv = Path(sys.executable).parents[1]

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = ["make", "--silent", f"VENV={venv}", "-o", f"{venv}/.kubernetes", *arguments]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    return run


def test_make_submit(api: Api, make: Make, secret: Object) -> None:
    api.put("v1/secrets", secret)
    done = make("submit", "JOB=digits", "WORKERS=3")
    assert done.returncode == 0, done.stderr
    (sent,) = [thing for thing in api.applied if thing["kind"] == "Job"]
    assert sent["spec"]["completions"] == 3
    assert make("submit", "JOB=digits", "SUBMIT_ARGS=--dry-run").stdout.count("kind: Job") == 1


@pytest.mark.processes
def test_the_next_commands_can_be_typed_as_they_are_shown(
    api: Api, make: Make, secret: Object
) -> None:
    api.put("v1/secrets", secret)
    program = make("submit", "JOB=digits").stdout.splitlines()[-1].split()[0]
    assert subprocess.run([program, "--version"], cwd=ROOT, check=False).returncode == 0


def test_make_scale_status_and_results(api: Api, make: Make, secret: Object) -> None:
    job = api.put("batch/v1/jobs", copy.deepcopy(JOB))
    assert make("scale", "JOB=digits", "N=5").returncode == 0
    assert job["spec"]["parallelism"] == job["spec"]["completions"] == 5
    assert "digits-worker in hpo-job" in make("status", "JOB=digits").stdout
    api.put("v1/secrets", secret)
    assert "/nowhere/studies.db: no such file" in make("results", "JOB=digits").stderr
