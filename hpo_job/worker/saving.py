"""When the state of a running trial is saved: every so often, and once more before it ends.

The first state of an attempt is saved sooner, since a worker that is killed before it has saved
anything loses all that it did. So are all states of a trial whose worker was killed before: its
nodes come and go. Saving takes at most `SHARE` of the time then.

`Saving` is what an objective's context saves to. A due state is packed into a temporary file while
training waits; a thread then uploads it, while training goes on. After a signal the state is
packed and uploaded at once, and the trial ends.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import IO

from optuna.exceptions import UpdateFinishedTrialError

from hpo_job.artifacts.checkpoints import Checkpoints
from hpo_job.artifacts.stores import reason
from hpo_job.errors import SpecError
from hpo_job.trial import attributes
from hpo_job.trial.checkpoint_file import State
from hpo_job.worker.signals import Stop

FINISHING = 60.0  # seconds that the end of a trial waits for an upload
HURRY = 2.0  # the same after a signal, which has waited for it already
# Of the interval between two saves: for the first one, and on nodes that come and go
SOONER = 1 / 6
SHARE = 0.05  # of the time of training that saving may take where it is done sooner
log = logging.getLogger(__name__)


class Saving:
    """Saves one trial's states; a `hpo_job.objectives.context.Checkpoints`.

    Args:
        checkpoints: where they are.
        every: seconds between two of them, at least, but for what is saved sooner.
        stop: says when the worker was asked to stop.
    """

    def __init__(self, checkpoints: Checkpoints, every: float, stop: Stop) -> None:
        self._checkpoints, self._every, self._stop = checkpoints, every, stop
        self._number = checkpoints.number
        sooner = SOONER * every
        self._interval = sooner if checkpoints.was_preempted else every
        self._next = time.monotonic() + sooner
        self._upload: threading.Thread | None = None
        self._lost: UpdateFinishedTrialError | None = None

    @property
    def due(self) -> bool:
        self._stop.awaits_save = True  # from now on a signal waits for the next call
        if self._stop.requested or self._lost:
            return True
        return time.monotonic() >= self._next and not self._uploads

    def load(self, misfit: Callable[[State], str | None]) -> State | None:
        self._stop.awaits_save = True
        return self._checkpoints.load(misfit)

    def resumed(self, steps: int) -> None:
        self._checkpoints.resumed(steps)

    def write(self, tree: State, *, wait: bool = False) -> bool:
        """Save ``tree``, and end the trial if the worker was asked to stop.

        Returns:
            Whether it was packed, and its upload was started; after a signal nothing is returned.

        Raises:
            TypeError: it holds something that cannot be saved.
            UpdateFinishedTrialError: another worker has declared the trial lost.
            Stopped: the worker was asked to stop.
        """
        if self._lost:
            raise self._lost
        started = time.monotonic()
        with self._stop.saving():
            file = self._pack(tree)
            if file is not None:
                seconds = float(tree["timings"][attributes.TOTAL_TIME])
                self._start_upload(file, seconds)
                if self._stop.requested or wait:
                    self._join(None)
        now = time.monotonic()
        self._next = now + max(self._interval, min((now - started) / SHARE, self._every))
        return file is not None

    def finish(self) -> None:
        """Wait for the last upload; called once the objective has returned."""
        self._join(HURRY if self._stop.requested else FINISHING)

    def keep_newest(self) -> None:
        """Remove all states but the newest: the trial is paused."""
        self._checkpoints.keep_newest()

    def remove(self) -> None:
        """Remove all states: the parameters are not run again."""
        self._checkpoints.remove()

    @property
    def _uploads(self) -> bool:
        return self._upload is not None and self._upload.is_alive()

    def _pack(self, tree: State) -> IO[bytes] | None:
        try:
            return self._checkpoints.pack(tree)
        except OSError as error:
            self._warn(error)
            return None

    def _start_upload(self, file: IO[bytes], seconds: float) -> None:
        self._join(None)  # after a signal, one may still be on its way
        arguments = (file, seconds)
        self._upload = threading.Thread(
            target=self._send, args=arguments, name="upload", daemon=True
        )
        self._upload.start()

    def _send(self, file: IO[bytes], seconds: float) -> None:
        with file:
            try:
                self._checkpoints.upload(file, seconds)
            except UpdateFinishedTrialError as error:
                self._lost = error
            except Exception as error:  # every store's client, and every database, has its own
                self._warn(error)

    def _join(self, seconds: float | None) -> None:
        if self._upload is not None:
            self._upload.join(seconds)

    def _warn(self, error: Exception) -> None:
        text = str(error) if isinstance(error, SpecError) else reason(error)
        log.warning("trial %d: its state was not saved: %s", self._number, text)
