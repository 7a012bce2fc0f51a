"""The commands that run a study: check, create, run, worker and status."""

from __future__ import annotations

import functools
import logging
import sys
from pathlib import Path
from typing import Any, cast

import click
from click.core import ParameterSource

from hpo_job.cli.opening import (
    cluster_database,
    connect,
    names_a_cluster,
    open_study,
    storage_option,
    url_from_options,
)
from hpo_job.cli.options import (
    F,
    MachineOptions,
    cache_option,
    format_option,
    grace_option,
    job_argument,
    log_options,
    machine_options,
    option,
    same_study_option,
    set_option,
    storage_options,
    study_argument,
    weights_option,
)
from hpo_job.cli.terminal import log_printer, put, show_log, warn
from hpo_job.errors import SpecError, StorageError, plural
from hpo_job.machine import collector_paused, sigterm_held, without_threads
from hpo_job.storage.defaults import PROMPT


@click.command()
@job_argument
@set_option
@storage_option
@weights_option
@cache_option
@format_option("text", "json", default="text", help_text="How the study is printed.")
def check_command(
    job: str, assignments: tuple[str, ...], storage: str, weights: Path, cache: Path, form: str
) -> None:
    """Validate a job, and print the study it describes.

    With --storage, also tries the rights that a worker needs there, without changing anything,
    and prints what an administrator has to do where one is missing; of a server, also how many
    more workers it has free connections for.
    """
    from hpo_job.cli.describe import describe, described_rights
    from hpo_job.cli.facts import as_json, of_check
    from hpo_job.spec.reading import read_spec
    from hpo_job.storage.database import try_rights, worker_capacity
    from hpo_job.storage.urls import embedded_url, parse, redacted_url
    from hpo_job.study.checking import check, inspect

    show_log()
    checked = inspect(check(read_spec(job, assignments), weights, cache, runs_elsewhere=True))
    rights = try_rights(storage) if storage != embedded_url() else None
    capacity = None if rights and rights.missing else worker_capacity(storage)
    if form == "json":
        put(as_json(of_check(checked, capacity, rights)))
    else:
        put("\n".join(describe(checked)))
        if capacity is not None:
            click.echo(f"server        has free connections for {plural(capacity, 'more worker')}")
        if rights:
            put("\n".join(described_rights(rights)))
    if rights and rights.missing:
        raise StorageError(f"storage {redacted_url(parse(storage))}: {rights.problem()}")


@click.command()
@job_argument
@storage_option
@weights_option
@cache_option
@same_study_option
def create_command(job: str, storage: str, weights: Path, cache: Path, same_study: bool) -> None:
    """Create a job's study without running any trial."""
    from hpo_job.spec.reading import read_spec
    from hpo_job.study.checking import check
    from hpo_job.study.joining import join

    show_log()
    checked = check(read_spec(job), weights, cache)
    study, opened = join(checked, storage, patience=PROMPT, same_study=same_study)
    click.echo(f"study {study.study_name} is ready in {opened}")


@click.command()
@job_argument
@set_option
@option(
    "--workers",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Number of worker processes.",
)
@option("--gpus", metavar="LIST", help="GPUs to use, such as 0,2.  [default: all]")
@option(
    "--workers-per-gpu",
    metavar="N",
    type=click.IntRange(min=1),
    help="Start N workers on each GPU; use it instead of --workers.",
)
@storage_option
@weights_option
@machine_options
@grace_option
@same_study_option
@log_options
def run_command(
    job: str,
    assignments: tuple[str, ...],
    workers: int,
    gpus: str | None,
    workers_per_gpu: int | None,
    storage: str,
    weights: Path,
    machine: MachineOptions,
    grace: int,
    same_study: bool,
    quiet: bool,
    verbose: bool,
    log_file: Path | None,
) -> None:
    """Run a job's study on this machine, and show its progress.

    Ends when the budget is used up. The same command continues an interrupted run. Ctrl-C ends
    the workers within one batch; a second Ctrl-C kills them at once.

    Where there are GPUs, each worker uses one of them, in turn.
    """
    with collector_paused(), without_threads():
        from hpo_job.spec.reading import read_spec
        from hpo_job.worker.job import Job
        from hpo_job.worker.processes import Workers

    chosen, workers = _gpus_and_workers(gpus, workers, workers_per_gpu)
    spec, usable = read_spec(job, assignments), machine.shared(workers)
    task = Job(spec, storage, weights, grace, usable, same_study=same_study, gpus=tuple(chosen))
    with (
        log_printer(logging.WARNING, quiet=quiet, verbose=verbose, log_file=log_file) as printer,
        Workers(task, workers, printer, fork=True) as started,
    ):
        with collector_paused():
            from hpo_job.cli.running import run  # while the other process imports too

        sys.exit(run(task, workers, started, printer, quiet=quiet))


def holding_sigterm(command: F) -> F:
    """Let a SIGTERM wait from the start of a command on, see `sigterm_held`."""

    @functools.wraps(command)
    def held(*arguments: Any, **options: Any) -> Any:
        with sigterm_held():
            return command(*arguments, **options)

    return cast(F, held)


@click.command()
@holding_sigterm
@job_argument
@set_option
@storage_option
@weights_option
@machine_options
@grace_option
@same_study_option
@log_options
@option(
    "--no-wait",
    is_flag=True,
    help="Exit when nothing is left to start, even if other workers are still running; use it "
    "where something else restarts lost workers.",
)
@option(
    "--gpus",
    metavar="LIST",
    help="Use the first of these GPUs.  [default: all, for a job's own function; else the first]",
)
def worker_command(
    job: str,
    assignments: tuple[str, ...],
    storage: str,
    weights: Path,
    machine: MachineOptions,
    grace: int,
    same_study: bool,
    quiet: bool,
    verbose: bool,
    log_file: Path | None,
    no_wait: bool,
    gpus: str | None,
) -> None:
    """Join a job's study as one worker: what each pod runs.

    Creates the study if it does not exist. In a pod of a Job it starts as many workers as
    [cluster] workers_per_gpu in study.toml says. Exit codes: 0 the budget is used up, 1 too many
    failed trials in a row, 2 an error that no retry can fix, 130 and 143 after Ctrl-C and
    SIGTERM.
    """
    with collector_paused(), without_threads():  # so that several workers can be forked
        from hpo_job.spec.reading import read_spec
        from hpo_job.storage.urls import show_by_host
        from hpo_job.study.workers import owner
        from hpo_job.worker.gpus import assign, available, choose
        from hpo_job.worker.job import Job, run_worker
        from hpo_job.worker.machine_share import workers_of_pod
        from hpo_job.worker.signals import Stop

    if gpus is not None:  # before torch is imported
        assign(choose(gpus)[0])
    spec = read_spec(job, assignments)
    if owner():
        show_by_host(storage)
    shared = available() if spec.cluster.workers_per_gpu else []
    count = workers_of_pod(spec, shared)
    task = Job(
        spec,
        storage,
        weights,
        grace,
        machine.divided(count) if count > 1 else machine.shared(),
        wait=not no_wait,
        same_study=same_study,
        gpus=tuple(shared) if count > 1 else (),
    )
    with log_printer(logging.INFO, quiet=quiet, verbose=verbose, log_file=log_file) as printer:
        if count == 1:
            sys.exit(run_worker(task, Stop()))
        from hpo_job.worker.pod import run_pod

        sys.exit(run_pod(task, count, Stop(), printer))


@click.command()
@study_argument
@option("--watch", is_flag=True, help="Keep updating until the study is over, or Ctrl-C.")
@format_option("text", "json", default="text", help_text="How the study is printed.")
@storage_options
def status_command(
    study: str,
    watch: bool,
    form: str,
    storage: str | None,
    storage_file: Path | None,
    cluster: bool,
    namespace: str | None,
    context: str | None,
) -> None:
    """Show how far a study is, and what runs now.

    --watch waits for a study that is not there yet. With --cluster, also its Job and its pods:
    where they run, or why they do not. JSON has the study only.
    """
    from rich.console import Console

    from hpo_job import results
    from hpo_job.cli.facts import as_json, of_status
    from hpo_job.cli.watch import await_study
    from hpo_job.cli.watch import watch as keep_showing

    if watch and form == "json":
        raise click.UsageError("--watch and --format json: choose one")
    cluster = cluster or names_a_cluster()
    url = url_from_options(storage, storage_file, cluster=cluster)
    if cluster and form == "json":
        forwarded = cluster_database(connect(context, namespace, study), study)
        url = click.get_current_context().with_resource(forwarded)
    elif cluster:
        connection = connect(context, namespace, study)  # says it where the extra is missing
        from hpo_job.cli.cluster_status import show

        show_log()
        show(study, connection, results.overview, watch=watch)
        return
    if watch:
        await_study(study, url)
    with open_study(study, url, watched=watch) as (opened, _):
        if form == "json":
            put(as_json(of_status(opened)))
            return
        if watch:
            keep_showing(opened)
            return
        put("\n".join([f"study     {opened.study_name}", *results.overview(opened)]))
        running = results.running(opened)
        if running.row_count:
            click.echo()
            Console().print(running)


def _gpus_and_workers(
    names: str | None, workers: int, per_gpu: int | None
) -> tuple[list[str], int]:
    """The GPUs that workers take in turn, and how many workers there are."""
    from hpo_job.worker import gpus

    chosen = gpus.choose(names)
    if per_gpu is None:
        if names is None and workers < len(chosen):
            warn(
                f"{plural(len(chosen), 'GPU')} here, and {workers} used: one worker uses one GPU; "
                "start more with --workers or --workers-per-gpu"
            )
        return chosen, workers
    typed = [
        click.get_current_context().get_parameter_source(name) is ParameterSource.COMMANDLINE
        for name in ("workers", "workers_per_gpu")
    ]
    if all(typed):
        raise click.UsageError("--workers and --workers-per-gpu cannot be combined")
    if typed[0]:  # what is typed counts more than a variable
        return chosen, workers
    if not chosen:
        raise SpecError("--workers-per-gpu: no GPU here; use --workers")
    return chosen, per_gpu * len(chosen)


COMMANDS = (check_command, create_command, run_command, worker_command, status_command)
