"""Callbacks are called with each trial that has ended, and cost none."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from hpo_job.worker.signals import Stop
from tests import ROOT
from tests.quick import Quick, run_workers, write_job

SOURCE = """
import json, os
from pathlib import Path
import optuna

def train(trial, context):
    if trial.number == 1:
        raise ValueError("broken")
    if trial.number == 2:
        raise optuna.TrialPruned
    return context.params["x"]

def track(study, trial):
    with open(Path(__file__).parent / "ended.txt", "a") as file:
        print(json.dumps([study.study_name, trial.number, trial.state.name]), file=file)

def raises(study, trial):
    raise OSError("the tracker\\nis away")

nothing = 3
def few(study): ...
"""


def job(folder: Path, callbacks: str, more: str = "") -> Quick:
    return Quick(folder, SOURCE, budget="trials = 3", more=f"callbacks = [{callbacks}]\n{more}")


@pytest.mark.processes
def test_each_trial_that_ended_is_passed_on_once(tmp_path: Path) -> None:
    quick = job(tmp_path, '"objective.py:track"')
    assert run_workers(quick.worker_job(), 2, Stop(), lambda: None) == 0
    lines = (quick.job / "ended.txt").read_text().splitlines()
    assert sorted(map(json.loads, lines)) == [
        ["quick", trial.number, trial.state.name] for trial in quick.study.trials
    ]
    assert {json.loads(line)[2] for line in lines} == {"COMPLETE", "FAIL", "PRUNED"}


def test_one_that_raises_is_a_warning_and_the_others_are_called(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    quick = job(tmp_path, '"objective.py:raises", "objective.py:track"')
    quick.work()
    warned = [each for each in caplog.messages if each.startswith("callback")]
    ended = len(quick.study.trials)
    assert warned == ["callback objective.py:raises: OSError: the tracker is away"] * ended
    assert len((quick.job / "ended.txt").read_text().splitlines()) == ended
    job(tmp_path, '"objective.py:track"')  # the study goes on with others


@pytest.mark.parametrize(
    ("callback", "message"),
    [
        ("away.py:track", "away.py: no such file"),
        ("objective.py:unknown", "objective.py has nothing called unknown"),
        ("objective.py:nothing", "objective.py:nothing cannot be called with (study, trial)"),
        ("objective.py:few", "objective.py:few cannot be called with (study, trial)"),
        ("objective.py", "callbacks.0: "),
    ],
)
def test_check_refuses_what_cannot_be_called(
    tmp_path: Path, cli: Callable[..., Result], callback: str, message: str
) -> None:
    folder = write_job(tmp_path, SOURCE, more=f'callbacks = ["{callback}"]')
    refused = cli("check", folder)
    assert refused.exit_code == 2
    assert message in refused.stderr
    assert refused.stderr.count("\n") == 1
    assert "callbacks.0" in refused.stderr


EXAMPLES = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "callbacks.md").read_text(), re.S)


@pytest.mark.parametrize(
    ("position", "package", "folder"),
    [
        (0, "mlflow", "mlruns"),
        pytest.param(1, "tensorboard", "runs", marks=pytest.mark.fastai),  # imports torch
        (2, "wandb", "wandb"),
    ],
)
def test_the_examples_of_the_documentation_run(
    tmp_path: Path, position: int, package: str, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each with the real package, where it is installed, into a folder of the current one."""
    pytest.importorskip(package)
    source = EXAMPLES[position].replace("http://mlflow.example.org:5000", "file:mlruns")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    tracker = write_job(tmp_path, SOURCE) / f"{package}_tracker.py"
    tracker.write_text(source)
    more = f'callbacks = ["{tracker.name}:track"]'
    quick = Quick(tmp_path, SOURCE, budget="trials = 3", more=more)
    quick.work()
    assert any(path.is_file() for path in (tmp_path / folder).rglob("*"))


def test_the_documentation_has_an_example_for_each() -> None:
    assert len(EXAMPLES) == 3
