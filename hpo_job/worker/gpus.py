"""The GPUs of this machine, shared out among its workers; torch is not imported to ask for them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from hpo_job.errors import SpecError, unknown

VISIBLE = "CUDA_VISIBLE_DEVICES"  # which GPUs CUDA shows a process: numbers, UUIDs or MIG names
DRIVER = Path("/proc/driver/nvidia/gpus")  # a folder for each GPU that the driver knows
TIMEOUT = 20  # seconds that nvidia-smi may take: the driver starts if nobody has used it before


def available() -> list[str]:
    """The GPUs that this process may use, by the names that CUDA_VISIBLE_DEVICES takes.

    Those that the variable lists, as they are; without it, those of nvidia-smi by number, or of a
    GPU that is cut into MIG instances, the instances' names.
    """
    visible = os.environ.get(VISIBLE)
    if visible is not None:
        names = [name.strip() for name in visible.split(",") if name.strip()]
        return [] if names[:1] in ([], ["-1"], ["NoDevFiles"]) else names
    return _of_driver()


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


def _of_driver() -> list[str]:
    program = shutil.which("nvidia-smi")
    if program is None:
        return [str(number) for number, _ in enumerate(DRIVER.glob("*"))]
    try:
        answer = subprocess.run(
            [program, "-L"], capture_output=True, text=True, timeout=TIMEOUT, check=True
        )
    except (OSError, subprocess.SubprocessError):  # no driver behind it
        return []
    names: list[str] = []
    whole: str | None = None  # the latest GPU, until an instance of it is listed
    for line in answer.stdout.splitlines():
        if gpu := re.match(r"GPU (\d+):", line):
            whole = gpu[1]
            names.append(whole)
        elif instance := re.search(r"\(UUID: (MIG-[^)]+)\)", line):
            if names and names[-1] == whole:
                names.pop()
            names.append(instance[1])
    return names
