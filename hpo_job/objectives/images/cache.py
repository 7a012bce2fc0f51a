"""Images decoded once for all trials and workers of a machine, in memory-mapped arrays."""

from __future__ import annotations

import hashlib
import logging
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import PIL
from numpy.typing import NDArray

from hpo_job.data.image_file import VERSION
from hpo_job.data.image_looks import LINE_INTERVAL
from hpo_job.data.images import LabelledFiles
from hpo_job.data.once import make_once
from hpo_job.errors import plural, problem
from hpo_job.machine import cpus
from hpo_job.objectives.images.pixels import METHOD, decode

FORMAT = 1  # of the arrays; increased whenever the meaning of their bytes changes
GIB = 2**30
AT_ONCE = 16  # images that a thread decodes before it looks for more
log = logging.getLogger(__name__)
warned: set[str] = set()


def decoded(data: LabelledFiles, size: int, cache: Path, limit: float) -> NDArray[np.uint8] | None:
    """All images of ``data`` at one size, decoded now or by an earlier trial or worker.

    Workers that need the same array wait for the one that decodes, which uses all CPUs. If it is
    killed, another takes over. The array is named by a digest of the files (names, sizes, times of
    change) and of how they are decoded, so it is never out of date. The arrays that have not been
    used for the longest time are removed to stay within the limit; a process that still uses one
    keeps it until it ends.

    Args:
        data: the images.
        size: the side of the square, in pixels.
        cache: the folder that the workers of this machine share.
        limit: GiB that all arrays in it may take; 0 for no arrays.

    Returns:
        Shape (images, size, size, 3), RGB, read-only; None where it does not fit, or cannot be
        written, which is logged once.
    """
    shape = (len(data), size, size, 3)
    needed = int(np.prod(shape))
    if needed > limit * GIB:
        if limit:
            _warn_once(
                f"{plural(len(data), 'image')} at {size} px take {needed / GIB:.1f} GiB decoded, "
                f"and --cache-size is {limit:g}: each trial decodes them again, which is slower"
            )
        return None
    file = cache / "images" / f"{_key(data, size)}.npy"

    def look() -> NDArray[np.uint8] | None:
        try:
            array = np.load(file, mmap_mode="r")
        except (OSError, ValueError):  # none, or cut short
            return None
        with suppress(OSError):  # a folder that may only be read
            os.utime(file)
        return array if array.shape == shape else None

    try:
        return make_once(file, look, lambda path: _fill(path, data, shape, file.parent, limit))
    except OSError as error:
        _warn_once(
            f"--cache {cache}: decoded images cannot be written: {problem(error)}: each trial "
            "decodes them again, which is slower; name a folder that can be written and has space"
        )
        return None


def _key(data: LabelledFiles, size: int) -> str:
    """A digest of everything that the array depends on."""
    opened = (VERSION, PIL.__version__, sorted(data.levels.items()))
    settings = (FORMAT, *opened, METHOD.name, "squish", size, data.root.resolve())
    digest = hashlib.sha256(repr(settings).encode())
    for name in data.files:
        status = (data.root / name).stat()
        line = f"{name}\0{status.st_size}\0{status.st_mtime_ns}\n"
        digest.update(line.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:32]


def _fill(
    path: Path, data: LabelledFiles, shape: tuple[int, ...], folder: Path, limit: float
) -> None:
    """Write the array at ``path``, with all CPUs; decoding releases Python's lock."""
    size, needed = shape[1], int(np.prod(shape))
    _make_space(folder, int(limit * GIB) - needed)
    array = np.lib.format.open_memmap(path, "w+", np.uint8, shape)
    if hasattr(os, "posix_fallocate"):  # a disk that fills up later would be a bus error
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)

    def fill(first: int) -> int:
        for position in range(first, min(first + AT_ONCE, len(data))):
            array[position] = decode(data.root / data.files[position], size, data.levels)
        return first

    with ThreadPoolExecutor(cpus()) as pool, _progress(len(data), size) as show:
        for first in pool.map(fill, range(0, len(data), AT_ONCE)):
            show(first)
    array.flush()


@contextmanager
def _progress(count: int, size: int) -> Iterator[Callable[[int], None]]:
    """A line now and then for those who wait for their first trial; shown where warnings are."""
    started = latest = time.monotonic()

    def show(ready: int) -> None:
        nonlocal latest
        if time.monotonic() - latest >= LINE_INTERVAL:
            latest = time.monotonic()
            log.warning(
                "decoding %d images at %d px, once: %.0f%%", count, size, 100 * ready / count
            )

    yield show
    seconds = time.monotonic() - started
    if latest > started:
        log.warning("decoded %d images at %d px in %.0f s", count, size, seconds)


def _make_space(folder: Path, free: int) -> None:
    """Remove arrays, the least recently used first, until the others take ``free`` bytes."""
    arrays = []
    for file in folder.glob("*.npy"):
        with suppress(OSError):  # removed by another worker
            status = file.stat()
            arrays.append((status.st_mtime, status.st_size, file))
    total = sum(size for _, size, _ in arrays)
    for _, size, file in sorted(arrays):
        if total <= free:
            return
        with suppress(OSError):
            file.unlink()
            total -= size


def _warn_once(line: str) -> None:
    if line not in warned:
        warned.add(line)
        log.warning("%s", line)
