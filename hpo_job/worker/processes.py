"""Several workers on this machine: started, watched, replaced when killed, and stopped.

Guaranteed: a signal to the parent is passed on to every worker; if the parent dies, its workers
end as after a SIGTERM; a worker that was killed or sent a SIGTERM by somebody else is replaced,
and so is the process that workers are forked from, with all of them. That ends after `RESTARTS`
times for each worker in which one was killed within `SHORT` seconds of its start, so that a machine
without enough memory to start one is not kept busy for ever; and after `KILLS` times for each
worker in all, so that a study whose trials are all killed ends as well.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import wait
from typing import Any

from hpo_job.errors import HpoJobError
from hpo_job.machine import without_threads
from hpo_job.worker import gpus
from hpo_job.worker.fork_server import (
    PREPARATION,
    Ended,
    Prepared,
    Started,
    serve,
)
from hpo_job.worker.job import Job
from hpo_job.worker.liveness import forget
from hpo_job.worker.output import Printer
from hpo_job.worker.relay import Relay
from hpo_job.worker.signals import REASONS, Stop
from hpo_job.worker.start_methods import start_method, unforkable

WATCH = 0.5  # seconds between two looks at the workers
RESTARTS = 10  # how often, for each worker, one that was killed at once is started again
SHORT = 10.0  # seconds: a worker that lived longer has worked
KILLS = 100  # how often, for each worker, one that was killed is replaced in all
log = logging.getLogger(__name__)


class Workers:
    """The workers of one run, and the process that they are forked from, inside the block.

    That process imports from when the block is entered; it looks at the study when `run` is called.

    Args:
        job: what each of them works on.
        count: how many.
        printer: prints what they write.
        fork: let that process inherit what this one has imported, so that nothing is imported
            twice. Only for a process that has nothing to hide from the user's function: a command.
            If this process has threads or uses a GPU, it is not done.

    Attributes:
        ready: whether the study exists.
    """

    def __init__(
        self, job: Job, count: int, printer: Printer | None = None, *, fork: bool = False
    ) -> None:
        self._job, self._count, self._fork = job, count, fork
        self._relay = Relay(printer or Printer())
        self._restarts, self._kills = RESTARTS * count, KILLS * count
        self._pids: dict[int, int] = {}  # of the processes that run, by their position
        self._started: dict[int, float] = {}  # when each of them was started
        self._exit_codes: dict[int, int] = {}  # of the workers that have ended for good
        self._prepares = False  # whether the study is looked at
        self.ready = False

    def __enter__(self) -> Workers:
        self._start_server()
        return self

    def __exit__(self, *error: object) -> None:
        self._leave()

    def run(
        self,
        stop: Stop,
        on_watch: Callable[[], None],
        on_ready: Callable[[], None] = lambda: None,
    ) -> int:
        """Check the job, create its study, and watch the workers until they end.

        Args:
            stop: is passed on to them.
            on_watch: is called every now and then, and once more at the end.
            on_ready: is called when the study exists, before the first worker starts.

        Returns:
            The worst exit code of the workers, or 128 + the signal where ``stop`` ended them.

        Raises:
            HpoJobError: what the user can fix; it says how in one line.
        """
        with stop.listening():
            try:
                code = self._watch(stop, on_ready, on_watch)
            except KeyboardInterrupt:  # the second Ctrl-C
                self._kill(signal.SIGKILL)
                code = stop.exit_code
            finally:
                self._leave()
        if self.ready:
            on_watch()
        return code

    def _start_server(self) -> None:
        """Start the fork server: as a fork of this process, or in a new interpreter."""
        start_method()  # an unknown one is an error of this process
        forks = self._fork and sys.platform == "linux" and not unforkable()
        context: Any = multiprocessing.get_context("fork" if forks else "spawn")
        if not forks:
            resource_tracker.ensure_running()  # its own start would unblock the signals below
        self._prepares = False
        self._channel, theirs = context.Pipe()
        outputs = [context.Pipe(duplex=False) for _ in range(self._count + 1)]
        assigned = gpus.share(self._job.gpus, self._count)
        inherited = [self._channel] if forks else []
        # Signals to a child wait until it listens; else they would end its imports in a traceback
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, REASONS)
        with without_threads() as before:
            self._server = context.Process(
                target=serve, args=(self._job, assigned, theirs, outputs, before, inherited)
            )
            try:
                self._server.start()
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        theirs.close()
        for reader, writer in outputs:
            writer.close()
            self._relay.add(reader)

    def _watch(self, stop: Stop, on_ready: Callable[[], None], on_watch: Callable[[], None]) -> int:
        """Start the workers when the study is ready, replace those that are killed.

        Returns:
            The exit code, when all have ended.

        Raises:
            HpoJobError: the study cannot be run.
        """
        passed_on = False
        next_look = 0.0
        self._prepare()
        while len(self._exit_codes) < self._count:
            for message in self._messages():
                if isinstance(message, Started):
                    self._pids[message.position] = message.pid
                    self._started[message.position] = time.monotonic()
                    if passed_on:  # it was asked for before the signal came
                        self._kill(stop.requested or signal.SIGTERM)
                elif isinstance(message, Ended):
                    self._ended(message, stop)
                elif message.error:
                    raise _error(message)
                elif message.exit_code or stop.requested:
                    return stop.exit_code or message.exit_code
                else:
                    self._start_all(on_ready)
            if stop.requested and not passed_on:
                passed_on = True
                if self.ready:
                    log.warning("stopping the workers; press Ctrl-C again to kill them")
                self._kill(stop.requested)
            if self._server.exitcode is not None and not self._replace_server(stop):
                return stop.exit_code or 1
            # not at each message: a look costs more CPU than the start of a worker
            if self.ready and time.monotonic() >= next_look:
                on_watch()
                next_look = time.monotonic() + WATCH
        return stop.exit_code or max(self._exit_codes.values())

    def _kill(self, number: signal.Signals) -> None:
        """Send a signal to each process that runs."""
        for pid in self._pids.values():
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def _leave(self) -> None:
        """End the fork server, and with it the workers that run still; returns when they have.

        All that they have written is printed then.
        """
        self._channel.close()
        if not self._prepares:  # it imports, and has started nothing yet
            self._server.kill()
        self._server.join()
        self._relay.close()

    def _prepare(self) -> None:
        """Let the study be checked and created."""
        self._prepares = True
        self._start(PREPARATION)

    def _messages(self) -> Iterator[Started | Ended | Prepared]:
        wait([self._channel, self._server.sentinel], WATCH)
        with suppress(EOFError, OSError):  # the server has died
            while self._channel.poll():
                yield self._channel.recv()

    def _start(self, position: int) -> None:
        with suppress(OSError):  # the server has died: another one starts it
            self._channel.send(position)

    def _start_all(self, on_ready: Callable[[], None]) -> None:
        if not self.ready:
            self.ready = True
            on_ready()
        for position in range(self._count):
            if position not in self._exit_codes:
                self._start(position)

    def _ended(self, message: Ended, stop: Stop) -> None:
        """Note how a worker ended, or start another in its place."""
        pid, code = self._pids.pop(message.position), message.exit_code
        forget(pid)
        if message.position == PREPARATION:
            return
        # a worker that somebody else sent a SIGTERM, such as a guard of the memory, ends with 143
        number = -code if code < 0 else code - 128 if code == 128 + signal.SIGTERM else 0
        if number and not stop.requested:
            name = signal.Signals(number).name
            if self._restarts and self._kills:
                self._kills -= 1
                self._restarts -= time.monotonic() - self._started[message.position] < SHORT
                log.warning("worker %s was killed (%s); another takes its place", pid, name)
                self._start(message.position)
                return
            log.warning("worker %s was killed (%s), as too many were; none replaces it", pid, name)
        self._exit_codes[message.position] = code if code >= 0 else 128 - code

    def _replace_server(self, stop: Stop) -> bool:
        """Start another fork server if it was killed; its workers are ending with it."""
        code = self._server.exitcode or 0
        if stop.requested or not self._restarts or code >= 0:
            return False
        self._restarts -= 1
        name = signal.Signals(-code).name
        log.warning("the process that starts workers was killed (%s); all are started again", name)
        self._pids.clear()
        self._channel.close()
        self._start_server()
        self._prepare()
        return True


def _error(message: Prepared) -> HpoJobError:
    error = HpoJobError(message.error)
    error.exit_code = message.exit_code
    return error
