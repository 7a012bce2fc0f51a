"""Models that a function of the user's own saves are kept, exported and trained again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from hpo_job.storage.database import Storage
from hpo_job.study.joining import load

pytestmark = pytest.mark.studies

Cli = Callable[..., Result]
SAVING = """
import tempfile
from pathlib import Path

def train(trial, context):
    x = context.params["x"]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.txt"
        file.write_text(f"{x!r} {context.seed}")
        context.save_model(file)
    return x ** 2
"""
SPACE = {"x": {"type": "float", "low": -5.0, "high": 5.0}}


def saving(job: Callable[..., Path], code: str = SAVING, keep: int = 2) -> Path:
    return job(
        code=code, search_space=SPACE, budget={"trials": 6}, artifacts={"keep": keep}, seed=7
    )


def test_the_best_are_kept_and_exported(
    job: Callable[..., Path], cli: Cli, database: str, tmp_path: Path
) -> None:
    ran = cli("worker", saving(job), "--storage", database, "--artifacts", tmp_path / "models")
    assert ran.exit_code == 0, ran.output
    assert len(list((tmp_path / "models").iterdir())) == 2
    storage = Storage(database)
    trials = sorted(load("quadratic", storage).get_trials(), key=lambda trial: trial.values[0])
    storage.close()
    place = ["--storage", database, "--artifacts", tmp_path / "models"]
    best = cli("export", "quadratic", "-o", "best", *place)
    assert best.exit_code == 0, best.output
    assert Path("best/model.txt").read_text() == f"{trials[0].params['x']!r} 7"
    third = cli("export", "quadratic", "-o", "third", "--trial", trials[2].number, *place)
    assert third.exit_code == 2
    assert "was not kept; those of the best are" in third.stderr
    assert "load its files with your own code" in cli("predict", "best", "best/model.txt").stderr


def test_a_function_is_trained_again_on_seeds(
    job: Callable[..., Path], cli: Cli, database: str
) -> None:
    folder = saving(job)
    cli("worker", folder, "--storage", database)
    done = cli("train", folder, "-o", "final", "--seeds", "2", "--storage", database)
    assert done.exit_code == 0, done.output
    texts = [Path(f"final/seed-{number}/model.txt").read_text().split() for number in (0, 1)]
    assert texts[0][0] == texts[1][0]
    assert [text[1] for text in texts] == ["7", "8"]
    assert "value " in done.stdout
    assert "training 2 models as trial" in done.stderr
    assert done.stdout.endswith("next\n  load the files in final with your own code\n")
    errors = cli("errors", "quadratic", "--storage", database)
    assert "those of a function of your own are not known" in errors.stderr
    assert "x = " in Path("final/README.md").read_text()


def test_a_function_that_saves_nothing(job: Callable[..., Path], cli: Cli, database: str) -> None:
    folder = saving(job, code="def train(trial, context):\n    return context.params['x']\n")
    ran = cli("worker", folder, "--storage", database, "--artifacts", "models")
    assert ran.exit_code == 0, ran.output
    assert not Path("models").exists()
    refused = cli("train", folder, "-o", "final", "--storage", database)
    assert refused.exit_code == 2
    assert "objective.py:train saves no model: call context.save_model" in refused.stderr
    assert not Path("final").exists()
    none = cli("export", "quadratic", "-o", "best", "--storage", database)
    assert "no model was kept yet" in none.stderr


def test_a_model_that_is_not_there_fails_the_trial(
    job: Callable[..., Path], cli: Cli, database: str
) -> None:
    code = "def train(trial, context):\n    context.save_model('nothing.pt')\n    return 1.0\n"
    ran = cli("worker", saving(job, code=code), "--storage", database)
    assert ran.exit_code != 0
    assert "context.save_model: nothing.pt: No such file or directory" in ran.stderr


def test_a_store_that_cannot_be_written_costs_no_trial(
    job: Callable[..., Path],
    cli: Cli,
    database: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / "file").write_text("in the way")
    ran = cli("worker", saving(job), "--storage", database, "--artifacts", tmp_path / "file")
    assert ran.exit_code == 0, ran.output
    assert "no model is kept: artifacts: " in caplog.text
    assert "6 of 6 trials" in cli("status", "quadratic", "--storage", database).stdout
