"""How many processes read a trial's batches: limited by CPUs and shared memory."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

PROCESSES = 8  # per worker at most; more only wait for each other
PREFETCHED = 2  # batches that each process has ready, as fastai's loaders ask of torch
SHM = Path("/dev/shm")
_MIB = 2**20
log = logging.getLogger(__name__)
_said: set[str] = set()


def loader_workers(threads: int, device: str, batch_bytes: int, shm: Path = SHM) -> int:
    """The ``num_workers`` of a trial's loaders; 0 lets the trial read its batches itself.

    threads: CPU threads the trial may use.
    device: the trial's, as torch calls it. Only a GPU waits for data while processes read it: on
        a CPU they would take its threads from training.
    batch_bytes: size of a batch as it comes from the loader, before it is put on the device.
    shm: where processes hand batches over. A pod's is 64 MiB unless a memory-backed volume is
        mounted there, and a process that finds it full dies of a bus error.

    Says once, in a line of the log, where the shared memory is what is lacking.
    """
    if device != "cuda":
        return 0
    processes = min(threads, PROCESSES)
    # One more batch is on its way to the device; as much again for the trial's other loader, whose
    # processes are still there when the next one's start.
    needed = 2 * (processes * PREFETCHED + 1) * batch_bytes
    free = _free(shm)
    if needed <= free:
        return processes
    line = (
        f"{shm} has {free / _MIB:.0f} MiB free, and {processes} loader processes need "
        f"{needed / _MIB:.0f}: each trial reads its batches itself, which is slower; a "
        f"memory-backed volume at {shm} (a pod's emptyDir with medium: Memory) would do"
    )
    if line not in _said:
        _said.add(line)
        log.warning("%s", line)
    return 0


def _free(folder: Path) -> int:
    """Bytes that can still be written below ``folder``; 0 where there is none."""
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return 0
