"""How worker processes are started: by a fork, where that can work, or as new interpreters."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

from hpo_job.errors import SpecError

START_VARIABLE = "HPO_JOB_WORKER_START"  # one of START_METHODS
START_METHODS = ("fork", "forkserver", "spawn")  # but for fork, each worker imports for itself
# jemalloc's own thread, of the package that reads Parquet: jemalloc starts it again after a fork
FORKABLE = {"jemalloc_bg_thd"}
# What CUDA and ROCm open. NVIDIA's management library, which only looks, opens /dev/nvidia0 too:
# torch.cuda.is_available() asks it while objectives are imported, and a fork survives that
GPU_DEVICES = ("/dev/nvidia-uvm", "/dev/kfd")


def start_method() -> str:
    """How workers are to be started, where this process can fork: one of `START_METHODS`.

    Raises:
        SpecError: the variable has another value.
    """
    method = os.environ.get(START_VARIABLE) or "fork"
    if method not in START_METHODS:
        raise SpecError(f"{START_VARIABLE}={method}: use one of {', '.join(START_METHODS)}")
    return method


def unforkable() -> str | None:
    """Why a fork of this process could not work, if it is known; None if nothing speaks against it.

    A thread is not in the fork, but the locks that it held are; CUDA refuses to work in one.
    """
    tasks = Path("/proc/self/task")
    if not tasks.is_dir():
        return None
    others = [task for task in tasks.iterdir() if task.name != str(os.getpid())]
    names = {(task / "comm").read_text().strip() for task in others} - FORKABLE
    if names:
        return f"the objective's imports have started threads ({', '.join(sorted(names))})"
    torch = sys.modules.get("torch")
    uses_cuda = torch is not None and torch.cuda.is_initialized()
    if uses_cuda or any(name.startswith(GPU_DEVICES) for name in _open_files()):
        return "the objective's imports use a GPU"
    return None


def _open_files() -> Iterator[str]:
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            yield str(descriptor.readlink())
        except OSError:  # the one that listed them
            continue
