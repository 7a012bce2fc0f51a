"""A file or folder that many processes need and one of them makes: never seen half done."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from filelock import BaseFileLock, FileLock

Content = TypeVar("Content")


def make_once(
    target: Path, look: Callable[[], Content | None], make: Callable[[Path], object]
) -> Content:
    """What ``look`` returns, after ``make`` has made it where ``look`` returns None.

    Of the processes that come at the same time, one makes it and the others wait. It is written
    under a temporary name next to ``target`` and renamed, so nobody sees a half of it. A process
    that is killed in the middle blocks nobody: the operating system releases its lock, and the
    next process removes what it left. Where making fails, the folder is left as it was.

    Not guaranteed: on a network file system without locks, two processes may both make it; the
    first one to finish wins, and both read the same.

    Args:
        target: the file or folder that is made.
        look: returns what is there, or None where nothing is, or something damaged.
        make: writes the file or folder at the path that it is called with.

    Raises:
        OSError: it cannot be written: no right to, no space left. What ``make`` raises passes.
    """
    content = look()
    if content is not None:
        return content
    prefix = f".{target.name}."
    with _locked(target):
        for leftover in target.parent.iterdir():  # of a process that was killed
            if leftover.name.startswith(prefix) and leftover.suffix == ".tmp":
                shutil.rmtree(leftover, ignore_errors=True)
        with tempfile.TemporaryDirectory(".tmp", prefix, target.parent) as folder:
            # Only now, for a shared volume may remember for a while that there was nothing: writing
            # next to it makes the volume look again.
            content = look()
            if content is None:
                make(Path(folder) / target.name)
                content = look()
            if content is None:
                content = _put(Path(folder) / target.name, target, look)
    return content


def _put(temporary: Path, target: Path, look: Callable[[], Content | None]) -> Content:
    """Rename ``temporary`` to ``target``, in place of something damaged, and look."""
    if target.is_dir():
        shutil.rmtree(target)
    try:
        temporary.replace(target)
    except OSError:
        content = look()
        if content is None:
            raise
        return content  # another process renamed its own at the same moment
    content = look()
    if content is None:
        raise OSError(f"{target}: written, but cannot be read")
    return content


@contextmanager
def _locked(target: Path) -> Iterator[None]:
    """Hold the lock of ``target``; where the block fails, remove the lock and new folders."""
    lock = target.with_name(f".{target.name}.lock")
    created = [folder for folder in target.parents if not folder.exists()]
    held = _acquire(lock)
    try:
        yield
    except BaseException:
        _remove(lock, created)
        raise
    finally:
        held.release()


def _acquire(lock: Path) -> BaseFileLock:
    """Wait for the lock; again where whoever held it failed, and removed it with its folder."""
    while True:
        lock.parent.mkdir(parents=True, exist_ok=True)
        held = FileLock(lock)
        with suppress(FileNotFoundError):
            held.acquire()
            if lock.exists():
                return held
        held.release()


def _remove(lock: Path, created: list[Path]) -> None:
    """Remove the lock and the folders that were created, the innermost first, if empty."""
    with suppress(OSError):
        lock.unlink(missing_ok=True)
        for folder in created:
            folder.rmdir()
