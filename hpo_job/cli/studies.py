"""The commands of a study's life: check, create, run, worker, status; and its weights."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from hpo_job.cli.common import (
    PROMPT,
    connect,
    given_url,
    grace_option,
    job_argument,
    machine_options,
    names_a_cluster,
    program,
    storage_option,
    storage_options,
    study_argument,
    weights_option,
)
from hpo_job.cli.common import loaded as _loaded
from hpo_job.cli.common import log as _log
from hpo_job.cli.common import url_of as _url
from hpo_job.cli.common import warn as _warn
from hpo_job.cli.kubernetes import show
from hpo_job.cli.options import option


@click.command()
@job_argument
@storage_option
@weights_option
def check(job: str, storage: str | None, weights: Path) -> None:
    """Validate a job, and print the study it describes.

    With a MySQL server as --storage, also how many workers it carries now.
    """
    from hpo_job.cli.describe import describe
    from hpo_job.spec.study_toml import read_spec
    from hpo_job.study import checking

    checked = checking.check(read_spec(job), weights)
    checking.require_readable(checked)
    click.echo("\n".join(describe(checked)))
    carried = _worker_capacity(storage)
    if carried is not None:
        click.echo(f"server        has connections for {carried} workers")


@click.command()
@job_argument
@storage_option
@weights_option
def create(job: str, storage: str | None, weights: Path) -> None:
    """Create a job's study, without running any of it."""
    from hpo_job.spec.study_toml import read_spec
    from hpo_job.study import checking
    from hpo_job.study import joining as studies

    _log("WARNING")
    checked = checking.check(read_spec(job), weights)
    study, opened = studies.join(checked, _url(storage), patience=PROMPT)
    click.echo(f"study {study.study_name} is ready in {opened}")


@click.command()
@job_argument
@option("--workers", type=click.IntRange(min=1), default=1, show_default=True, help="Processes.")
@storage_option
@weights_option
@machine_options
@grace_option
def run(
    job: str,
    workers: int,
    storage: str | None,
    weights: Path,
    threads: int | None,
    cache: Path,
    artifacts: str,
    grace: int,
) -> None:
    """Run a job's study on this machine, and show how it goes.

    Ends when the budget is used up; a rerun goes on where an interrupted run stopped. Ctrl-C ends
    the workers within one batch; a second one does not wait.
    """
    from hpo_job.cli.progress import Progress
    from hpo_job.machine import cpus
    from hpo_job.spec.study_toml import read_spec
    from hpo_job.study import checking
    from hpo_job.study import joining as studies
    from hpo_job.worker.loop import Machine
    from hpo_job.worker.processes import Job, run_workers
    from hpo_job.worker.signals import Stop

    _log("WARNING")
    spec = read_spec(job)
    checked = checking.check(spec, weights, cache)
    carried = _worker_capacity(storage)
    if carried is not None and workers >= carried:  # one more shows how it goes
        _warn(
            f"the server has connections for {carried} workers now; with {workers}, some will "
            "wait for each other"
        )
    study, opened = studies.join(checked, _url(storage), grace)
    with opened.reaching():
        machine = Machine(threads or max(1, cpus() // workers), cache, artifacts)
        told = Job(spec, _url(storage), weights, grace, machine)
        with Progress(study, workers) as progress:
            code = run_workers(told, workers, Stop(), progress.look)
        click.echo("\n".join(progress.summary(program())))
    sys.exit(code)


@click.command()
@job_argument
@storage_option
@weights_option
@machine_options
@grace_option
@option(
    "--no-wait",
    is_flag=True,
    help="End while other workers run all that is left: for a Job that starts a lost one again.",
)
def worker(
    job: str,
    storage: str | None,
    weights: Path,
    threads: int | None,
    cache: Path,
    artifacts: str,
    grace: int,
    no_wait: bool,
) -> None:
    """Join a job's study as one worker: what each pod runs.

    Creates the study where it does not exist. Exit codes: 0 the budget is used up, 1 too many
    failed trials in a row, 2 what no retry can mend, 130 and 143 after Ctrl-C and SIGTERM.
    """
    from hpo_job.machine import cpus
    from hpo_job.spec.study_toml import read_spec
    from hpo_job.worker.loop import Machine
    from hpo_job.worker.processes import Job, run_worker
    from hpo_job.worker.signals import Stop

    _log("INFO")
    machine = Machine(threads or cpus(), cache, artifacts)
    told = Job(read_spec(job), _url(storage), weights, grace, machine, not no_wait)
    sys.exit(run_worker(told, Stop()))


@click.command()
@study_argument
@option("--watch", is_flag=True, help="Go on showing it until it is over, or Ctrl-C.")
@storage_options
def status(
    study: str,
    watch: bool,
    storage: str | None,
    storage_file: Path | None,
    cluster: bool,
    namespace: str | None,
    context: str | None,
) -> None:
    """Show where a study stands, and what runs now.

    With --cluster, also its Job and its pods: where they run, and why they do not.
    """
    from rich.console import Console

    from hpo_job import results
    from hpo_job.cli.watch import watch as go_on

    cluster = cluster or names_a_cluster()
    url = given_url(storage, storage_file, cluster=cluster)
    if cluster:
        _log("WARNING")
        show(study, connect(context, namespace, study), results.overview, watch=watch)
        return
    with _loaded(study, url) as (found, _):
        if watch:
            go_on(found)
            return
        click.echo(f"study     {found.study_name}")
        click.echo("\n".join(results.overview(found)))
        running = results.running(found)
        if running.row_count:
            click.echo()
            Console().print(running)


@click.command("weights")
@click.argument("models", metavar="MODEL...", nargs=-1, required=True)
@weights_option
def weights_(models: tuple[str, ...], weights: Path) -> None:
    """Fetch pre-trained weights of models.

    As an image's build does; those that this machine has are not downloaded again. wt103-fwd is the
    language model that texts are learnt from.
    """
    from hpo_job import objectives
    from hpo_job.objectives.downloads import LANGUAGE_MODEL
    from hpo_job.objectives.images.weights import obtain

    for model in models:
        if model == LANGUAGE_MODEL:
            place = objectives.shipped("text_classification").text_weights.obtain(weights)
        else:
            place = obtain(model, weights)
        click.echo(f"{model}: {place}")


def _worker_capacity(storage: str | None) -> int | None:
    """How many more workers a server carries; None where there is no server to ask."""
    from hpo_job.storage.database import worker_capacity

    return worker_capacity(storage) if storage else None


COMMANDS = (check, create, run, worker, status, weights_)
