"""The GPUs of this machine, shared out among its workers; torch is not imported to ask for them."""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hpo_job.errors import SpecError, unknown
from hpo_job.machine import VISIBLE, visible_gpus

PROGRAM = "nvidia-smi"  # which comes with the driver
DRIVER = Path("/proc/driver/nvidia/gpus")  # a folder for each GPU that the driver knows
TIMEOUT = 20  # seconds that nvidia-smi may take: the driver starts if nobody has used it before


def available() -> list[str]:
    """The GPUs that this process may use, by the names that CUDA_VISIBLE_DEVICES takes.

    Those that the variable lists, as they are; without it, those of nvidia-smi by number, or of a
    GPU that is cut into MIG instances, the instances' names.
    """
    visible = visible_gpus()
    return _of_driver() if visible is None else visible


def choose(names: str | None) -> list[str]:
    """The GPUs that ``--gpus`` names, separated by commas; all that are available if None.

    Raises:
        SpecError: a name is given twice, or is not available.
    """
    known = available()
    if names is None:
        return known
    chosen = [name.strip() for name in names.split(",") if name.strip()]
    if not chosen or len(set(chosen)) < len(chosen):
        raise SpecError(f"--gpus {names}: name each GPU once, as 0,2")
    for name in chosen:
        if not known:
            raise SpecError(f"--gpus {names}: no GPU here that nvidia-smi or {VISIBLE} knows")
        if name not in known:
            raise SpecError(f"--gpus: {unknown('GPU', name, known)}")
    return chosen


def assign(gpu: str) -> None:
    """Show this process one GPU only; has no effect once torch has looked for GPUs."""
    os.environ[VISIBLE] = gpu
    os.environ["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"  # numbers are those of nvidia-smi


def share(gpus: Sequence[str], workers: int) -> list[str | None]:
    """The GPU of each worker, in turn; None for all where there is no GPU."""
    return [gpus[worker % len(gpus)] if gpus else None for worker in range(workers)]


def model() -> str | None:
    """What nvidia-smi calls the first GPU that is available; None where it names none."""
    names = available()[:1]
    for gpu in _listed() if names else ():
        if names[0] == gpu.name or gpu.uuid.startswith(names[0]):
            return gpu.model
    return None


@dataclass(frozen=True)
class _Gpu:
    """A GPU, or a MIG instance of one, as nvidia-smi lists it.

    Attributes:
        name: as CUDA_VISIBLE_DEVICES has it: its number, or an instance's UUID.
        uuid: by which the variable may name it, too, or by its first letters.
        model: what the maker calls it.
        whole: of an instance, the number of its GPU.
    """

    name: str
    uuid: str
    model: str
    whole: str | None = None


def _of_driver() -> list[str]:
    """The names of GPUs, and of the instances in place of one that is cut into them."""
    if shutil.which(PROGRAM) is None:
        return [str(number) for number, _ in enumerate(DRIVER.glob("*"))]
    cut = {gpu.whole for gpu in _listed()}
    return [gpu.name for gpu in _listed() if gpu.name not in cut]


def _listed() -> tuple[_Gpu, ...]:
    try:
        return _parsed()
    except (OSError, subprocess.SubprocessError):  # there is no nvidia-smi, or no driver behind it
        return ()


@functools.cache  # which workers inherit: the program may take seconds
def _parsed() -> tuple[_Gpu, ...]:
    """What nvidia-smi lists; raises what running it does."""
    answer = subprocess.run(
        [PROGRAM, "-L"], capture_output=True, text=True, timeout=TIMEOUT, check=True
    )
    found: list[_Gpu] = []
    whole: _Gpu | None = None  # the latest GPU
    for line in answer.stdout.splitlines():
        if match := re.match(r"GPU (\d+): (.*) \(UUID: (.+)\)", line):
            whole = _Gpu(match[1], match[3], match[2])
            found.append(whole)
        elif whole and (match := re.search(r"(MIG \S+).*\(UUID: (MIG-[^)]+)\)", line)):
            found.append(_Gpu(match[2], match[2], f"{whole.model} {match[1]}", whole.name))
    return tuple(found)
