"""Ctrl-C and SIGTERM: how a worker is asked to stop, and where a trial may be broken off."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from hpo_job.trial import attributes

# Why a trial was broken off. Neither is its objective's fault, so its parameters run again.
REASONS = {signal.SIGINT: attributes.INTERRUPTED, signal.SIGTERM: attributes.PREEMPTED}
# What talks to the database: broken off in there, a write or a connection is left half done
_WHOLE = ("optuna.storages", "hpo_job.storage")
# ... except where it only waits for its server
_WAITING = "hpo_job.storage.mysql.waiting"
_SOON = 0.02  # seconds until the next try to break off, where this one came at a bad moment
# Seconds until the next try, where Stopped was swallowed, by a finalizer say; also how long an
# objective may take to clean up
_AGAIN = 5.0


class Stopped(BaseException):
    """Breaks off an objective; no Exception, so that no handler in an objective swallows it."""


class Stop:
    """Whether this process was asked to stop, and by which signal.

    Inside `breaking`, a signal raises Stopped wherever the program is, so that an objective of
    any kind ends within one operation, but never in the middle of a storage's own code.
    Elsewhere it only sets `requested`.
    """

    def __init__(self) -> None:
        self.requested: signal.Signals | None = None
        self.hurry: Callable[[], None] = lambda: None  # called once, when asked to stop
        self.broke_off = False  # whether what ran last in `breaking` was
        self._breaking = False
        self._process = os.getpid()

    @property
    def reason(self) -> str | None:
        return REASONS[self.requested] if self.requested else None

    @property
    def exit_code(self) -> int:
        """What a shell expects of a process ended by a signal, 128 + its number; 0 for none."""
        return 128 + self.requested if self.requested else 0

    def wait(self, seconds: float) -> None:
        """Sleep for ``seconds``, or until asked to stop."""
        try:
            with self.breaking():
                time.sleep(seconds)
        except Stopped:
            pass

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Catch SIGINT and SIGTERM in the main thread; a second Ctrl-C does not wait."""
        handlers = dict.fromkeys(REASONS, self._caught) | {signal.SIGALRM: self._break}
        previous = {number: signal.signal(number, handlers[number]) for number in handlers}
        signal.pthread_sigmask(signal.SIG_UNBLOCK, handlers)  # whoever started us may hold them
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    @contextmanager
    def breaking(self) -> Iterator[None]:
        """Let a signal break off what runs in here with Stopped."""
        self.broke_off = False
        self._breaking = True
        try:
            if self.requested:
                raise Stopped
            yield
        finally:
            self._breaking = False
            signal.setitimer(signal.ITIMER_REAL, 0)

    def _caught(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:
            self._inherited(number)
        elif self.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        else:
            self.requested = self.requested or signal.Signals(number)
            self.hurry()
            self._break(number, frame)

    def _break(self, number: int, frame: FrameType | None) -> None:
        if not self._breaking or not self.requested:  # an alarm may be the objective's own
            return
        if _in_whole(frame):
            signal.setitimer(signal.ITIMER_REAL, _SOON)
            return
        self.broke_off = True
        signal.setitimer(signal.ITIMER_REAL, _AGAIN)
        raise Stopped

    def _inherited(self, number: int) -> None:
        """In a forked data loader: Ctrl-C is its parent's business, SIGTERM ends it."""
        if number != signal.SIGINT:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)


def _in_whole(frame: FrameType | None) -> bool:
    while frame is not None:
        module = str(frame.f_globals.get("__name__"))
        if module.startswith(_WHOLE):
            return module != _WAITING
        frame = frame.f_back
    return False
