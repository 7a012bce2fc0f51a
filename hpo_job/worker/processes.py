"""Several workers on this machine: started, watched, replaced when killed, and stopped.

Guaranteed: a signal to the parent is passed on to every worker; if the parent dies, its workers
end as after a SIGTERM; a worker that was killed is started again, a few times in all.
"""

from __future__ import annotations

import logging
import math
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path

from threadpoolctl import threadpool_limits

from hpo_job.errors import HpoJobError, StorageError
from hpo_job.spec.study_toml import StudySpec
from hpo_job.study.checking import check
from hpo_job.study.joining import join
from hpo_job.study.workers import OWNER
from hpo_job.worker import gpus, lr_find
from hpo_job.worker.loop import Machine, work
from hpo_job.worker.output import Printer, listen
from hpo_job.worker.progress import Progress
from hpo_job.worker.relay import Relay, write_to
from hpo_job.worker.signals import REASONS, Stop, Stopped

WATCH = 0.5  # seconds between two looks at the workers
SLACK = 5  # seconds beyond the grace, within which every live worker has sent a heartbeat
RESTARTS = 3  # how often one worker is started again after it was killed
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """All that a worker process needs; it is pickled, to cross the process boundary.

    Attributes:
        spec: what study.toml says.
        storage: the URL of the study's database.
        weights: folder of pre-trained weights.
        grace: seconds without a heartbeat after which a running trial counts as lost.
        machine: what the worker may use.
        wait: whether it stays while others run all that is left, in case one of them is lost.
        same_study: whether another version of the user's function continues the study.
        gpus: the GPUs that workers of one machine take in turn, one each; empty leaves them all
            to each worker.
    """

    spec: StudySpec
    storage: str
    weights: Path
    grace: int
    machine: Machine
    wait: bool = True
    same_study: bool = False
    gpus: tuple[str, ...] = ()


def run_worker(job: Job, stop: Stop) -> int:
    """Join the study in this process and work until there is nothing to do.

    Returns:
        The exit code: 0, or 128 + the signal that ``stop`` received.

    Raises:
        HpoJobError: what the user can fix; it says how in one line.
    """
    os.environ.setdefault("OMP_NUM_THREADS", str(job.machine.threads))  # for later imports
    progress = Progress.from_environment()
    with progress.kept(), stop.listening(), threadpool_limits(job.machine.threads):
        try:
            with stop.breaking():
                checked = check(job.spec, job.weights, job.machine.cache)
                study, storage = join(checked, job.storage, job.grace, same_study=job.same_study)
        except Stopped:
            return stop.exit_code
        stop.hurry = storage.hurry
        try:
            with storage.reaching():
                lr_find.ensure(checked, study, storage, stop, job.machine, job.grace)
                patience = math.inf if job.wait else job.grace + SLACK
                refusal = work(checked, study, storage, stop, job.machine, patience, progress)
        except StorageError as error:
            if not stop.requested:
                raise
            # Asked to stop while the server is away: the trial is lost, and another repairs it.
            log.warning("%s", error)
            return stop.exit_code
        log.info("%s", f"done: {refusal.value}" if refusal else f"stopped: {stop.reason}")
    return stop.exit_code


def run_workers(
    job: Job,
    count: int,
    stop: Stop,
    on_watch: Callable[[], None],
    printer: Printer | None = None,
) -> int:
    """Run ``count`` worker processes until they end.

    Args:
        job: what each of them works on.
        count: how many.
        stop: is passed on to them.
        on_watch: is called every now and then, and once more at the end.
        printer: prints what they write.

    Returns:
        The worst exit code of the workers, or 128 + the signal where ``stop`` ended them.
    """
    # A fresh interpreter each: torch must not be forked once it has started its threads.
    context = multiprocessing.get_context("spawn")
    resource_tracker.ensure_running()  # its own start would unblock the signals below

    relay = Relay(printer or Printer())

    def start(gpu: str | None) -> SpawnProcess:
        reader, writer = context.Pipe(duplex=False)
        process = context.Process(target=_work_in_child, args=(job, gpu, reader, writer))
        # Signals to the child wait until it listens; else they would end its imports in a traceback
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, REASONS)
        try:
            process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        writer.close()
        relay.add(reader)
        return process

    assigned = gpus.share(job.gpus, count)
    with stop.listening():
        workers: list[SpawnProcess] = []
        try:
            workers.extend(map(start, assigned))
            _watch(workers, lambda position: start(assigned[position]), stop, on_watch)
        except KeyboardInterrupt:  # the second Ctrl-C
            for worker in workers:
                worker.kill()
        except BaseException:  # nobody watches them any more: the terminal is gone, or the storage
            for worker in workers:
                worker.terminate()
            raise
    relay.close()
    on_watch()
    return stop.exit_code or max(_exit_code(worker) for worker in workers)


def _watch(
    workers: list[SpawnProcess],
    start: Callable[[int], SpawnProcess],
    stop: Stop,
    on_watch: Callable[[], None],
) -> None:
    """Wait for the workers; pass a signal on to them, and replace those that were killed."""
    restarts = RESTARTS * len(workers)
    passed_on = False
    while True:
        on_watch()
        time.sleep(WATCH)
        if stop.requested and not passed_on:
            passed_on = True
            log.warning("stopping the workers; press Ctrl-C again to kill them")
            for worker in workers:
                if worker.is_alive() and worker.pid:
                    os.kill(worker.pid, stop.requested)
        for position, worker in enumerate(workers):
            if (worker.exitcode or 0) < 0 and restarts and not stop.requested:
                restarts -= 1
                name = signal.Signals(-(worker.exitcode or 0)).name
                log.warning("worker %s was killed (%s); another takes its place", worker.pid, name)
                workers[position] = start(position)
        if not any(worker.is_alive() for worker in workers):
            return


def _exit_code(worker: SpawnProcess) -> int:
    code = worker.exitcode or 0
    return code if code >= 0 else 128 - code


def _work_in_child(job: Job, gpu: str | None, reader: Connection, writer: Connection) -> None:
    """Run a worker process, in a session of its own: Ctrl-C reaches it through its parent only.

    ``reader`` stays open here: if the parent was killed, a write would raise BrokenPipeError in an
    objective, before `_end_with_parent` ends the trial.
    """
    os.setsid()
    if gpu is not None:
        gpus.assign(gpu)
    os.environ.pop(OWNER, None)  # several workers in one pod do not succeed each other
    threading.Thread(target=_end_with_parent, daemon=True).start()
    listen(write_to(writer), logging.INFO)
    try:
        code = run_worker(job, Stop())
    except HpoJobError as error:
        log.error("%s", error)
        code = error.exit_code
    except Exception as error:
        log.critical("unexpected error", exc_info=error)
        code = 1
    sys.exit(code)


def _end_with_parent() -> None:
    """Stop this worker as a SIGTERM would when its parent dies: nobody would watch it."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
