"""What one worker process does: it joins a study, and works until there is nothing to do."""

from __future__ import annotations

import logging
import math
import os
import signal
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from hpo_job import objectives
from hpo_job.errors import StorageError
from hpo_job.machine import collector_spared
from hpo_job.spec.study_toml import StudySpec
from hpo_job.storage import urls
from hpo_job.study.checking import Checked, check
from hpo_job.study.joining import join
from hpo_job.worker import lr_find
from hpo_job.worker.disk import Disk, end_if_full
from hpo_job.worker.liveness import Progress
from hpo_job.worker.loop import work
from hpo_job.worker.machine_share import Machine
from hpo_job.worker.signals import Stop, Stopped

SLACK = 5  # seconds beyond the grace, within which every live worker has sent a heartbeat
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

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "urls": urls.known()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        urls.learn(*state.pop("urls"))  # which file holds the password, how a tunnel is called
        vars(self).update(state)

    def sharing_gpu(self, workers: int) -> Job:
        """The same, for one of so many workers on one GPU."""
        return replace(self, machine=replace(self.machine, gpu_share=1 / workers))


def prepare(job: Job) -> Checked:
    """Check the job, and create its study unless it exists.

    Raises:
        HpoJobError: what the user can fix; it says how in one line.
    """
    checked = check(job.spec, job.weights, job.machine.cache)
    _, storage = join(checked, job.storage, job.grace, same_study=job.same_study)
    storage.close()
    return checked


def run_worker(
    job: Job, stop: Stop, checked: Checked | None = None, over: Connection | None = None
) -> int:
    """Join the study in this process and work until there is nothing to do.

    Args:
        job: what to work on.
        stop: asks for the end.
        checked: what `prepare` returned; None checks here.
        over: is at its end when another worker has ended: one that waits asks at once then.

    Returns:
        The exit code: 0, or 128 + the signal that ``stop`` received.

    Raises:
        HpoJobError: what the user can fix; it says how in one line.
    """
    os.environ.setdefault("OMP_NUM_THREADS", str(job.machine.threads))  # for later imports
    disk = Disk.from_environment()
    with disk.watched(stop.break_off):
        code = _run(job, stop, checked, over)
    if stop.requested == signal.SIGTERM:  # also the node's, before it evicts a pod of a full disk
        end_if_full(stop.fault or disk.cause_of_eviction())
    return code


def _run(job: Job, stop: Stop, checked: Checked | None, over: Connection | None) -> int:
    """As `run_worker`, without a look at the disk."""
    progress = Progress.from_environment()
    with progress.kept(), stop.listening(), threadpool_limits(job.machine.threads):
        try:
            with stop.breaking():
                checked = checked or check(job.spec, job.weights, job.machine.cache)
                objectives.load(job.spec)  # here, since the import of a function may take long
                study, storage = join(checked, job.storage, job.grace, same_study=job.same_study)
        except Stopped:
            end_if_full(stop.fault)
            return stop.exit_code
        stop.hurry = storage.hurry
        try:
            with storage.reaching():
                lr_find.ensure(checked, study, storage, stop, job.machine, job.grace)
                patience = math.inf if job.wait else job.grace + SLACK
                machine = job.machine
                with collector_spared():
                    refusal = work(checked, study, storage, stop, machine, patience, progress, over)
        except StorageError as error:
            if not stop.requested:
                raise
            # Asked to stop while the server is away: the trial is lost, and another repairs it.
            log.warning("%s", error)
            return stop.exit_code
        log.info("%s", f"done: {refusal.value}" if refusal else f"stopped: {stop.reason}")
    return stop.exit_code
