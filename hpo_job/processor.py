"""What this machine's processor says of itself, as Linux tells it."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
BF16 = {"avx512_bf16", "amx_bf16", "bf16"}  # AVX-512 BF16, AMX, or Arm's


def name() -> str:
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
