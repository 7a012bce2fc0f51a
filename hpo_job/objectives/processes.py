"""How many processes read a trial's batches: limited by CPUs and shared memory."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

from hpo_job.objectives.batches import PREFETCHED

PROCESSES = 8  # per worker at most; more only wait for each other
SHM = Path("/dev/shm")
_MIB = 2**20
log = logging.getLogger(__name__)
_logged: set[str] = set()


def loader_processes(threads: int, device: str, batch_bytes: int, shm: Path = SHM) -> int:
    """The loader processes of a trial whose batches have to be decoded.

    Args:
        threads: CPU threads that the trial may use.
        device: of the trial, as torch calls it. Only a GPU waits while processes read: on a CPU
            they would take threads from training.
        batch_bytes: size of a batch as it comes from the loader.
        shm: where processes leave their batches. It has 64 MiB in a pod unless a memory-backed
            volume is mounted there; a process that finds it full dies of a bus error.

    Returns:
        0 where the trial should read its batches itself; if shared memory is too small, a line in
        the log says so once.
    """
    if device != "cuda":
        return 0
    processes = min(threads, PROCESSES)
    # One more batch is on its way to the device; twice, as the loader of the validation set has
    # as many processes again.
    needed = 2 * (processes * PREFETCHED + 1) * batch_bytes
    free = _free(shm)
    if needed <= free:
        return processes
    line = (
        f"{shm} has {free / _MIB:.0f} MiB free, and {processes} loader processes need "
        f"{needed / _MIB:.0f}: each trial reads its batches itself, which is slower; mount a "
        f"memory-backed volume at {shm} (in a pod an emptyDir with medium: Memory)"
    )
    if line not in _logged:
        _logged.add(line)
        log.warning("%s", line)
    return 0


def _free(folder: Path) -> int:
    """Bytes that can still be written below ``folder``; 0 where there is none."""
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return 0
