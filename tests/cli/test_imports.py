"""What each command imports: nobody waits for what it does not use, and a worker does not hold it.

The real commands run, with Python's own list of what is imported, in all of their processes.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.quick import write_job

TRAINING = ("torch", "torchvision", "fastai", "fastcore", "timm", "sklearn", "scipy")
DRAWING = ("matplotlib", "plotly", "IPython", "jinja2")
CLOUDS = ("boto3", "botocore", "google", "kubernetes", "aiohttp")
STUDIES = ("optuna", "numpy", "sqlalchemy", "pydantic")
# A command, and what it must not import; JOB is the folder of a function's study
COMMANDS: dict[tuple[str, ...], tuple[str, ...]] = {
    ("--help",): (*STUDIES, "pandas", "rich", *TRAINING, *DRAWING, *CLOUDS),
    ("check", "JOB"): ("pandas", *TRAINING, *DRAWING, *CLOUDS),
    ("run", "JOB", "--workers", "2"): ("pandas", "tarfile", *TRAINING, *DRAWING, *CLOUDS),
    ("worker", "JOB"): ("pandas", "tarfile", "rich", "PIL", *TRAINING, *DRAWING, *CLOUDS),
    ("status", "quick"): (*TRAINING, *DRAWING, *CLOUDS),
    ("list",): (*TRAINING, *DRAWING, *CLOUDS),
    ("results", "quick"): (*TRAINING, *DRAWING, *CLOUDS),
    ("best", "quick"): (*TRAINING, *DRAWING, *CLOUDS),
}
# What fastai imports itself cannot be left out: matplotlib, pandas, scikit-learn, scipy
UNUSED = ("plotly", "IPython", "jinja2", "spacy", *CLOUDS)
OBJECTIVES = {
    "image_classification": UNUSED,
    "tabular_classification": (*UNUSED, "torchvision", "timm", "huggingface_hub", "sympy"),
}
IMPORTED = re.compile(r"import time: +\d+ \| +\d+ \| +(\w+)")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A job, and the database in which its study is finished."""
    folder = tmp_path_factory.mktemp("finished")
    job, database = write_job(folder, budget="trials = 2"), f"sqlite:///{folder}/studies.db"
    _run(["worker", str(job), "--storage", database], folder)
    return job, database


@pytest.mark.processes
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_command_imports_only_what_it_uses(
    tmp_path: Path, finished: tuple[Path, str], command: tuple[str, ...]
) -> None:
    job, database = finished
    if command[0] in ("run", "worker"):
        database = f"sqlite:///{tmp_path}/new.db"
    arguments = [str(job) if each == "JOB" else each for each in command]
    if command != ("--help",):
        arguments += ["--storage", database]
    imported = _run(arguments, tmp_path)
    assert "hpo_job" in imported
    assert sorted(imported & set(COMMANDS[command])) == []


@pytest.mark.processes
@pytest.mark.fastai
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_an_objective_imports_only_what_it_uses(tmp_path: Path, objective: str) -> None:
    """What a worker's fork server imports before all else."""
    preload = f"from hpo_job.objectives import shipped; shipped({objective!r})"
    imported = _imported(["-c", preload], tmp_path)
    assert {"torch", "fastai"} <= imported
    assert sorted(imported & set(OBJECTIVES[objective])) == []


def _run(arguments: Sequence[str], folder: Path) -> set[str]:
    """The top-level packages that the command and its processes imported."""
    return _imported([Path(sys.executable).with_name("hpo-job"), *arguments], folder)


def _imported(arguments: Sequence[str | Path], folder: Path) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *arguments],
        capture_output=True,
        text=True,
        cwd=folder,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return set(IMPORTED.findall(done.stderr))
