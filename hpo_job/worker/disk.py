"""The disk that a worker's pod may use: measured now and then, so that a trial that fills it ends.

A node evicts a pod that uses more than its limit, one second after a SIGTERM, and its Job starts
the next one, which does the same. So a worker looks itself: near a limit its trial FAILs with a
line that names the folder and the limit, and the worker ends with exit code 1, which its Job
counts as a failure.

Not guaranteed: what fills a disk faster than it is measured is evicted by the node. The worker then
ends with exit code 1 as well, if it has a second to do so.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hpo_job.errors import DiskFullError, binary_size
from hpo_job.machine import used_bytes
from hpo_job.worker.heartbeat import heartbeat

FOLDERS = "HPO_JOB_DISK"  # folders of the pod with their limits: "/cache=16Gi /tmp=2Gi"
LIMIT = "HPO_JOB_DISK_LIMIT"  # bytes that the pod may use of its node's disk
REQUEST = "HPO_JOB_DISK_REQUEST"  # bytes that it may use though the node has little left
NEAR = 0.95  # of a limit, from which on no trial goes on
LOW = 0.1  # of a node's disk: with less than that left, nodes evict pods
EVERY = 10.0  # seconds between two measurements
SHARE = 50  # measuring takes at most one part in so many of a processor's time
UNITS = {
    "Ki": 2**10,
    "Mi": 2**20,
    "Gi": 2**30,
    "Ti": 2**40,
    "k": 10**3,
    "M": 10**6,
    "G": 10**9,
    "T": 10**12,
}
HOW_TO_FIX = "raise it in k8s/settings, or use less: see docs/kubernetes.md"


@dataclass
class Disk:
    """The folders of a pod, and what they may hold.

    Attributes:
        limits: bytes that each folder may hold.
        total: bytes that all of them may hold together; None for any number.
        request: bytes that they may hold together where the node's disk is nearly full.
    """

    limits: Mapping[Path, int]
    total: int | None = None
    request: int | None = None

    @classmethod
    def from_environment(cls) -> Disk:
        """As the variables of a pod say; without folders, and so without limits, elsewhere."""
        pairs = (each.partition("=") for each in os.environ.get(FOLDERS, "").split())
        limits = {Path(folder): parse_bytes(limit) for folder, _, limit in pairs}
        total, request = (os.environ.get(name) for name in (LIMIT, REQUEST))
        return cls(limits, int(total) if total else None, int(request) if request else None)

    @contextmanager
    def watched(self, on_full: Callable[[str], None]) -> Iterator[None]:
        """Measure now and then while in here.

        Args:
            on_full: called from another thread, each time that a limit is near.
        """
        if not self.limits:
            yield
            return
        due = 0.0

        def look() -> None:
            nonlocal due
            begin = time.monotonic()
            if begin < due:
                return
            if problem := self.problem():
                on_full(problem)
            due = time.monotonic() + (time.monotonic() - begin) * SHARE

        with heartbeat("disk", EVERY, look):
            yield

    def problem(self) -> str | None:
        """Which limit is near, in one line; None if none is."""
        sizes = {folder: used_bytes(folder) for folder in self.limits}
        for folder, limit in self.limits.items():
            if sizes[folder] >= NEAR * limit:
                held = _of(sizes[folder], limit)
                return f"the disk of this pod is full: {folder} holds {held}; {HOW_TO_FIX}"
        used = sum(sizes.values())
        folders = " and ".join(map(str, self.limits))
        if self.total is not None and used >= NEAR * self.total:
            held = _of(used, self.total)
            return f"the disk of this pod is full: {folders} hold {held} in all; {HOW_TO_FIX}"
        return None

    def cause_of_eviction(self) -> str | None:
        """Why the node may be evicting this pod, in one line; None if its disk is not why."""
        if problem := self.problem():
            return problem
        used = sum(map(used_bytes, self.limits))
        if self.request is None or used <= self.request or not self._is_node_full():
            return None
        folders, held = " and ".join(map(str, self.limits)), binary_size(used)
        return (
            f"the node's disk is full, and {folders} hold {held}, more than the "
            f"{binary_size(self.request)} of ephemeral-storage that the pod requests; {HOW_TO_FIX}"
        )

    def _is_node_full(self) -> bool:
        usage = shutil.disk_usage(next(iter(self.limits)))
        return usage.free < LOW * usage.total


def end_if_full(problem: str | None) -> None:
    """Raise DiskFullError for what `Disk.problem` found, if anything."""
    if problem:
        raise DiskFullError(problem)


def parse_bytes(quantity: str) -> int:
    """The bytes of a Kubernetes quantity such as ``16Gi``, ``500M`` or ``1024``."""
    for suffix, unit in UNITS.items():
        if quantity.endswith(suffix):
            return int(float(quantity.removesuffix(suffix)) * unit)
    return int(float(quantity))


def _of(used: int, limit: int) -> str:
    return f"{binary_size(used)} of {binary_size(limit)}"
