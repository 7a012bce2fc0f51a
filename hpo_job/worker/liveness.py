"""A file that gets old when a trial makes no progress; the liveness probe of a pod looks at it.

While no trial runs, and in a trial until its first batch or report, a thread keeps the file young:
reading data, waiting for the database or for other workers may take long. From then on only the
trial itself does, at each batch and report. So a process that is frozen, and a training that hangs
in a data loader or on its GPU, are noticed; a function that never reports is not watched.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hpo_job.worker.heartbeat import heartbeat

FOLDER = "HPO_JOB_PROGRESS"  # the variable that names a folder, with a file for each worker in it
EVERY = 10.0  # seconds between two touches of the thread
LEAST = 1.0  # seconds between two touches by a trial: batches may be short


class Progress:
    """One worker's file.

    Args:
        file: the file; None where nobody looks at it.
    """

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._trial_is_watched = False
        self._touched = 0.0

    @classmethod
    def from_environment(cls) -> Progress:
        """The file of this process in the folder that `FOLDER` names."""
        folder = os.environ.get(FOLDER)
        return cls(Path(folder) / str(os.getpid()) if folder else None)

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Keep the file while in here; files of workers that are gone are removed first."""
        if self._file is None:
            yield
            return
        self._file.parent.mkdir(parents=True, exist_ok=True)
        for other in self._file.parent.iterdir():
            if not _runs(other.name):
                other.unlink(missing_ok=True)
        self._touch()
        try:
            with heartbeat("progress", EVERY, self._keep_young):
                yield
        finally:
            self._file.unlink(missing_ok=True)

    @contextmanager
    def trial(self) -> Iterator[None]:
        """Run a trial in here, which may call `note`."""
        try:
            yield
        finally:
            self._trial_is_watched = False
            self._touch()

    def note(self) -> None:
        """The trial has made progress: a batch, a report. Cheap enough for every batch."""
        self._trial_is_watched = True
        if time.monotonic() - self._touched >= LEAST:
            self._touch()

    def _keep_young(self) -> None:
        if not self._trial_is_watched:
            self._touch()

    def _touch(self) -> None:
        self._touched = time.monotonic()
        if self._file is not None:
            self._file.touch()


def forget(process: int) -> None:
    """Remove the file of a worker of this machine that was killed; it would get old."""
    if folder := os.environ.get(FOLDER):
        (Path(folder) / str(process)).unlink(missing_ok=True)


def _runs(process: str) -> bool:
    try:
        os.kill(int(process), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:  # another user's
        return True
    return True
