"""What worker processes write, passed on by the process that started them.

Each worker writes into a pipe: its log entries as lines of JSON, and whatever its objective prints
as it is. So nothing is printed into the middle of a status line, and what all workers say is
printed once. A pipe needs no lock: a worker that is killed while it writes holds up nobody.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict
from multiprocessing.connection import Connection
from typing import TextIO

from hpo_job.worker.output import Entry, Printer

MARK = "\x1e"  # "record separator": JSON of an entry follows, until the end of the line
REST = 1.0  # seconds to wait for the last lines: a child of a worker may hold its pipe open


class Relay:
    """Reads the pipes of workers in threads of this process, and prints what comes."""

    def __init__(self, printer: Printer) -> None:
        self._printer = printer
        self._threads: list[threading.Thread] = []

    def add(self, reader: Connection) -> None:
        """Pass on what a worker writes, until it has ended."""
        thread = threading.Thread(target=self._pass_on, args=(reader,), daemon=True)
        thread.start()
        self._threads.append(thread)

    def close(self) -> None:
        """Wait for the last lines of workers that have ended."""
        for thread in self._threads:
            thread.join(REST)

    def _pass_on(self, reader: Connection) -> None:
        # "\r" ends no line: of a progress bar only the last state is printed
        with open(
            reader.fileno(), encoding="utf-8", errors="replace", newline="\n", closefd=False
        ) as lines:
            for line in lines:
                self._line(line.rstrip("\r\n"))
        reader.close()

    def _line(self, line: str) -> None:
        printed, mark, record = line.partition(MARK)
        printed = printed.rpartition("\r")[2]
        if printed or not mark:
            self._printer.raw(printed)
        if mark:
            try:
                self._printer(Entry(**json.loads(record)))
            except (ValueError, TypeError):  # the objective printed the mark, or into the line
                self._printer.raw(record)


def write_to(writer: Connection, worker: int | None) -> Callable[[Entry], None]:
    """Let this process write into a pipe instead of the terminal; what sends its entries.

    Args:
        writer: the pipe.
        worker: the number that its log lines carry; None for those of no worker.
    """
    sys.stdout, sys.stderr = (_stream(writer.fileno(), descriptor) for descriptor in (1, 2))

    def send(entry: Entry) -> None:
        text = json.dumps({**asdict(entry), "worker": worker})
        os.write(2, f"{MARK}{text}\n".encode())

    return send


def _stream(pipe: int, descriptor: int) -> TextIO:
    """A stream of lines on ``descriptor``, which leads into the pipe from now on."""
    os.dup2(pipe, descriptor)
    return open(descriptor, "w", encoding="utf-8", errors="replace", buffering=1, closefd=False)
