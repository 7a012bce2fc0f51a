"""Submitting a job folder: render, the server's dry run, preflight, apply."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from hpo_job.cluster.client import Cluster, Object
from hpo_job.cluster.differences import accepted, replaced, require_same
from hpo_job.cluster.existing import delete_job, is_stopped
from hpo_job.cluster.names import KUSTOMIZATION, kustomization_of, worker_labels
from hpo_job.cluster.pods import is_over, pods_to_start
from hpo_job.cluster.preflight import preflight
from hpo_job.cluster.preflight.findings import Findings
from hpo_job.cluster.preflight.sharing import workers_in_pod
from hpo_job.cluster.refusals import adding
from hpo_job.cluster.render import check_files, check_namespace, placed, render, worker_job
from hpo_job.cluster.scaling import require_work_left, scaled_line
from hpo_job.errors import ClusterError, plural
from hpo_job.spec.study_toml import StudySpec


@dataclass(frozen=True)
class Plan:
    """What `submit` will send, and what the cluster has already.

    Attributes:
        study: its name.
        objects: everything that is sent, the Job included.
        job: the workers' Job among them.
        findings: of the preflight.
        there: the Job of this name that exists already.
        changed: what of that Job differs and cannot be changed in place; empty if nothing.
        in_each: how many workers each pod starts.
    """

    study: str
    objects: list[Object]
    job: Object
    findings: Findings
    there: Object | None
    changed: list[str]
    in_each: int = 1

    @property
    def over(self) -> bool:
        """Whether the existing Job has ended."""
        return self.there is not None and is_over(self.there)

    @property
    def ends(self) -> bool:
        """Whether the existing Job has to be deleted before this one starts."""
        return bool(self.changed) or self.over

    @property
    def workers(self) -> int:
        """How many pods the Job has; each is one worker, unless several share its GPU."""
        return int(self.job["spec"]["parallelism"])


def plan(
    cluster: Cluster,
    spec: StudySpec,
    workers: int | None,
    *,
    elsewhere: bool = False,
    nodes_may_come: bool = False,
    same_study: bool = False,
    replace: bool = True,
) -> Plan:
    """Render a job folder and check it against the cluster; nothing is changed.

    Args:
        cluster: where it will run.
        spec: the study of the job folder.
        workers: how many workers; if None, as many as the existing Job has, or the folder asks for.
        elsewhere: whether another namespace than the rendered one was asked for.
        nodes_may_come: see `preflight`.
        same_study: see `worker_job`.
        replace: whether an existing Job that has ended or differs may be deleted first. The trials
            that its workers run are interrupted and run again; trials in the database stay.

    Raises:
        ClusterError: something would keep it from running, or the existing Job has to be replaced,
            and may not be.
    """
    rendered = render(spec.folder)
    if not elsewhere:
        check_namespace(rendered, spec, cluster.namespace)
    rendered = placed(rendered, cluster.namespace)
    job = worker_job(rendered, spec, workers, same_study=same_study)
    check_files(rendered, spec)
    cluster.require_namespace()
    there = cluster.find("jobs", job["metadata"]["name"])
    if workers is None:
        _keep_workers(job, there)
    others = [thing for thing in rendered if thing["kind"] != "Job"]
    for thing in others:
        cluster.apply(thing, dry_run=True)
    as_accepted = accepted(cluster, job, there)
    changed, ended = replaced(cluster, there, job, others, same=as_accepted is not None)
    if there and not replace:
        require_same(there, changed)
    job = as_accepted or job
    more = int(job["spec"]["parallelism"])
    if there and not changed and not is_over(there):
        if more < int(there["spec"]["parallelism"]):
            require_work_left(cluster, there, more)
        more = pods_to_start(there, more)
    findings = preflight(cluster, job, spec, more, nodes_may_come=nodes_may_come, ended=ended)
    in_each = workers_in_pod(spec.cluster.workers_per_gpu, job["spec"]["template"]["spec"])
    plan = Plan(spec.name, [*others, job], job, findings, there, changed, in_each)
    findings.warnings += cluster.warnings
    differs = folder_differs(spec, rendered, int(job["spec"]["parallelism"]))
    findings.warnings += filter(None, [differs])
    if there is not None and not plan.ends and is_stopped(cluster, there):
        findings.warnings.append(f"the Job is stopped: hpo-job resume {spec.name} starts it again")
    return plan


def submit(
    cluster: Cluster, plan: Plan, *, announce: Callable[[str], None], warn: Callable[[str], None]
) -> None:
    """Apply a plan.

    Args:
        cluster: where.
        plan: from `plan`.
        announce: called with a line before anything that takes long or ends workers, and for each
            object that was created or configured, once it is.
        warn: called if something that is not needed any more could not be deleted.

    Raises:
        ClusterError: something was refused; also says so if a Job was deleted before.
    """
    name = plan.job["metadata"]["name"]
    if plan.ends:
        announce(f"replacing Job {name}: waiting until its workers have ended")
        delete_job(cluster, name)
        with adding(f"the old Job {name} is deleted; submit again to start the new one"):
            _apply(cluster, plan.objects, announce)
    else:
        _apply(cluster, plan.objects, announce)
        if plan.there and plan.workers != int(plan.there["spec"]["parallelism"]):
            announce(scaled_line(plan.there, plan.workers))
    try:
        _prune(cluster, plan)
    except ClusterError as error:
        warn(f"ConfigMaps of earlier submissions are left: {error}")


def _apply(cluster: Cluster, objects: Iterable[Object], announce: Callable[[str], None]) -> None:
    for thing in objects:
        created = cluster.apply(thing)
        kind, name = str(thing["kind"]).lower(), thing["metadata"]["name"]
        announce(f"{'created' if created else 'configured':<10} {kind}/{name}")


def _keep_workers(job: Object, there: Object | None) -> None:
    """Keep the number of workers that an existing Job was scaled to."""
    if there is not None and not is_over(there):
        now = int(there["spec"]["parallelism"])
        job["spec"].update(parallelism=now, completions=now)


def folder_differs(spec: StudySpec, rendered: list[Object], workers: int) -> str | None:
    """A warning if `kubectl apply -k` would change the number of workers.

    It cannot be kept from that: it writes every field of the folder's manifests.

    Args:
        spec: the study of the job folder.
        rendered: the folder's objects.
        workers: how many workers the Job has, or will have.
    """
    wanted = int(worker_job(rendered, spec, None)["spec"]["parallelism"])
    if wanted == workers:
        return None
    file = kustomization_of(spec.folder) or spec.folder / KUSTOMIZATION
    return (
        f"the Job has {plural(workers, 'worker')}, and {file} says {wanted}, which kubectl apply "
        f"-k would set: write {workers} there to keep them"
    )


def _prune(cluster: Cluster, plan: Plan) -> None:
    """Delete the study's ConfigMaps of earlier submissions."""
    labels = worker_labels(plan.study)
    kept = {thing["metadata"]["name"] for thing in plan.objects}
    for thing in cluster.list_objects("configmaps", **labels):
        if thing["metadata"]["name"] not in kept:
            cluster.delete("configmaps", thing["metadata"]["name"])
