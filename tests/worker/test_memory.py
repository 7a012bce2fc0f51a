"""Trials that run out of memory: recorded, freed, and told which parameters to exclude."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpo_job.trial import attributes
from hpo_job.worker.memory import is_out_of_memory
from tests.quick import Quick, command

# A real model whose forward runs out of memory from a batch size on, as a hook of torch's raises it
TORCH = """
import weakref
import torch

models = []

def train(trial, context):
    # nothing of an earlier trial is alive: no traceback, frame or callback holds its model
    assert not [model for model in models if model() is not None]
    model = torch.nn.Linear(8, 1)
    models.append(weakref.ref(model))
    size = context.params["batch_size"]

    def allocate(module, inputs, output):
        if len(inputs[0]) > 64:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    model.register_forward_hook(allocate)
    model.cycle = [model]
    return float(model(torch.zeros(size, 8)).detach().sum())
"""
SPACE = """[search_space]
batch_size = { type = "categorical", choices = [64, 128, 256, 1024] }
x = { type = "float", low = 0.0, high = 1.0 }
"""


def entries(*sizes: int) -> str:
    return "".join(f"\n[[enqueue]]\nbatch_size = {size}" for size in sizes)


def more_entries(*sizes: int) -> str:
    lines = (f"batch_size = {size}\nx = 0.{place}" for place, size in enumerate(sizes))
    return "".join(f"\n[[enqueue]]\n{line}" for line in lines)


def run_worker(quick: Quick) -> tuple[int, str]:
    """The exit code of the real command, and its stderr; pytest's log records hold tracebacks."""
    worker = command("worker", quick.job, "--storage", quick.url)
    _, errors = worker.communicate(timeout=120)
    return worker.returncode, errors


@pytest.mark.processes
def test_the_next_trial_runs_in_the_memory_of_one_that_had_too_little(tmp_path: Path) -> None:
    quick = Quick(tmp_path, TORCH, budget="trials = 2", space=SPACE + more_entries(128, 64, 64))
    assert run_worker(quick)[0] == 0
    first, *others = quick.study.trials
    assert [trial.state.name for trial in quick.study.trials] == ["FAIL", "COMPLETE", "COMPLETE"]
    assert first.user_attrs[attributes.REASON] == "out_of_memory"
    assert first.user_attrs[attributes.ERROR].startswith("OutOfMemoryError: CUDA out of memory")
    assert "(with batch_size = 128, x = " in first.user_attrs[attributes.ERROR]
    assert all(attributes.ERROR not in trial.user_attrs for trial in others)


@pytest.mark.processes
def test_failures_in_a_row_say_what_to_exclude(tmp_path: Path) -> None:
    budget = "trials = 9\nfailures = 3"
    space = SPACE.replace("x = {", "# x = {") + entries(1024, 256, 128)
    code, errors = run_worker(Quick(tmp_path, TORCH, budget=budget, space=space))
    assert code == 1
    assert errors.splitlines()[-1] == (
        "hpo-job: 3 trials in a row failed (#0, #1, #2), all out of memory: they had batch_size = "
        "128, 256, 1024; exclude such values in [search_space], the largest first"
    )


# An own function that trains with fastai, and whose model fails in the middle of a batch; the next
# trial looks for it before it has made anything
FASTAI = """
import weakref
import torch
from fastai.data.core import DataLoaders
from fastai.learner import Learner
from torch.utils.data import TensorDataset

models, alive = [], []

def train(trial, context):
    alive[:] = [model for model in models if model() is not None]
    trial.set_user_attr("alive", len(alive))
    x = torch.ones(16, 8)
    data = DataLoaders.from_dsets(TensorDataset(x, x), TensorDataset(x, x), bs=8, device="cpu")
    model = torch.nn.Linear(8, 8)
    models.append(weakref.ref(model))

    def fail(module, inputs, output):
        raise RuntimeError("this batch cannot be trained")

    if trial.number < 2:
        model.register_forward_hook(fail)
    learn = Learner(data, model, loss_func=torch.nn.MSELoss())
    learn.logger = lambda values: None
    learn.fit(1)
    return 0.0
"""


@pytest.mark.processes
@pytest.mark.fastai
def test_nothing_of_a_failed_trial_is_alive_in_the_next(tmp_path: Path) -> None:
    """No log record, traceback or callback holds its model, whatever ended it."""
    quick = Quick(tmp_path, FASTAI, budget="trials = 2\nfailures = 3")
    assert run_worker(quick)[0] == 0
    states = [trial.state.name for trial in quick.study.trials]
    assert states == ["FAIL", "FAIL", "COMPLETE", "COMPLETE"]
    assert [trial.user_attrs["alive"] for trial in quick.study.trials] == [0, 0, 0, 0]


@pytest.mark.parametrize(
    "message",
    [
        "CUDA error: out of memory",
        "[enforce fail at alloc_cpu.cpp:113] DefaultCPUAllocator: can't allocate memory: you tried",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "MPS backend out of memory (MPS allocated: 9.06 GB)",
    ],
)
def test_other_messages_of_torch_mean_the_same(message: str) -> None:
    assert is_out_of_memory(RuntimeError(message))
    assert is_out_of_memory(MemoryError())
    assert not is_out_of_memory(RuntimeError("shapes cannot be multiplied"))
    assert not is_out_of_memory(ValueError(message))
