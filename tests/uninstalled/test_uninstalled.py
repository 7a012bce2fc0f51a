"""A machine without network, to which hpo-job was copied: everything works without pip."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hpo_job import __version__
from tests import ROOT

HERE = Path(__file__).parent
PENGUINS = ROOT / "jobs" / "penguins-species"
Run = Callable[..., str]


@pytest.fixture
def hpo_job(tmp_path: Path) -> Run:
    """Runs ``python -m hpo_job``, of the path of modules; returns its stdout."""
    env = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(HERE), str(ROOT)]),
        "HPO_JOB_STORAGE": f"sqlite:///{tmp_path}/studies.db",
    }

    def run(*arguments: str | Path) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "hpo_job", *arguments],
            env=env,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


@pytest.mark.processes
def test_there_is_no_record_of_it() -> None:
    code = "from importlib.metadata import version\nversion('torch')\nversion('hpo-job')"
    env = {**os.environ, "PYTHONPATH": str(HERE)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert done.stderr.endswith("No package metadata was found for hpo-job\n")


@pytest.mark.processes
@pytest.mark.fastai
def test_from_the_first_trial_to_the_final_model(hpo_job: Run, tmp_path: Path) -> None:
    """Trials save their states, which name the version; so does the model card."""
    often = ["--set", "checkpoint.every=0.001", "--set", "budget.trials=2"]
    assert "2 COMPLETE" in hpo_job("run", PENGUINS, *often, "--workers", "2")
    assert __version__ in hpo_job("--version")
    hpo_job("report", "penguins-species", "-o", tmp_path / "report.html")
    hpo_job("export", "penguins-species", "-o", tmp_path / "best")
    assert hpo_job("predict", tmp_path / "best", PENGUINS / "penguins.csv").count("\n") > 300
    hpo_job("train", PENGUINS, "-o", tmp_path / "final")
    assert f"by hpo-job {__version__}, seed" in (tmp_path / "final" / "README.md").read_text()
