"""Ctrl-C and SIGTERM: how a worker is asked to stop, and where a trial may be interrupted.

Guaranteed, inside `Stop.breaking`:

- The first signal raises Stopped in the main thread, wherever the program is, so an objective
  needs no code for it: it ends within one operation.
- Stopped is never raised while a module of `PROTECTED` is on the stack. A statement, a transaction
  or a connection is therefore never left half done: the signal is tried again every `RETRY`
  seconds until the storage's code has returned. The exception is the pause in which a
  storage waits for a server that is away: nothing is half done there, and it may take minutes.
- An objective that saves its state is given `SAVE_WAIT` seconds to reach the next place where it
  does, and `SAVE_TIME` seconds to write it; then Stopped is raised there. Together they are less
  than the 30 seconds after which Kubernetes kills a pod.
- Where Stopped was swallowed, it is raised again after `CLEANUP` seconds, and so on until the
  objective ends. A bare ``except`` swallows it; so does Python, where it was raised in a
  finalizer. An objective's own ``finally`` blocks have as long to clean up.

Not guaranteed:

- Several writes in a row may be separated: of two attributes that an objective sets, only the
  first may be stored. Files that an objective writes may be cut short.
- A call into C that does not return is not interrupted, nor is a thread other than the main one.
  A second Ctrl-C raises KeyboardInterrupt there as soon as Python code runs again; Kubernetes
  kills the process when its grace period is over.

What a trial's state is after each of these, and who repairs it, is in docs/states.md.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from types import FrameType
from typing import NoReturn

import optuna.storages

import hpo_job.storage
from hpo_job.storage import waiting
from hpo_job.trial import attributes

# Why a trial was broken off. Neither is its objective's fault, so its parameters are run again.
REASONS = {signal.SIGINT: attributes.INTERRUPTED, signal.SIGTERM: attributes.PREEMPTED}
# The packages that talk to a database, in which nothing is interrupted
PROTECTED = (optuna.storages.__name__, hpo_job.storage.__name__)
# The one module of them that may be interrupted, since it only sleeps
INTERRUPTIBLE = waiting.__name__
RETRY = 0.02  # seconds until the next try to raise Stopped, where this one came in PROTECTED code
CLEANUP = 5.0  # seconds until Stopped is raised again, where the objective has not ended by then
SAVE_WAIT = 10.0  # seconds until Stopped is raised in an objective that does not save its state
SAVE_TIME = 10.0  # seconds that writing it may take


class Stopped(BaseException):
    """Breaks off an objective; not an Exception, so that ``except Exception`` lets it pass."""


class Stop:
    """Whether this process was asked to stop, and by which signal.

    Inside `breaking` a signal raises Stopped, see the module's text for where; elsewhere it only
    sets `requested`, which the worker asks for between trials. A fault of the machine does so too.
    """

    def __init__(self) -> None:
        self.requested: signal.Signals | None = None
        self.fault: str | None = None  # what is wrong with this machine, if no trial can go on
        self.hurry: Callable[[], None] = lambda: None  # called once, when asked to stop
        self.broke_off = False  # whether Stopped was raised in the last `breaking`
        self.awaits_save = False  # whether what runs in `breaking` saves its state now and then
        self._deadline = 0.0  # until when Stopped waits for that, by the monotonic clock
        self._breaking = self._listening = False
        self._process = os.getpid()

    @property
    def reason(self) -> str | None:
        return REASONS[self.requested] if self.requested else None

    @property
    def exit_code(self) -> int:
        """What a shell expects of a process ended by a signal, 128 + its number; 0 for none."""
        return 128 + self.requested if self.requested else 0

    def wait(self, seconds: float, until: Connection | None = None) -> None:
        """Sleep for ``seconds``, or until asked to stop, or until something can be read."""
        try:
            with self.breaking():
                if until is None:
                    time.sleep(seconds)
                else:
                    until.poll(seconds)
        except Stopped:
            pass

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Catch SIGINT and SIGTERM in the main thread; a second Ctrl-C does not wait."""
        handlers = dict.fromkeys(REASONS, self._on_signal) | {signal.SIGALRM: self._on_alarm}
        previous = {number: signal.signal(number, handlers[number]) for number in handlers}
        # A parent blocks them until here, so that they do not end our imports in a traceback
        signal.pthread_sigmask(signal.SIG_UNBLOCK, handlers)
        self._listening = True
        try:
            yield
        finally:
            self._listening = False
            for number, handler in previous.items():
                signal.signal(number, handler)

    @contextmanager
    def breaking(self) -> Iterator[None]:
        """Let a signal break off what runs in here with Stopped; at once, if there was one."""
        self.broke_off = self.awaits_save = False
        self._deadline = 0.0
        self._breaking = True
        try:
            if self.requested or self.fault:
                raise Stopped
            yield
        finally:
            self._breaking = False
            signal.setitimer(signal.ITIMER_REAL, 0)

    @contextmanager
    def saving(self) -> Iterator[None]:
        """Let what runs in here write a state before Stopped is raised, at its end if at all.

        If it takes longer than `SAVE_TIME`, Stopped is raised in it.
        """
        self._deadline = time.monotonic() + SAVE_TIME
        try:
            yield
        finally:
            self._deadline = 0.0
        if (self.requested or self.fault) and self._breaking:
            self._raise()

    def break_off(self, fault: str) -> None:
        """Break off what runs in `breaking`, now and from then on; from any thread.

        Args:
            fault: what is wrong with this machine, in one line.
        """
        self.fault = fault
        if self._listening:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGALRM)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:
            self._on_signal_in_fork(number)
        elif self.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        else:
            if not self.requested and self.awaits_save:
                self._deadline = max(self._deadline, time.monotonic() + SAVE_WAIT)
            self.requested = self.requested or signal.Signals(number)
            self.hurry()
            self._on_alarm(number, frame)

    def _on_alarm(self, number: int, frame: FrameType | None) -> None:
        """Raise Stopped, or try again later. Does nothing for an alarm of the objective's."""
        if not self._breaking or not (self.requested or self.fault):
            return
        if is_protected(frame):
            signal.setitimer(signal.ITIMER_REAL, RETRY)
            return
        left = self._deadline - time.monotonic()
        if left > 0:
            signal.setitimer(signal.ITIMER_REAL, left)
            return
        self._raise()

    def _raise(self) -> NoReturn:
        self.broke_off = True
        signal.setitimer(signal.ITIMER_REAL, CLEANUP)
        raise Stopped

    def _on_signal_in_fork(self, number: int) -> None:
        """In a forked data loader: its parent handles Ctrl-C, and SIGTERM ends it at once."""
        if number != signal.SIGINT:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)


def is_protected(frame: FrameType | None) -> bool:
    """Whether code that talks to a database is on the stack, other than in its pauses."""
    while frame is not None:
        module = str(frame.f_globals.get("__name__"))
        if belongs_to(module, PROTECTED):
            return module != INTERRUPTIBLE
        frame = frame.f_back
    return False


def belongs_to(module: str, packages: tuple[str, ...]) -> bool:
    """Whether a module is one of ``packages``, or in one of them."""
    return any(module == package or module.startswith(f"{package}.") for package in packages)
