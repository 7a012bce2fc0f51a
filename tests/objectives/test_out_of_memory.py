"""A shipped objective that runs out of memory, through the real command.

There may be no GPU here, so a hook of torch's raises what CUDA does, from a batch size on, in the
middle of fastai's training loop.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import optuna
import pytest

from hpo_job.trial import attributes
from tests.quick import command

pytestmark = pytest.mark.processes
# A callback of the study's is imported before its first trial, and may do what it likes
CALLBACKS = """
import torch
from torch.nn.modules.module import register_module_forward_pre_hook

def allocate(module, inputs):
    images = inputs[0] if inputs else None
    if isinstance(images, torch.Tensor) and images.ndim == 4 and len(images) >= 16:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

register_module_forward_pre_hook(allocate)

def track(study, trial):
    pass
"""


@pytest.fixture
def folder(job: Callable[..., Path], images: Callable[..., Path]) -> Path:
    """A job whose first and last two trials have too large batches."""
    path = job(
        folder="images",
        name="images",
        objective="image_classification",
        metric="accuracy",
        direction="maximize",
        budget={"trials": 5, "failures": 2},
        data={"path": str(images({"cats": 24, "dogs": 16})), "valid_pct": 0.3, "seed": 1},
        callbacks=["callbacks.py:track"],
        search_space={
            "model": "squeezenet1_1",
            "pre_trained": False,
            "image_size": 32,
            "batch_size": {"type": "categorical", "choices": [4, 16, 20]},
            "learning_rate": {"type": "float", "low": 1e-4, "high": 1e-2},
        },
        enqueue=[
            {"batch_size": 16, "learning_rate": 1e-3},
            {"batch_size": 4, "learning_rate": 1e-3},
            {"batch_size": 20, "learning_rate": 1e-3},
            {"batch_size": 16, "learning_rate": 2e-3},
        ],
    )
    (path / "callbacks.py").write_text(CALLBACKS)
    return path


def test_it_fails_and_the_next_one_runs_and_what_to_exclude_is_said(
    folder: Path, database: str
) -> None:
    worker = command("worker", folder, "--storage", database)
    _, errors = worker.communicate(timeout=250)
    assert worker.returncode == 1, errors
    trials = optuna.load_study(study_name="images", storage=database).get_trials(deepcopy=False)
    assert [trial.state.name for trial in trials] == ["FAIL", "COMPLETE", "FAIL", "FAIL"]
    first, complete, *_ = trials
    assert first.user_attrs[attributes.REASON] == "out_of_memory"
    assert first.user_attrs[attributes.ERROR] == (
        "OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. (with batch_size = 16, "
        "image_size = 32, model = squeezenet1_1)"
    )
    assert attributes.ERROR not in complete.user_attrs
    assert errors.splitlines()[-1] == (
        "hpo-job: 2 trials in a row failed (#2, #3), all out of memory: they had batch_size = 16, "
        "20; image_size = 32; model = squeezenet1_1; exclude such values in [search_space], the "
        "largest first"
    )
