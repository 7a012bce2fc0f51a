"""This machine: its processor, CPUs and folders, and the pauses of Python's garbage collector."""

from __future__ import annotations

import gc
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Where workers keep files, unless an option says otherwise
CACHE = Path(".hpo/cache")
WEIGHTS = Path(".hpo/weights")
ARTIFACTS = ".hpo/artifacts"  # a folder, or a bucket's URL
CPUINFO = Path("/proc/cpuinfo")
BF16 = {"avx512_bf16", "amx_bf16", "bf16"}  # AVX-512 BF16, AMX, or Arm's


def cpu_name() -> str:
    """The processor's name, which Python does not know on Linux."""
    known = next(_told("model name"), None)  # Arm's kernels tell none
    return known or platform.processor() or platform.machine()


def has_bf16() -> bool:
    """Whether it has instructions for bf16; not known, so False, where the system is not Linux."""
    flags = {flag for key in ("flags", "Features") for line in _told(key) for flag in line.split()}
    return not flags.isdisjoint(BF16)


def _told(key: str) -> Iterator[str]:
    """What stands beside ``key``, once for each core."""
    try:
        lines = CPUINFO.read_text().splitlines()
    except OSError:  # not Linux
        return
    for line in lines:
        found, _, value = line.partition(":")
        if found.strip() == key:
            yield value.strip()


def cpus() -> int:
    """The CPUs this process may use, at least 1.

    The least of the machine's, of those it is bound to, and of its cgroup's CPU limit rounded up
    (versions 1 and 2), as a Kubernetes pod has one; torch and ``os.cpu_count`` see the machine's.
    """
    import joblib  # slow to import, and `--help` asks for the folders only

    return int(joblib.cpu_count())


@contextmanager
def collector_paused() -> Iterator[None]:
    """Without the collector: it would go through all that a long study makes, again and again.

    Half of the time of reading ten thousand trials is that.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
