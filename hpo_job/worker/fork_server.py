"""The process that a machine's workers are forked from: it imports and checks once for all.

Guaranteed before a fork: no threads, no connection to a database, no GPU in use. What the objective
needs is imported (`hpo_job.objectives.preload`); the study is checked and created in a fork too,
and what that has read is inherited by the workers. If imports have started threads or use a GPU
nevertheless, workers are started as fresh interpreters, and a warning says so. Outside of Linux
they always are: the systems' own libraries do not survive a fork there. The variable
`START_VARIABLE` of `start_methods` asks for it, where a library of the objective's does not survive
a fork.

If this process dies, its workers end as after a SIGTERM; if its parent dies, it ends them so.
"""

from __future__ import annotations

import atexit
import gc
import logging
import multiprocessing
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import Any

from hpo_job.errors import HpoJobError
from hpo_job.machine import restore
from hpo_job.objectives.preload import draw_afresh, preload
from hpo_job.storage.opening import import_all
from hpo_job.storage.urls import parse
from hpo_job.study.checking import Checked, check_spec
from hpo_job.study.workers import OWNER, POD
from hpo_job.worker import gpus
from hpo_job.worker.job import Job, prepare, run_worker
from hpo_job.worker.liveness import Progress
from hpo_job.worker.output import listen
from hpo_job.worker.relay import write_to
from hpo_job.worker.signals import REASONS, Stop, Stopped
from hpo_job.worker.start_methods import start_method, unforkable

PREPARATION = -1  # the position of the process that checks and creates the study
log = logging.getLogger(__name__)
Output = tuple[Connection, Connection]  # the two ends of the pipe that a process writes into


@dataclass(frozen=True)
class Started:
    """A process was started: a worker, or at PREPARATION the one that checks the study."""

    position: int
    pid: int


@dataclass(frozen=True)
class Ended:
    """A process ended; its exit code is negative if a signal ended it."""

    position: int
    exit_code: int


@dataclass(frozen=True)
class Prepared:
    """Workers can be started; or with an exit code: why not, unless it was said or asked for."""

    error: str = ""
    exit_code: int = 0


def serve(
    job: Job,
    assigned: Sequence[str | None],
    channel: Connection,
    outputs: Sequence[Output],
    environment: Mapping[str, str | None],
    inherited: Sequence[Connection] = (),
) -> None:
    """Be the fork server: import; then check, and start a worker, as the positions come.

    SIGINT and SIGTERM stay blocked in here, as the parent has left them; a worker unblocks them.

    Args:
        job: what the workers do.
        assigned: the GPU of each worker, by its position.
        channel: positions come in; `Started`, `Ended` and `Prepared` go out.
        outputs: where each worker writes, by its position; the last is this process's own.
        environment: variables to restore after the imports; None removes one.
        inherited: the parent's connections, where this process is a fork of it.
    """
    for connection in inherited:
        connection.close()
    logging.getLogger().handlers.clear()
    os.setsid()  # Ctrl-C reaches the parent only
    for connection in (connection for output in outputs for connection in output):
        os.set_inheritable(connection.fileno(), False)
    os.environ.setdefault("OMP_NUM_THREADS", str(job.machine.threads))  # read by the imports
    listen(write_to(outputs[PREPARATION][1], None), logging.INFO)
    preload(job.spec)
    with suppress(HpoJobError, ImportError):  # its URL, or its driver: who opens the study says so
        import_all(parse(job.storage))
    with suppress(HpoJobError):  # for what it looks up of Optuna's classes; its errors come later
        check_spec(job.spec)
    restore(environment)
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):  # where the parent has died
        _Server(job, assigned, channel, outputs).run()
    sys.stderr.flush()
    os._exit(0)  # at once: there is nothing to clean up but gigabytes of modules


class _Server:
    """Starts the processes of one job, and reports their ends."""

    def __init__(
        self,
        job: Job,
        assigned: Sequence[str | None],
        channel: Connection,
        outputs: Sequence[Output],
    ) -> None:
        self._job, self._assigned = job, assigned
        self._channel, self._outputs = channel, outputs
        reason = unforkable()
        if reason:
            log.warning("%s, so each worker imports for itself", reason)
        method = start_method()
        if method == "fork" and (reason or sys.platform != "linux"):
            method = "spawn"
        self._forks = method == "fork"
        self._context: Any = multiprocessing.get_context(method)
        if not self._forks:  # the start of its tracker would unblock the signals at a worker's
            resource_tracker.ensure_running()
            signal.pthread_sigmask(signal.SIG_BLOCK, REASONS)
        # At its end once a worker has ended with exit code 0, as with nothing left to start
        self._over, self._more = self._context.Pipe(duplex=False)
        # Each child watches the one end; the other one is closed when this process dies
        self._watched, self._lifeline = self._context.Pipe(duplex=False)
        self._processes: dict[int, BaseProcess] = {}

    def run(self) -> None:
        try:
            checked = self._prepare()
            while checked is not None:
                wait([self._channel, *(each.sentinel for each in self._processes.values())])
                self._report_ends()
                if self._channel.poll():
                    position = self._channel.recv()
                    gpu = self._assigned[position]
                    job = self._job.sharing_gpu(self._assigned.count(gpu) if gpu else 1)
                    self._start(position, _work, job, checked, gpu, self._over)
        finally:
            self._lifeline.close()
            for process in self._processes.values():
                process.join()

    def _prepare(self) -> Checked | None:
        """What the workers inherit; None if there is nothing to do: the parent knows why."""
        self._channel.recv()  # until the parent asks for it
        reader, writer = self._context.Pipe(duplex=False)
        self._start(PREPARATION, _prepare, self._job, writer)
        writer.close()
        process = self._processes[PREPARATION]
        wait([reader, self._channel])
        if not reader.poll():
            raise EOFError  # the parent has died
        prepared: Checked | Prepared
        try:
            prepared = reader.recv()
        except EOFError:
            process.join()
            prepared = _unfinished(process.exitcode or 1)
        process.join()
        self._report_ends()
        if isinstance(prepared, Prepared):
            self._channel.send(prepared)
            return None
        gc.freeze()  # a child would copy each page of what its collector marks
        self._channel.send(Prepared())
        return prepared

    def _start(self, position: int, work: Callable[..., int], *arguments: object) -> None:
        own = (self._outputs[position], self._watched)
        others = _others(self._outputs, position)
        theirs = (self._lifeline, self._more, self._channel, *others)
        process = self._context.Process(
            target=_run, args=(position, *own, theirs if self._forks else (), work, *arguments)
        )
        sys.stdout.flush()
        sys.stderr.flush()
        with warnings.catch_warnings():
            # Python 3.12 counts jemalloc's thread
            warnings.filterwarnings("ignore", message=".*multi-threaded, use of fork")
            process.start()
        self._processes[position] = process
        self._channel.send(Started(position, process.pid))

    def _report_ends(self) -> None:
        for position, process in list(self._processes.items()):
            if process.exitcode is not None:
                del self._processes[position]
                if process.exitcode == 0 and position != PREPARATION:
                    self._more.close()
                self._channel.send(Ended(position, process.exitcode))


def _others(outputs: Sequence[Output], position: int) -> Iterator[Connection]:
    own = outputs[position]
    return (connection for output in outputs if output is not own for connection in output)


def _unfinished(exit_code: int) -> Prepared:
    if exit_code >= 0:
        return Prepared(exit_code=exit_code)  # its log has said why
    name = signal.Signals(-exit_code).name
    return Prepared(f"the process that checks the study was killed ({name})", 128 - exit_code)


def _run(
    position: int,
    output: Output,
    server: Connection,
    theirs: Sequence[Connection],
    work: Callable[..., int],
    *arguments: object,
) -> None:
    """Do ``work`` in a new process, which leads a new session.

    Ctrl-C therefore reaches it through the parent only. The reading end of ``output`` stays open:
    if the parent was killed, a write would raise BrokenPipeError in an objective, before
    `_end_with` ends the trial.

    Args:
        position: of the worker, or PREPARATION.
        output: where it writes.
        server: ends when the fork server does.
        theirs: connections that this process has inherited and must not keep open.
        work: returns the exit code.
        *arguments: what it is called with.
    """
    os.setsid()
    if theirs:
        _forget(theirs)
    for signal_number in REASONS:  # once the work is over, nothing is left to stop
        signal.signal(signal_number, _do_nothing)
    multiprocessing.set_start_method(None, force=True)  # Python's default, as in `hpo-job worker`
    if POD not in os.environ:  # several workers of one index do not succeed each other
        os.environ.pop(OWNER, None)
    threading.Thread(target=_end_with, args=(server,), daemon=True).start()
    logging.getLogger().handlers.clear()
    number = None if position == PREPARATION else os.getpid()
    listen(write_to(output[1], number), logging.INFO)
    try:
        code = work(*arguments)
    except HpoJobError as error:
        log.error("%s", error)
        code = error.exit_code
    except Exception as error:
        log.critical("unexpected error", exc_info=error)
        code = 1
    atexit._run_exitfuncs()  # multiprocessing ends without
    sys.exit(code)


def _do_nothing(number: int, frame: FrameType | None) -> None:
    """Handle a signal; one that is ignored would be lost while it is blocked."""


def _forget(theirs: Sequence[Connection]) -> None:
    """Drop what a fork has inherited and is another process's."""
    for connection in theirs:
        connection.close()
    atexit._clear()  # the others still need what is removed there
    draw_afresh()


def _prepare(job: Job, answer: Connection) -> int:
    """Check the study and create it, and send what was read, or why that is impossible."""
    stop = Stop()
    prepared: Checked | Prepared
    with Progress.from_environment().kept(), stop.listening():
        try:
            with stop.breaking():
                prepared = prepare(job)
        except Stopped:
            prepared = Prepared(exit_code=stop.exit_code)
        except HpoJobError as error:
            prepared = Prepared(str(error), error.exit_code)
    answer.send(prepared)
    return 0


def _work(job: Job, checked: Checked, gpu: str | None, over: Connection) -> int:
    if gpu is not None:
        gpus.assign(gpu)
    return run_worker(job, Stop(), checked, over)


def _end_with(server: Connection) -> None:
    """Stop this process as a SIGTERM would when the fork server dies: nobody would watch it."""
    server.poll(None)
    os.kill(os.getpid(), signal.SIGTERM)
