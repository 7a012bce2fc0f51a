"""Several workers in one pod, which share its GPUs: `[cluster] workers_per_gpu` of study.toml.

Guaranteed: the pod ends as one with a single worker does: with exit code 143 after a SIGTERM, once
all trials are broken off and recorded; with 0 when nothing is left to start; else with the worst of
its workers' exit codes, so that its index fails, or its Job where no retry can help. A worker that
is killed is replaced, as in `hpo-job run`.
"""

from __future__ import annotations

import signal

from hpo_job.worker.disk import Disk, end_if_full
from hpo_job.worker.job import Job
from hpo_job.worker.output import Printer
from hpo_job.worker.processes import Workers
from hpo_job.worker.signals import Stop


def run_pod(job: Job, count: int, stop: Stop, printer: Printer) -> int:
    """Run ``count`` workers in this pod until they end; the exit code.

    Raises:
        HpoJobError: the study cannot be run, or the pod is evicted because its disk is full.
    """
    disk = Disk.from_environment()
    with Workers(job, count, printer, fork=True) as workers:
        code = workers.run(stop, _nothing)
    if stop.requested == signal.SIGTERM:
        end_if_full(disk.cause_of_eviction())
    return code


def _nothing() -> None:
    """Show nothing while the workers run: their log says what they do."""
