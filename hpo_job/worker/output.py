"""What a process writes for people: log lines, each mistake's traceback once, each warning once.

All that hpo-job and its libraries log passes through a `Printer`. Libraries print nothing by
themselves: their log records and their Python warnings become a line of ours, each text once.
Warnings that only the authors of a library can act on are logged at DEBUG; see `FOR_AUTHORS`.
"""

from __future__ import annotations

import io
import logging
import os
import re
import sys
import sysconfig
import threading
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TextIO

# Names of warning classes that ask for a change of code: they are hidden where an installed package
# raised them, since its user cannot change it. Optuna's ExperimentalWarning says that an interface
# of Optuna may change: hpo-job pins the release it was tested with.
FOR_AUTHORS = (
    "DeprecationWarning",
    "PendingDeprecationWarning",
    "FutureWarning",
    "ImportWarning",
    "ResourceWarning",
    "ExperimentalWarning",
)
MAX_TRACE = 8000  # characters of a traceback, from its end
AGAIN = 60.0  # seconds after which a line that another worker wrote already is printed again
OURS = "hpo_job"  # the logger above all of ours
STARTED = "started"  # the event of all workers of a pod, which one of them writes
log = logging.getLogger(__name__)
INSTALLED = ("site-packages", "dist-packages")  # folders of installed packages
STDLIB = Path(sysconfig.get_path("stdlib"))
PACKAGE = Path(__file__).parents[1]
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # all but tab and line feed


@dataclass(frozen=True)
class Entry:
    """A log record, so far as it is written.

    Attributes:
        level: as in `logging`.
        text: what is said, usually one line.
        library: the package that said it; empty where hpo-job did.
        trace: the traceback that belongs to it.
        mistake: where the code is that the traceback leads to; the same for each trial that fails
            at the same place. Each mistake's traceback is printed once.
        worker: the number of the worker process; None for this process.
        event: what has happened, where each process that meets it may word it differently, such as
            an outage of the database; otherwise empty.
    """

    level: int
    text: str
    library: str = ""
    trace: str = ""
    mistake: str = ""
    worker: int | None = None
    event: str = ""

    @classmethod
    def of(cls, record: logging.LogRecord) -> Entry:
        package = record.name.partition(".")[0]
        text = record.getMessage()
        if package != OURS:
            return cls(record.levelno, " ".join(text.split()), library=record.name)
        error = record.exc_info[1] if record.exc_info else None
        if error is None:
            return cls(record.levelno, text, event=getattr(record, "event", ""))
        trace = "".join(traceback.format_exception(error)).rstrip()
        mistake = "".join([type(error).__name__, *traceback.format_tb(error.__traceback__)])
        return cls(record.levelno, text, trace=trace[-MAX_TRACE:], mistake=mistake)

    @property
    def line(self) -> str:
        """The text, with who says it in front."""
        if self.library:
            return f"{self.library}: {self.text}"
        of_all = self.worker is None or self.event == STARTED
        return self.text if of_all else f"worker {self.worker}: {self.text}"


class Printer:
    """Prints entries of a level as ``hpo-job: …``, and writes all of them into a file.

    Args:
        write: prints a text that ends without a newline; stderr by default.
        level: the lowest level of hpo-job's entries that is printed; of libraries WARNING is.
        file: where everything is appended, with its time, if anywhere.
    """

    def __init__(
        self,
        level: int = logging.WARNING,
        file: TextIO | None = None,
        write: Callable[[str], None] | None = None,
    ) -> None:
        self._level, self._file = level, file
        self._write = write or print_to_stderr
        self._lock = threading.Lock()
        self._libraries: set[str] = set()
        self._mistakes: set[str] = set()
        # by event, or text without one: who wrote it last, and when
        self._workers: dict[tuple[str, str], tuple[int | None, float]] = {}

    def __call__(self, entry: Entry) -> None:
        with self._lock:
            if self._file:
                self._append(entry)
            if self._is_printed(entry):
                self._write(printable(f"hpo-job: {entry.line}"))
                if entry.trace and entry.mistake not in self._mistakes:
                    self._mistakes.add(entry.mistake)
                    self._write(printable(entry.trace))

    def has_printed(self, text: str) -> bool:
        """Whether some worker's log line said this."""
        return ("", text) in self._workers

    def raw(self, line: str) -> None:
        """Print a line of somebody else's, such as an objective's own."""
        with self._lock:
            if self._file:
                print(printable(line), file=self._file, flush=True)
            self._write(printable(line))

    def _is_printed(self, entry: Entry) -> bool:
        if entry.library:
            if entry.level < logging.WARNING or entry.text in self._libraries:
                return False
            self._libraries.add(entry.text)
            return True
        if entry.level < self._level:
            return False
        if entry.worker is None and not entry.event:
            return True
        # An outage of the database, say, is met by all workers: one line is enough.
        now, key = time.monotonic(), (entry.event, "" if entry.event else entry.text)
        writer, when = self._workers.get(key, (entry.worker, now))
        if writer != entry.worker and (now - when < AGAIN or entry.event == STARTED):
            return False
        self._workers[key] = (entry.worker, now)
        return True

    def _append(self, entry: Entry) -> None:
        moment = datetime.now().astimezone().isoformat(timespec="seconds")
        name = logging.getLevelName(entry.level)
        print(printable(f"{moment} {name} {entry.line}"), file=self._file, flush=True)
        if entry.trace:
            print(printable(entry.trace), file=self._file, flush=True)


class Handler(logging.Handler):
    """Gives each log record to ``take``, as an `Entry`."""

    def __init__(self, take: Callable[[Entry], None]) -> None:
        super().__init__()
        self._take = take

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._take(Entry.of(record))
        except Exception:
            self.handleError(record)


def listen(take: Callable[[Entry], None], level: int) -> None:
    """Give ``take`` what is logged and warned of from now on in this process.

    Args:
        take: a `Printer`, or what sends the entries to one.
        level: the lowest level of hpo-job's records that is taken.
    """
    import optuna

    logging.basicConfig(level=logging.WARNING, handlers=[Handler(take)])
    logging.getLogger(OURS).setLevel(level)
    optuna.logging.disable_default_handler()
    optuna.logging.enable_propagation()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    # torch's C++ code writes warnings past Python, such as that NNPACK does not know this CPU
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    warnings.showwarning = log_warning


def log_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Log a warning under the name of the package that raised it; for `warnings.showwarning`."""
    text = " ".join(str(message).split())
    package = package_of(filename)
    if package is None:
        logging.getLogger(f"{Path(filename).name} line {lineno}").warning("%s", text)
        return
    if any(each.__name__ in FOR_AUTHORS for each in category.__mro__):
        log.debug("%s: %s", package, text)
    else:
        logging.getLogger(package).warning("%s", text)


def package_of(filename: str) -> str | None:
    """The installed package that a file belongs to; None for a file of the user's."""
    path = Path(filename)
    if PACKAGE in path.parents:
        return OURS
    for position, part in enumerate(path.parts[:-1]):
        if part in INSTALLED:
            return path.parts[position + 1].removesuffix(".py")
    if STDLIB in path.parents:
        return path.relative_to(STDLIB).parts[0].removesuffix(".py")
    return None


def printable(text: str) -> str:
    """``text`` without control characters, which would move the cursor or change colours."""
    return CONTROL.sub(_escaped, text)


def _escaped(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode("ascii")


def replace_unencodable() -> None:
    """Let stdout and stderr write ``?`` for what their encoding lacks, instead of raising.

    A name on disk may not be text in any encoding, and a terminal may know ASCII only.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def print_to_stderr(text: str) -> None:
    """Print on stderr as it is now: above the status line where there is one.

    It does not count as output of the trial that runs: see `hpo_job.worker.trial_log`.
    """
    print(text, file=getattr(sys.stderr, "not_captured", sys.stderr), flush=True)
