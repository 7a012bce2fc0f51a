"""The real commands train and predict with loader processes, however processes are started."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest

from tests import ROOT
from tests.quick import command

# `hpo-job worker` for each job, then export and predict, where another start method is the default
WORKERS = """
import multiprocessing, sys
if __name__ == "__main__":
    multiprocessing.set_start_method(sys.argv[1])
    from hpo_job.cli import main
    method, image, *jobs = sys.argv[1:]
    commands = [["worker", job] for job in jobs]
    for command in [*commands, ["export", "images", "-o", "best"], ["predict", "best", image]]:
        try:
            main(command)
        except SystemExit as ended:
            if ended.code:
                raise
"""
KINDS = ("images", "rows", "texts")


@pytest.fixture
def jobs(job: Callable[..., Path], images: Callable[..., Path]) -> list[Path]:
    """A job of each shipped objective, of one small trial, that uses all that loaders do."""

    def make(kind: str, data: dict[str, Any], **space: object) -> Path:
        return job(
            folder=kind,
            name=kind,
            metric="f1_macro",
            direction="maximize",
            budget={"trials": 1},
            data={"valid_pct": 0.3, "seed": 1, **data},
            **space,
        )

    penguins = ROOT / "jobs" / "penguins-species" / "penguins.csv"
    speeches = ROOT / "jobs" / "state-of-the-union-early" / "passages.csv.gz"
    return [
        make(
            "images",
            {"path": str(images({"cats": 12, "dogs": 9}))},
            objective="image_classification",
            search_space={
                "model": "squeezenet1_1",
                "pre_trained": False,
                "image_size": 32,
                "batch_size": 4,
                "apply_tfms": True,
                "balance": "sampler",
            },
        ),
        make(
            "rows",
            {"path": str(penguins), "label": "species"},
            objective="tabular_classification",
            search_space={"epochs": 1},
        ),
        make(
            "texts",
            {"path": str(speeches), "label": "party", "text": "text", "sample": 48},
            objective="text_classification",
            search_space={
                "pre_trained": False,
                "emb_sz": 8,
                "n_hid": 8,
                "n_layers": 1,
                "max_tokens": 40,
                "bptt": 16,
                "batch_size": 8,
                "classifier_epochs": 1,
            },
        ),
    ]


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_training_and_predicting_with_loader_processes(
    jobs: list[Path], tmp_path: Path, method: str
) -> None:
    """All three objectives; with spawn, which takes seconds for each process, the images."""
    chosen = jobs[:1] if method == "spawn" else jobs
    url = f"sqlite:///{tmp_path}/studies.db"
    settings = {
        "HPO_JOB_STORAGE": url,
        "HPO_JOB_LOADER_WORKERS": "2",
        "HPO_JOB_LOADER_START": method,
        "HPO_JOB_THREADS": "1",
    }
    image = next((tmp_path / "images" / "dogs").iterdir())
    done = subprocess.run(
        [sys.executable, "-c", WORKERS, method, str(image), *map(str, chosen)],
        env={**os.environ, **settings},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=250,
    )
    assert done.returncode == 0, done.stderr
    assert image.name in done.stdout
    for name in KINDS[: len(chosen)]:
        (trial,) = optuna.load_study(study_name=name, storage=url).get_trials(deepcopy=False)
        assert trial.state.name == "COMPLETE"


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_workers_of_run_train_with_loader_processes(
    jobs: list[Path], tmp_path: Path, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HPO_JOB_WORKER_START", method)
    url = f"sqlite:///{tmp_path}/run.db"
    run = command("run", jobs[0], "--loader-workers", "2", "--cache-size", "0", "--storage", url)
    output, errors = run.communicate(timeout=250)
    assert run.returncode == 0, output + errors
    (trial,) = optuna.load_study(study_name="images", storage=url).get_trials(deepcopy=False)
    assert trial.state.name == "COMPLETE"
