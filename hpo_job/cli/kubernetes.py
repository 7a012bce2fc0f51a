"""The commands for a Kubernetes cluster; the `kubernetes` client is imported when one runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hpo_job.cli.opening import cluster_option, connect, open_study, same_place, storage_option
from hpo_job.cli.options import (
    artifacts_option,
    job_argument,
    option,
    same_study_option,
    set_option,
    storage_options,
    trial_option,
)
from hpo_job.cli.terminal import program, put, warn
from hpo_job.errors import ClusterError
from hpo_job.machine import repository_root

if TYPE_CHECKING:
    from hpo_job.cluster.client import Cluster
    from hpo_job.cluster.submit import Plan

NEXT = {  # what to type after a submit, and what it shows
    "status {} --cluster --watch": "its progress",
    "logs {} -f": "what the workers write",
    "results {} --cluster": "every trial so far",
}


@click.command()
@job_argument
@set_option
@option(
    "--workers",
    type=click.IntRange(min=1),
    help="Number of pods that run at a time.  [default: that of JOB's kustomization.yaml]",
)
@option("--dry-run", is_flag=True, help="Print what would be sent, and whether it can run.")
@option(
    "--replace", is_flag=True, help="Delete the study's existing Job first, even if it still runs."
)
@option(
    "--nodes-may-come",
    is_flag=True,
    help="Submit even if no node could hold a worker: the cluster adds nodes on demand.",
)
@same_study_option
@cluster_option
def submit_command(
    job: str,
    assignments: tuple[str, ...],
    workers: int | None,
    dry_run: bool,
    replace: bool,
    nodes_may_come: bool,
    same_study: bool,
    cluster: Cluster,
) -> None:
    """Run a job's study on a Kubernetes cluster.

    Checks the study, renders its manifests, lets the server validate them (a dry run), checks
    whether the cluster has what they need, and applies them. kubectl apply -k JOB applies the
    same. With --dry-run, the manifests are printed, and everything else goes to stderr.
    """
    from hpo_job.cluster import render
    from hpo_job.cluster.submit import plan, submit
    from hpo_job.spec.reading import read_spec
    from hpo_job.study.checking import check_spec

    spec = read_spec(job, assignments)
    check_spec(spec)
    for line in spec.assignments:
        warn(f"--set {line}, instead of {spec.file}'s")
    with render.kustomization(spec, workers or 1, keep=not dry_run) as written:
        if written and not dry_run:
            warn(f"wrote {written}")
        elsewhere = bool(click.get_current_context().params.get("namespace"))
        planned = plan(
            cluster,
            spec,
            workers,
            elsewhere=elsewhere,
            nodes_may_come=nodes_may_come,
            same_study=same_study,
            replace=replace or dry_run,
        )
    click.echo(planned.findings.line(), err=dry_run)
    for line in planned.findings.warnings:
        warn(line)
    if dry_run:
        if planned.changed:
            warn(f"the existing Job has another {', '.join(planned.changed)}: add --replace")
        click.echo(render.manifest(planned.objects), nl=False)
        return
    lines = _what_is_next(cluster, planned, spec.name)  # before: it reads the settings
    submit(cluster, planned, announce=click.echo, warn=warn)
    for line in lines:
        click.echo(line)


def _what_is_next(cluster: Cluster, plan: Plan, study: str) -> list[str]:
    """What was started, and what to type after it."""
    from hpo_job.errors import plural

    image = plan.job["spec"]["template"]["spec"]["containers"][0]["image"]
    started = plural(plan.workers, "worker")
    if plan.in_each > 1:
        started = f"{plural(plan.workers, 'pod')} of {plan.in_each} workers each,"
    place = same_place(cluster, study)
    return [
        f"{started} of {image} in namespace {cluster.namespace}",
        "\nnext",
        *(f"  {program()} {each.format(study)}{place}   # {NEXT[each]}" for each in NEXT),
    ]


@click.command()
@job_argument
@click.argument("workers", metavar="N", type=click.IntRange(min=1))
@cluster_option
def scale_command(job: str, workers: int, cluster: Cluster) -> None:
    """Change how many workers a running study has on a cluster."""
    from hpo_job.cluster.names import study_of
    from hpo_job.cluster.scaling import scale

    differs = _folder_differs(job, workers)  # read before: it takes kubectl, and a folder to read
    line, warnings = scale(cluster, study_of(job), workers)
    click.echo(line)
    for warning in [*warnings, *differs]:
        warn(warning)


def _folder_differs(job: str, workers: int) -> list[str]:
    """A warning if `kubectl apply -k` would undo a scaling."""
    from hpo_job.cluster.names import kustomization_of
    from hpo_job.cluster.render import render
    from hpo_job.cluster.submit import folder_differs
    from hpo_job.spec.reading import find_job, read_spec

    folder = find_job(job)
    if folder is None or kustomization_of(folder) is None:
        return []
    try:
        warning = folder_differs(read_spec(folder), render(folder), workers)
    except ClusterError:  # its manifests are broken, which kubectl would say itself
        return []
    return [warning] if warning else []


@click.command()
@job_argument
@cluster_option
def stop_command(job: str, cluster: Cluster) -> None:
    """Stop a study's workers on a cluster.

    hpo-job resume starts them again.
    """
    _suspend(cluster, job, stop=True)


@click.command()
@job_argument
@cluster_option
def resume_command(job: str, cluster: Cluster) -> None:
    """Start the workers of a stopped study again."""
    _suspend(cluster, job, stop=False)


def _suspend(cluster: Cluster, job: str, *, stop: bool) -> None:
    from hpo_job.cluster.existing import suspend
    from hpo_job.cluster.names import study_of

    click.echo(suspend(cluster, study_of(job), stop=stop))


@click.command()
@job_argument
@option("--follow", "-f", is_flag=True, help="Keep printing until the Job has ended.")
@trial_option("Print what this trial printed, logged and warned of; no cluster is needed.")
@artifacts_option
@storage_options
def logs_command(job: str, follow: bool, trial: int | None, artifacts: str, **place: Any) -> None:
    """Print the log lines of workers on a cluster, or of one trial.

    The log of a trial, its traceback included, is kept in the artifact store with the models;
    of a long one its beginning and its end.
    """
    from hpo_job.cluster.logs import followed, written
    from hpo_job.cluster.names import SUFFIX, study_of

    if trial is not None:
        _print_log(study=job, trial=trial, artifacts=artifacts, **place)
        return
    cluster = connect(place["context"], place["namespace"], job)
    name = study_of(job) + SUFFIX
    if cluster.find("jobs", name) is None:
        cluster.require_namespace()
        raise ClusterError(f"namespace {cluster.namespace} has no Job {name}")
    for line in (followed if follow else written)(cluster, name):
        click.echo(line)


@storage_option
def _print_log(study: str, trial: int, artifacts: str, storage: str) -> None:
    from hpo_job.artifacts.trial_logs import read_log
    from hpo_job.results.trials import trial_of

    with open_study(study, storage) as (opened, _):
        put(read_log(opened, trial_of(opened, trial), artifacts).removesuffix("\n"))


@click.command()
@option("--dry-run", is_flag=True, help="Only print what would be sent; creates no Secret.")
@option(
    "--rotate",
    is_flag=True,
    help="Change the passwords and the certificate of a database that runs; workers go on.",
)
@cluster_option
def database_command(dry_run: bool, rotate: bool, cluster: Cluster) -> None:
    """Run a MySQL server on the cluster.

    Creates the Secret hpo-job-mysql (new passwords and a certificate) and the workers' Secret
    that k8s/settings names, unless they exist; applies k8s/mysql; and waits until the server is
    ready.
    """
    from hpo_job.cluster.names import secret_of_settings
    from hpo_job.cluster.render import manifest, placed, render
    from hpo_job.cluster.repository import manifests_above
    from hpo_job.cluster.server import make_secrets, wait_ready

    if rotate:
        _rotate(cluster)
        return
    folder = manifests_above(Path.cwd(), "mysql")
    if folder is None:
        raise ClusterError(
            "no k8s/mysql here or in a folder above; hpo-job init --cluster copies k8s/ into the "
            "repository that you are in"
        )
    objects = placed(render(folder), cluster.namespace)
    cluster.require_namespace()
    if dry_run:
        for each in objects:
            cluster.apply(each, dry_run=True)
        click.echo(manifest(objects), nl=False)
        return
    secret, place = secret_of_settings(), same_place(cluster)
    for name in make_secrets(cluster, secret):
        click.echo(f"created    secret/{name}")
    for each in objects:
        cluster.apply(each)
        click.echo(f"applied    {each['kind'].lower()}/{each['metadata']['name']}")
    click.echo("waiting until the database is ready")
    wait_ready(cluster, secret, announce=click.echo)
    click.echo(f"the database is ready; next: {program()} submit JOB{place}")


def _rotate(cluster: Cluster) -> None:
    from hpo_job.cluster.names import secret_of_settings
    from hpo_job.cluster.rotation import rotate

    rotate(cluster, secret_of_settings(), click.echo)
    click.echo("the database has new passwords and a new certificate")


def lay_manifests_here() -> None:
    """Copy k8s/ into the repository of the working folder, and say what comes next."""
    from hpo_job.cluster.repository import lay_manifests
    from hpo_job.errors import plural

    root = Path(os.path.relpath(repository_root() or Path.cwd()))
    laid = lay_manifests(root)
    for file in laid.kept:
        click.echo(f"kept          {root / file}: it differs from the one of this version")
    if laid.written:
        click.echo(f"wrote         {root / 'k8s'} ({plural(len(laid.written), 'file')})")
    else:
        click.echo(f"{root / 'k8s'} is there already")
    click.echo(f"\nnext\n  edit {root / 'k8s/settings/kustomization.yaml'}   # image, resources")
    click.echo(f"  kubectl apply -k {root / 'k8s/cluster'}   # the namespace")
    click.echo(f"  {program()} database   # a MySQL server, if you have none")
    click.echo(f"  {program()} submit JOB")


COMMANDS = (
    submit_command,
    scale_command,
    stop_command,
    resume_command,
    logs_command,
    database_command,
)
