"""What has to work on CUDA, here on simulated GPUs: the real commands, and all of tests/gpu."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest

from hpo_job.trial import attributes
from tests import ROOT
from tests.quick import command, write_job
from tests.simulated_gpu import build, environment

pytestmark = [pytest.mark.processes, pytest.mark.needs("compiler"), pytest.mark.slow]
Simulate = Callable[[int], dict[str, str]]


@pytest.fixture(scope="module")
def simulate(tmp_path_factory: pytest.TempPathFactory) -> Simulate:
    """The variables of a machine with as many GPUs as it is called with."""
    module = build(tmp_path_factory.mktemp("module"))
    return lambda gpus: {**os.environ, **environment(module, gpus)}


def python(code: str, env: dict[str, str]) -> str:
    """What a process prints that runs ``code`` after it has imported torch."""
    arguments = ["-W", "ignore", "-c", f"import os, torch\n{code}"]
    done = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, env=env, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


# ---- the simulation is as strict as a GPU --------------------------------------------------------

REFUSED = """
try:
    {code}
except RuntimeError as error:
    print(type(error).__name__, error)
"""


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("torch.ones(2, device='cuda') + torch.ones(2)", "to be on the same device"),
        ("torch.ones(2, device='cuda:0') @ torch.ones(2, device='cuda:1')", "on the same device"),
        ("torch.ones(2)[torch.zeros(1, device='cuda', dtype=int)]", "to be on the same device"),
        ("torch.ones(2, device='cuda')[torch.arange(2)] = torch.ones(2)", "on the same device"),
        ("torch.ones(2, device='cuda:5')", "invalid device ordinal"),
        ("torch.nn.Linear(2, 2)(torch.ones(2, device='cuda'))", "to be on the same device"),
        ("torch.ones(2**31, device='cuda', dtype=torch.float64)", "OutOfMemoryError"),
    ],
    ids=["devices", "gpus", "positions", "values", "ordinal", "model", "memory"],
)
def test_it_refuses_what_a_gpu_does(simulate: Simulate, code: str, error: str) -> None:
    assert error in python(REFUSED.format(code=code), simulate(2))


def test_it_does_not_survive_a_fork(simulate: Simulate) -> None:
    code = "torch.ones(1, device='cuda')\nif os.fork(): os.wait(); os._exit(0)\n"
    code += REFUSED.format(code="torch.cuda.synchronize()")
    assert "Cannot re-initialize CUDA" in python(code, simulate(1))


def test_it_computes_what_a_cpu_does(simulate: Simulate) -> None:
    code = """
torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.ReLU())
lstm, images, words = torch.nn.LSTM(5, 6), torch.rand(2, 3, 8, 8), torch.rand(2, 3, 5)
gradients = []
for device in ("cpu", "cuda"):
    for module, batch in ((model, images), (lstm, words)):
        module.zero_grad()
        output = module.to(device)(batch.to(device))
        (output if module is model else output[0]).square().sum().backward()
        values = [*(p.grad for p in module.parameters()), *module.buffers()]
        gradients.append(torch.cat([value.flatten().float().cpu() for value in values]))
        model[1].reset_running_stats()
print(all(torch.allclose(gradients[i], gradients[i + 2], atol=1e-5) for i in (0, 1)))
"""
    assert python(code, simulate(1)) == "True"


# ---- the product ---------------------------------------------------------------------------------


@pytest.mark.timeout(600)
def test_all_that_has_to_work_on_a_gpu(simulate: Simulate) -> None:
    """tests/gpu, but for code that is compiled for a real GPU, and what takes a CPU longest."""
    left_out = "not compiled and not (running_out and not fp16)"
    arguments = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/gpu", "-k", left_out]
    done = subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=simulate(1),
        timeout=540,
    )
    assert done.returncode == 0, done.stdout[-8000:]
    assert "passed" in done.stdout and "skipped" not in done.stdout


FORKS = """
import multiprocessing
import torch

def add(answer):
    answer.put(float(torch.ones(2, device="cuda").sum()))

def train(trial, context):
    fork = multiprocessing.get_context("fork")
    answer = fork.SimpleQueue()
    process = fork.Process(target=add, args=(answer,))
    process.start()
    process.join()
    if process.exitcode:
        raise RuntimeError("CUDA was started before the fork")
    return answer.get()
"""


@pytest.mark.parametrize(
    ("arguments", "line"),
    [(["worker"], "worker of study quick: Simulated GPU, "), (["run", "--workers", "1"], "")],
)
def test_cuda_is_left_to_a_function_of_the_users_own(
    simulate: Simulate, tmp_path: Path, arguments: list[str], line: str
) -> None:
    """It may fork processes that use it, in each trial; the log names the GPU nevertheless."""
    job, url = write_job(tmp_path, FORKS, budget="trials = 2"), f"sqlite:///{tmp_path}/studies.db"
    process = command(*arguments, job, "--storage", url, env=simulate(1))
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, output + errors
    assert line in errors
    trials = optuna.load_study(study_name="quick", storage=url).get_trials(deepcopy=False)
    assert [trial.values for trial in trials] == [[2.0], [2.0]]


USES = """
import torch

def train(trial, context):
    return float(torch.ones(2, device="cuda").sum())
"""


@pytest.mark.parametrize(("visible", "gpu"), [("2,0", None), ("2", "2")])
def test_a_function_may_use_all_gpus_that_it_sees(
    simulate: Simulate, tmp_path: Path, visible: str, gpu: str | None
) -> None:
    job, url = write_job(tmp_path, USES, budget="trials = 1"), f"sqlite:///{tmp_path}/studies.db"
    env = {**simulate(3), "CUDA_VISIBLE_DEVICES": visible}
    process = command("worker", job, "--storage", url, env=env)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, output + errors
    (trial,) = optuna.load_study(study_name="quick", storage=url).get_trials(deepcopy=False)
    assert trial.user_attrs[attributes.DEVICE_NAME] == "Simulated GPU"
    assert trial.user_attrs.get(attributes.GPU) == gpu


@pytest.mark.parametrize("visible", [None, "2,0"])
def test_a_worker_notes_which_of_several_gpus_it_uses(
    simulate: Simulate, folder: Path, database: str, visible: str | None
) -> None:
    shown = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    process = command("worker", folder, "--storage", database, env={**simulate(3), **shown})
    output, errors = process.communicate(timeout=200)
    assert process.returncode == 0, output + errors
    trials = optuna.load_study(study_name="images", storage=database).get_trials(deepcopy=False)
    first = "0" if visible is None else "2"
    assert {trial.user_attrs[attributes.GPU] for trial in trials} == {first}


@pytest.fixture
def folder(job: Callable[..., Path], images: Callable[..., Path]) -> Path:
    """A job of small images, with a trial for each of four workers."""
    return job(
        folder="images",
        name="images",
        objective="image_classification",
        metric="accuracy",
        direction="maximize",
        budget={"trials": 4},
        data={"path": str(images({"cats": 24, "dogs": 16})), "valid_pct": 0.3, "seed": 1},
        search_space={
            "model": "squeezenet1_1",
            "pre_trained": False,
            "image_size": 32,
            "batch_size": 8,
            "learning_rate": {"type": "float", "low": 1e-4, "high": 1e-2},
        },
    )


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_workers_share_the_gpus_that_are_named(
    simulate: Simulate, folder: Path, database: str, method: str
) -> None:
    """However they and their loader processes start: two workers on each of two of four GPUs."""
    env = {
        **simulate(4),
        "HPO_JOB_STORAGE": database,
        "HPO_JOB_CACHE": str(folder.parent / "cache"),
        "HPO_JOB_CACHE_SIZE": "0",
        "HPO_JOB_ARTIFACTS": str(folder.parent / "artifacts"),
        "HPO_JOB_WORKER_START": method,
        "HPO_JOB_LOADER_START": method,
        "HPO_JOB_LOADER_WORKERS": "2",
    }
    process = command("run", folder, "--gpus", "0,2", "--workers-per-gpu", "2", env=env)
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, output + errors
    assert "imports for itself" not in errors  # nothing has started CUDA before the fork
    trials = optuna.load_study(study_name="images", storage=database).get_trials(deepcopy=False)
    assert {trial.state.name for trial in trials} == {"COMPLETE"}
    gpus: dict[str, set[str]] = {}  # of each worker
    for trial in trials:
        worker = str(trial.user_attrs[attributes.WORKER])
        gpus.setdefault(worker, set()).add(trial.user_attrs[attributes.GPU])
    assert all(len(names) == 1 and names <= {"0", "2"} for names in gpus.values())
    assert all(trial.user_attrs[attributes.DEVICE_NAME] == "Simulated GPU" for trial in trials)
    assert all(trial.user_attrs[attributes.PEAK_GPU_MEMORY_MIB] > 1 for trial in trials)
