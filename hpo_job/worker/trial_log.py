"""What a trial prints, logs and warns of, kept with it in the study's artifact store.

Guaranteed: what this process writes through `sys.stdout`, `sys.stderr`, `logging` and `warnings`
while a trial runs is in its log when the trial ends, the traceback of its error included; of a long
log the first and the last 32 Ki characters. Of a worker that is killed, what it had written half
a second before (five seconds with a bucket) is there.

Not guaranteed: what other processes and C libraries write. A log that cannot be stored costs no
trial: that is logged, once.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any, TextIO

from hpo_job.worker.output import Entry, Handler, printable

HEAD = TAIL = 32 * 1024  # characters that are kept of a log
FINISHING = 30.0  # seconds that the end of a trial waits for its log to be written
HURRY = 2.0  # the same, once the worker has been asked to stop
log = logging.getLogger(__name__)


class Bounded:
    """The first and the last lines of a text that is written piece by piece.

    Of a line that is overwritten, as a progress bar does, only the last state counts.
    """

    def __init__(self) -> None:
        self._head: list[str] = []
        self._tail: deque[str] = deque()
        self._head_size = self._tail_size = self._left_out = 0
        self._line = ""

    def add(self, text: str) -> None:
        *lines, rest = (self._line + text).split("\n")
        for line in lines:
            self._add_line(_last_state(line))
        self._line = _last_state(rest)[-TAIL:]

    def __str__(self) -> str:
        gap = [f"… {self._left_out:,} lines left out …"] if self._left_out else []
        rest = [self._line] if self._line else []
        return "\n".join([*self._head, *gap, *self._tail, *rest, ""])

    def _add_line(self, line: str) -> None:
        line = line[-TAIL:]
        if self._head_size + len(line) < HEAD and not self._tail:
            self._head.append(line)
            self._head_size += len(line) + 1
            return
        self._tail.append(line)
        self._tail_size += len(line) + 1
        while self._tail_size > TAIL + 1:
            self._tail_size -= len(self._tail.popleft()) + 1
            self._left_out += 1


class TrialLog:
    """The log of one trial, which is stored as it grows.

    Args:
        store: writes a text as the trial's log; called in a thread of this object.
        pause: seconds between two writes of a growing log.
    """

    def __init__(self, store: Callable[[str], None], pause: float) -> None:
        self._store, self._pause = store, pause
        self._text = Bounded()
        self._lock = threading.RLock()  # a signal handler may log while a line is added
        self._changed, self._closed = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, text: str, *, by_itself: bool = True) -> None:
        """Add what was written; nothing after the trial has ended.

        Args:
            text: any part of a line, or several lines.
            by_itself: whether it is worth a log; if not, it is stored with what is.
        """
        if self._closed.is_set():
            return
        with self._lock:
            self._text.add(text)
            if not by_itself:
                return
            if self._thread is None:
                self._thread = threading.Thread(target=self._keep, name="trial log", daemon=True)
                self._thread.start()
        self._changed.set()

    def close(self, patience: float) -> None:
        """Store what there is; waits for that at most so many seconds."""
        self._closed.set()
        self._changed.set()
        if self._thread:
            self._thread.join(patience)

    def _keep(self) -> None:
        while True:
            self._changed.wait()
            closed = self._closed.is_set()
            self._changed.clear()
            with self._lock:
                text = str(self._text)
            self._store(text)
            if closed:
                return
            self._closed.wait(self._pause)


class Capture:
    """Adds what this process writes to the log of the trial that runs."""

    def __init__(self) -> None:
        self._current: TrialLog | None = None
        self._pid = os.getpid()  # a fork, such as a process that reads batches, has no log

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Look at what is written; it goes on to where it went."""
        handler = Handler(self._entry)
        out, err = sys.stdout, sys.stderr
        sys.stdout, sys.stderr = (_Both(stream, self._add) for stream in (out, err))
        logging.getLogger().addHandler(handler)
        try:
            yield
        finally:
            logging.getLogger().removeHandler(handler)
            sys.stdout, sys.stderr = out, err

    @contextmanager
    def of(
        self, store: Callable[[str], None] | None, pause: float, is_stopping: Callable[[], object]
    ) -> Iterator[None]:
        """Keep what is written from here on as the log of a trial.

        Args:
            store: writes its log; None keeps none.
            pause: seconds between two writes.
            is_stopping: whether the worker was asked to stop, so that there is little time.
        """
        if store is None:
            yield
            return
        self._current = TrialLog(store, pause)
        try:
            yield
        finally:
            current, self._current = self._current, None
            current.close(HURRY if is_stopping() else FINISHING)

    def _add(self, text: str, *, by_itself: bool = True) -> None:
        current = self._current
        if current is not None and os.getpid() == self._pid:
            current.add(text, by_itself=by_itself)

    def _entry(self, entry: Entry) -> None:
        if threading.current_thread().name == "trial log":
            return
        name = logging.getLevelName(entry.level)
        trace = f"\n{entry.trace}" if entry.trace else ""
        text = printable(f"{datetime.now():%H:%M:%S} {name} {entry.line}{trace}\n")
        # hpo-job's line for each epoch says what is stored with the trial anyway
        self._add(text, by_itself=entry.level >= logging.WARNING)


class _Both:
    """A stream whose text also goes elsewhere; in all else it is the stream."""

    def __init__(self, stream: TextIO, add: Callable[[str], None]) -> None:
        self._stream, self._add_text = stream, add

    @property
    def not_captured(self) -> TextIO:
        """The stream alone, for hpo-job's own lines: those are added as log records."""
        return self._stream

    def write(self, text: str) -> int:
        with suppress(Exception):  # printing never fails because of the log
            self._add_text(text)
        return self._stream.write(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _last_state(line: str) -> str:
    """What is to be seen of a line that was overwritten from its start."""
    return line.rstrip("\r").rpartition("\r")[2]
