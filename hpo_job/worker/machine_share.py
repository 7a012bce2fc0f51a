"""The part of a machine that one worker may use."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hpo_job.machine import ARTIFACTS, CACHE, CACHE_SIZE, cpu_name
from hpo_job.objectives import is_function
from hpo_job.objectives.preload import cuda_untouched
from hpo_job.spec.study_toml import StudySpec
from hpo_job.study.workers import owner
from hpo_job.worker import gpus


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
        gpu_share: the part of its GPU's memory that the worker may use, as others use it as well.
        in_pod: how many workers of its pod may use as much as this one.
    """

    threads: int
    cache: Path = CACHE
    artifacts: str = ARTIFACTS
    cache_size: float = CACHE_SIZE
    loader_workers: int | None = None
    gpu_share: float = 1.0
    in_pod: int = 1


def workers_of_pod(spec: StudySpec, available: Sequence[str]) -> int:
    """How many workers this process starts: several only in a pod, if study.toml says so.

    Args:
        spec: the study.
        available: the GPUs of the pod.
    """
    if spec.cluster.workers_per_gpu is None or owner() is None:
        return 1
    return spec.cluster.workers_per_gpu * max(1, len(available))


def described_worker(spec: StudySpec, machine: Machine) -> str:
    """A worker's first line, or that of all workers of a pod: what they work on, and with what."""
    study, gpu = spec.name, _gpu(spec)
    device = gpu or cpu_name()
    if gpu and machine.gpu_share < 1:
        device += f", {machine.gpu_share:.0%} of its memory"
    threads = f"{machine.threads} thread{'s' if machine.threads > 1 else ''}"
    index = os.environ.get("HPO_JOB_INDEX")
    where = f", index {index} on node {os.environ.get('HPO_JOB_NODE')}" if index else ""
    if machine.in_pod > 1:
        return f"{machine.in_pod} workers of study {study}: {device}, {threads} each{where}"
    return f"worker of study {study}: {device}, {threads}{where}"


def _gpu(spec: StudySpec) -> str | None:
    """What the worker's GPU is called; None where torch has none.

    A function that never imports torch needs no GPU. For one that does, CUDA is not started: it
    could not fork processes any more that use it.
    """
    torch = sys.modules.get("torch")
    if torch is None:
        return None
    if is_function(spec) and not torch.cuda.is_initialized():
        with cuda_untouched():
            return (gpus.model() or "a GPU") if torch.cuda.is_available() else None
    return str(torch.cuda.get_device_name()) if torch.cuda.is_available() else None
