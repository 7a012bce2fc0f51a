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
CACHE_SIZE = 16.0  # GiB of the cache that decoded images may take
CPUINFO = Path("/proc/cpuinfo")
BF16 = {"avx512_bf16", "amx_bf16", "bf16"}  # AVX-512 BF16, AMX, or Arm's


def cpu_name() -> str:
    """The processor's name, which Python does not know on Linux."""
    name = next(_cpuinfo("model name"), None)  # Arm's kernels have none
    return name or platform.processor() or platform.machine()


def has_bf16() -> bool:
    """Whether it has instructions for bf16; False where that is not known: outside of Linux."""
    lines = (line for key in ("flags", "Features") for line in _cpuinfo(key))
    flags = {flag for line in lines for flag in line.split()}
    return not flags.isdisjoint(BF16)


def _cpuinfo(key: str) -> Iterator[str]:
    """The values of ``key`` that the system has, one for each core."""
    try:
        lines = CPUINFO.read_text().splitlines()
    except OSError:  # not Linux
        return
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip() == key:
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
    """Pause Python's garbage collector, which would visit every object of a long study repeatedly.

    That takes half of the time of reading ten thousand trials.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
