"""The part of a machine that one worker may use."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from hpo_job.machine import ARTIFACTS, CACHE, CACHE_SIZE, cpu_name


@dataclass(frozen=True)
class Machine:
    """The part of this machine that a worker may use.

    Attributes:
        threads: CPU threads of a trial.
        cache: folder of what trials and workers share.
        artifacts: where kept models go, unless the study names a place: a folder or a bucket's
            URL.
        cache_size: GiB of the cache that decoded images may take.
        loader_workers: processes that read a trial's batches; None lets the objective choose.
    """

    threads: int
    cache: Path = CACHE
    artifacts: str = ARTIFACTS
    cache_size: float = CACHE_SIZE
    loader_workers: int | None = None


def described_worker(study: str, machine: Machine) -> str:
    """A worker's first line: what it works on, and with what."""
    torch = sys.modules.get("torch")  # a function that never imports torch needs no GPU
    on_gpu = torch is not None and torch.cuda.is_available()
    device = torch.cuda.get_device_name() if torch is not None and on_gpu else cpu_name()
    threads = f"{machine.threads} thread{'s' if machine.threads > 1 else ''}"
    index = os.environ.get("HPO_JOB_INDEX")
    where = f", index {index} on node {os.environ.get('HPO_JOB_NODE')}" if index else ""
    return f"worker of study {study}: {device}, {threads}{where}"
