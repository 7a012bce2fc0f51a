"""``run``: prepares the study, starts the workers and shows them; or says that all is done."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import click
import optuna
from rich.console import Console

from hpo_job import results
from hpo_job.cli.describe import assigned
from hpo_job.cli.opening import same_database
from hpo_job.cli.progress import Progress, summary
from hpo_job.cli.terminal import program, warn
from hpo_job.errors import HpoJobError, StorageError, plural
from hpo_job.spec.study_toml import StudySpec
from hpo_job.storage.database import Storage, is_new, worker_capacity
from hpo_job.storage.defaults import PROMPT
from hpo_job.study.joining import find, load
from hpo_job.study.sameness import require_same_function
from hpo_job.trial import attributes
from hpo_job.worker.job import Job
from hpo_job.worker.output import Printer
from hpo_job.worker.processes import Workers
from hpo_job.worker.signals import Stop


def run(job: Job, count: int, workers: Workers, printer: Printer, *, quiet: bool) -> int:
    """Run a study in worker processes on this machine; the exit code.

    Args:
        job: what the workers do.
        count: how many there are.
        workers: runs them.
        printer: prints what they write.
        quiet: print warnings and errors only.
    """
    console = Console(highlight=False, quiet=quiet)
    for line in assigned(job.spec):
        console.print(line, markup=False, soft_wrap=True)
    before = state_before(job.spec, job.storage, same_study=job.same_study)
    if before.finished is not None:
        lines = summary(before.finished, program(), same_database())[1:]
        console.print("\n".join(lines), markup=False, soft_wrap=True)
        return 0
    stop = Stop()
    with Progress(console) as progress:
        progress.say(f"{job.spec.name}: reading the data, checking weights")
        view = _View(job, count, stop, progress, before.ended)
        try:
            code = workers.run(stop, view.look)
        except HpoJobError as error:
            if printer.has_printed(str(error)):  # a worker has met it as well
                return error.exit_code
            raise
    if view.study is not None and not quiet:
        click.echo("\n".join(view.summary()))
    return code


class _View:
    """What this process sees of the study, from when it exists.

    Attributes:
        study: the study; None until then.
    """

    def __init__(
        self,
        job: Job,
        workers: int,
        stop: Stop,
        progress: Progress,
        earlier: Collection[int] | None,
    ) -> None:
        self._job, self._workers, self._stop, self._progress = job, workers, stop, progress
        self._earlier = earlier
        self.study: optuna.Study | None = None

    def _open(self) -> None:
        _warn_of_few_connections(self._job.storage, self._workers)
        self._storage = Storage(self._job.storage, grace=self._job.grace)
        with self._storage.reaching():
            self.study = load(self._job.spec.name, self._storage)
            self._progress.follow(self.study, self._workers, self._is_stopping, self._earlier)

    def look(self) -> None:
        if self.study is None:  # here, while the workers start
            self._open()
        with self._storage.reaching():
            self._progress.look()

    def summary(self) -> list[str]:
        assert self.study is not None
        with self._storage.reaching():
            interrupted = self._is_stopping()
            return summary(self.study, program(), same_database(), interrupted=interrupted)

    def _is_stopping(self) -> bool:
        return self._stop.requested is not None


@dataclass(frozen=True)
class Before:
    """What there is of a study before a run.

    Attributes:
        finished: the study, if its budget is used up as the spec has it: there is nothing to run.
        ended: the numbers of its trials that have ended; None if the database did not say.
    """

    finished: optuna.Study | None = None
    ended: Collection[int] | None = ()


def state_before(spec: StudySpec, url: str, *, same_study: bool = False) -> Before:
    """What there is of the study before a run.

    Neither data nor weights are looked at, so that the answer takes no longer than a look.

    Raises:
        StudyError: it was created with another function, and ``same_study`` is not set.
    """
    if is_new(url):
        return Before()
    try:
        storage = Storage(url, patience=PROMPT, read_only=True)
    except StorageError:
        # has no tables yet, or is said by whoever opens it to write
        return Before(ended=None)
    ended: list[int] = []
    with storage.reaching():
        study = find(spec.name, storage)
        if study is not None:
            trials = study.get_trials(deepcopy=False)
            ended = [trial.number for trial in trials if trial.state.is_finished()]
        if study is not None and study.user_attrs.get(attributes.SPEC) == spec.stored():
            if not same_study:
                require_same_function(study.user_attrs, spec)
            if results.finished(study):
                return Before(study, ended)
    storage.close()  # its connection is one less for the workers
    return Before(ended=ended)


def _warn_of_few_connections(url: str, workers: int) -> None:
    capacity = worker_capacity(url)
    if capacity is not None and workers >= capacity:  # this process takes one more
        warn(
            f"the server has free connections for {plural(capacity, 'more worker')}; of {workers}, "
            "some will wait until others end"
        )
