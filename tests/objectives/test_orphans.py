"""No loader process outlives the process that trains, however that ended."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

TRAINER = """
import os, signal, torch
from hpo_job.objectives.batches import Tensors, read_by_processes

source = Tensors(torch.arange(1000))
batches = read_by_processes(source, [[n] for n in range(1000)], 2, pin=False)
print(*next(batches)[0].tolist(), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.processes
@pytest.mark.fastai
@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_loader_processes_end_with_a_killed_trainer(method: str) -> None:
    """They hold its output open: it could not be read to the end if one of them lived on."""
    done = subprocess.run(
        [sys.executable, "-c", TRAINER],
        env={**os.environ, "HPO_JOB_LOADER_START": method},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.stdout, done.returncode) == ("0\n", -9), done.stderr
