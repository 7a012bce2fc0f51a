"""The commands for a Kubernetes cluster; the `kubernetes` client is imported when one runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from hpo_job.cli.common import job_argument, place_options, program, same_place
from hpo_job.cli.options import option

if TYPE_CHECKING:
    import optuna

    from hpo_job.cluster.client import Cluster

WATCH = 3.0  # seconds between two looks
NEXT = {  # what to type after a submit, and what it shows
    "status {} --cluster --watch": "how it goes",
    "logs {} -f": "what the workers write",
    "results {} --cluster": "every trial so far",
}


@click.command()
@job_argument
@option(
    "--workers",
    type=click.IntRange(min=1),
    help="Pods at a time.  [default: what JOB's kustomization.yaml says]",
)
@option("--dry-run", is_flag=True, help="Only say what would be sent, and whether it can run.")
@option(
    "--replace", is_flag=True, help="End a Job that is there, changed or over, and start this one."
)
@option(
    "--nodes-may-come", is_flag=True, help="Submit though no node has such GPUs: they are added."
)
@place_options
def submit(
    job: str,
    workers: int | None,
    dry_run: bool,
    replace: bool,
    nodes_may_come: bool,
    cluster: Cluster,
) -> None:
    """Run a job's study on a Kubernetes cluster.

    Checks, renders, asks for a dry run, looks what is missing, and applies. The same by hand is
    kubectl apply -k JOB. With --dry-run, the manifests are printed, and what was found goes to
    stderr.
    """
    from hpo_job.cluster import render
    from hpo_job.cluster import submit as submitting
    from hpo_job.cluster.wording import counted
    from hpo_job.spec.study_toml import read_spec
    from hpo_job.study import checking

    spec = read_spec(job)
    checking.check_spec(spec)
    with render.kustomization(spec, workers or 1, keep=not dry_run) as written:
        if written and not dry_run:
            click.echo(f"hpo-job: wrote {written}", err=True)
        elsewhere = bool(click.get_current_context().params.get("namespace"))
        plan = submitting.plan(
            cluster, spec, workers, elsewhere=elsewhere, nodes_may_come=nodes_may_come
        )
    click.echo(plan.findings.line(), err=dry_run)
    for line in plan.findings.warnings:
        click.echo(f"hpo-job: {line}", err=True)
    if dry_run:
        if plan.changed:
            click.echo(
                f"hpo-job: the Job that is there has another {', '.join(plan.changed)}: "
                "--replace is needed",
                err=True,
            )
        click.echo(render.manifest(plan.objects), nl=False)
        return
    for line in submitting.submit(cluster, plan, replace=replace, announce=click.echo):
        click.echo(line)
    image = plan.job["spec"]["template"]["spec"]["containers"][0]["image"]
    started = counted(plan.workers, "worker")
    click.echo(f"{started} of {image} in namespace {cluster.namespace}")
    click.echo("\nnext")
    there = same_place(cluster, spec.name)
    for command, shows in NEXT.items():
        click.echo(f"  {program()} {command.format(spec.name)}{there}   # {shows}")


@click.command()
@job_argument
@click.argument("workers", metavar="N", type=click.IntRange(min=1))
@place_options
def scale(job: str, workers: int, cluster: Cluster) -> None:
    """Give a study on a cluster N workers while it runs."""
    from hpo_job.cluster import submit as submitting
    from hpo_job.cluster.names import study_of

    click.echo(submitting.scale(cluster, study_of(job), workers))


def _suspending(name: str, text: str, *, stop: bool) -> click.Command:
    @click.command(name, help=text)
    @job_argument
    @place_options
    def command(job: str, cluster: Cluster) -> None:
        from hpo_job.cluster import submit as submitting
        from hpo_job.cluster.names import study_of

        click.echo(submitting.suspend(cluster, study_of(job), stop=stop))

    return command


stop = _suspending("stop", "Stop a study's workers.", stop=True)
resume = _suspending("resume", "Start a stopped study's workers again.", stop=False)


@click.command()
@job_argument
@place_options
def delete(job: str, cluster: Cluster) -> None:
    """Delete a study's Job from a cluster.

    Its trials in the database stay.
    """
    from hpo_job.cluster import submit as submitting
    from hpo_job.cluster.names import study_of

    for line in submitting.delete(cluster, study_of(job)):
        click.echo(f"deleted {line}")


@click.command()
@job_argument
@option("--follow", "-f", is_flag=True, help="Go on until the Job has ended.")
@place_options
def logs(job: str, follow: bool, cluster: Cluster) -> None:
    """Print what a study's workers write on a cluster."""
    from hpo_job.cluster.logs import followed, written
    from hpo_job.cluster.names import SUFFIX, study_of
    from hpo_job.errors import ClusterError

    name = study_of(job) + SUFFIX
    if cluster.find("jobs", name) is None:
        cluster.require_namespace()
        raise ClusterError(f"namespace {cluster.namespace} has no Job {name}")
    for line in (followed if follow else written)(cluster, name):
        click.echo(line)


@click.command()
@option("--dry-run", is_flag=True, help="Only print what would be sent; no Secret is made.")
@place_options
def database(dry_run: bool, cluster: Cluster) -> None:
    """Run a MySQL server on the cluster.

    Makes the Secrets hpo-job-mysql (new passwords and a certificate) and that of k8s/settings for
    the workers, unless they are there, applies k8s/mysql, and waits until the server is ready.
    """
    from pathlib import Path

    from hpo_job.cluster.names import secret_of_settings
    from hpo_job.cluster.render import manifest, placed, render
    from hpo_job.cluster.server import make_secrets, wait_ready
    from hpo_job.errors import ClusterError

    folder = Path("k8s/mysql")
    if not folder.is_dir():
        raise ClusterError("k8s/mysql: no such folder; run this in a clone of hpo-job")
    objects = placed(render(folder), cluster.namespace)
    cluster.require_namespace()
    if dry_run:
        for thing in objects:
            cluster.apply(thing, dry_run=True)
        click.echo(manifest(objects), nl=False)
        return
    for name in make_secrets(cluster, secret_of_settings()):
        click.echo(f"created    secret/{name}")
    for thing in objects:
        cluster.apply(thing)
        click.echo(f"applied    {thing['kind'].lower()}/{thing['metadata']['name']}")
    click.echo("waiting until the database is ready")
    wait_ready(cluster, announce=click.echo)
    click.echo(f"the database is ready; next: {program()} submit JOB{same_place(cluster)}")


COMMANDS = (submit, scale, stop, resume, delete, logs, database)


def show(
    job: str,
    cluster: Cluster,
    overview: Callable[[optuna.Study], list[str]],
    *,
    watch: bool,
) -> None:
    """Print one view of Job, pods and study; with ``watch``, over and over until it is over."""
    from rich.console import Console
    from rich.live import Live

    console = Console(highlight=False)
    if not watch:
        with _view(job, cluster, overview) as look:
            console.print(look()[0])
        return
    with _view(job, cluster, overview) as look, Live(console=console, auto_refresh=False) as live:
        shown, over = look()
        while True:
            live.update(shown, refresh=True)
            if over:
                return
            time.sleep(WATCH)
            shown, over = _or_problem(look)


def _or_problem(look: Callable[[], tuple[Any, bool]]) -> tuple[Any, bool]:
    """A look that a network which is away for a moment does not end."""
    from rich.text import Text

    from hpo_job.cluster.refusals import DeniedError
    from hpo_job.errors import ClusterError

    try:
        return look()
    except DeniedError:
        raise
    except ClusterError as error:
        return Text(f"{error}; trying again"), False


@contextmanager
def _view(
    job: str, cluster: Cluster, overview: Callable[[optuna.Study], list[str]]
) -> Iterator[Callable[[], tuple[Any, bool]]]:
    """What to call for a look: the view as something to print, and whether the Job is over.

    Where the database is not reached, that is said in the study's place, and tried again.
    """
    from contextlib import ExitStack

    from rich.console import Group
    from rich.text import Text

    from hpo_job.cluster import view
    from hpo_job.cluster.database import reachable
    from hpo_job.cluster.names import study_of
    from hpo_job.cluster.pods import is_over
    from hpo_job.errors import HpoJobError
    from hpo_job.storage.database import STORAGE_ERRORS, Storage
    from hpo_job.study import joining as studies

    name = study_of(job)
    with ExitStack() as stack:
        reached: list[str] = []
        opened: list[Storage] = []

        def study() -> optuna.Study:
            if not reached:
                reached.append(stack.enter_context(reachable(cluster, study=job)))
            if not opened:
                opened.append(Storage(reached[0], patience=5.0))
            return studies.load(name, opened[0])

        def look() -> tuple[Any, bool]:
            line, there = view.job_line(cluster, name)
            running: dict[int, str] = {}
            try:
                found = study()
                text = [f"study     {name}", *overview(found), *view.forecast(found)]
                running = view.running(found, there)
            except (HpoJobError, *STORAGE_ERRORS) as error:
                text = [f"study     {' '.join(str(error).split())}"]
            # the pods last: of many, the ones that a screen has no room for are left out
            parts: list[Any] = [Text(line), *map(Text, text)]
            if there is not None:
                parts += [Text(""), view.pods(cluster, there, running)]
            return Group(*parts), is_over(there)

        yield look
