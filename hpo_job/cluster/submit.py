"""Submitting a job folder: render, the server's dry run, preflight, apply; scale, stop, delete."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import PurePosixPath

from hpo_job import objectives
from hpo_job.cluster.client import Cluster, ImmutableError, Object
from hpo_job.cluster.names import QUEUE, SUFFIX, check_job_name, worker_labels
from hpo_job.cluster.pods import index, indexes_in, is_over, pods_of
from hpo_job.cluster.preflight import Findings, preflight
from hpo_job.cluster.render import check_files, check_namespace, placed, render, worker_job
from hpo_job.errors import ClusterError
from hpo_job.spec.study_toml import StudySpec

GONE = 300  # seconds for the pods of a replaced Job to break off their trials and end
STUDY = "study"  # the volume, and the ConfigMap, with the job folder's files


@dataclass(frozen=True)
class Plan:
    """What `submit` would send, and what it has found on the cluster.

    there: the Job of this name that is there already.
    changed: what of it differs; empty where nothing does, or there is none.
    """

    study: str
    objects: list[Object]
    job: Object
    found: Findings
    there: Object | None
    changed: list[str]

    @property
    def over(self) -> bool:
        """Whether the Job that is there has ended."""
        return self.there is not None and is_over(self.there)

    @property
    def ends(self) -> bool:
        """Whether the Job that is there has to go before this one starts."""
        return bool(self.changed) or self.over

    @property
    def workers(self) -> int:
        return int(self.job["spec"]["parallelism"])


def plan(
    cluster: Cluster,
    spec: StudySpec,
    workers: int | None,
    *,
    elsewhere: bool = False,
    nodes_may_come: bool = False,
) -> Plan:
    """Render a job folder and let the cluster judge it; nothing is changed.

    elsewhere: whether it may go to another namespace than that it is rendered for.
    nodes_may_come: see `preflight`.

    Raises ClusterError for whatever would keep it from running.
    """
    rendered = render(spec.folder)
    if not elsewhere:
        check_namespace(rendered, spec, cluster.namespace)
    rendered = placed(rendered, cluster.namespace)
    job = worker_job(rendered, spec, workers)
    check_files(rendered, spec)
    objects = [job if thing["kind"] == "Job" else thing for thing in rendered]
    cluster.require_namespace()
    there = cluster.find("jobs", job["metadata"]["name"])
    kept = _keep_workers(job, there) if workers is None else None
    changed: list[str] = []
    for thing in objects:
        try:
            cluster.apply(thing, dry_run=True)
        except ImmutableError:
            if thing["kind"] != "Job" or there is None:
                raise
            if not _same_but_for_kueue(cluster, job, there):
                changed = _changes(cluster, there, objects)
    running = int((there or {}).get("status", {}).get("active", 0))
    found = preflight(cluster, job, running, nodes_may_come=nodes_may_come)
    plan = Plan(spec.name, objects, job, found, there, changed)
    found.warnings += cluster.warnings
    found.warnings += filter(None, (kept, _goes_with_its_pod(job, spec)))
    if there is not None and not plan.ends and _is_stopped(there):
        found.warnings.append(f"the Job is stopped: hpo-job resume {spec.name} starts it again")
    return plan


def submit(
    cluster: Cluster, plan: Plan, *, replace: bool, tell: Callable[[str], None]
) -> list[str]:
    """Apply a plan; what was created and configured, a line each.

    replace: whether a Job of the same name that is there, changed or over, is deleted first. What
        its workers run is broken off, and run again; trials in the database stay.
    """
    name = plan.job["metadata"]["name"]
    if plan.there and not replace:
        if plan.changed:
            raise ClusterError(
                f"Job {name} is there already, with another {', '.join(plan.changed)}; --replace "
                "ends it and starts this one (trials in the database stay)"
            )
        if plan.over:
            raise ClusterError(
                f"Job {name} has ended already; --replace starts it again (trials in the database "
                "stay, so it goes on where the study stands)"
            )
    if plan.ends:
        tell(f"replacing Job {name}: waiting until its workers have ended")
        delete_job(cluster, name)
    elif plan.there and plan.workers < (before := int(plan.there["spec"]["parallelism"])):
        _keep_the_last(cluster, plan.there, plan.workers)
        tell(f"job/{name}: {before} workers, {plan.workers} from now on")
    lines = [_applied(cluster, thing) for thing in plan.objects]
    _prune(cluster, plan)
    return lines


def scale(cluster: Cluster, study: str, workers: int) -> str:
    """Patch how many workers a Job has, up or down, while it runs; what was done.

    Raises ClusterError where that would end the Job while trials still run.
    """
    name = study + SUFFIX
    job = _job(cluster, name)
    check_job_name(name, workers)
    if is_over(job):
        raise ClusterError(f"Job {name} has ended; hpo-job submit --replace starts it again")
    before = int(job["spec"]["parallelism"])
    if workers < before:
        _keep_the_last(cluster, job, workers)
    cluster.patch("jobs", name, {"spec": {"parallelism": workers, "completions": workers}})
    return f"job/{name}: {before} workers, {workers} from now on"


def suspend(cluster: Cluster, study: str, *, stop: bool) -> str:
    """Stop a Job's workers, or start them again; what was done."""
    name = study + SUFFIX
    if is_over(_job(cluster, name)):
        raise ClusterError(f"Job {name} has ended; hpo-job submit --replace starts it again")
    cluster.patch("jobs", name, {"spec": {"suspend": stop}})
    return (
        f"job/{name}: {'stopped; what it runs is broken off, and run again' if stop else 'resumed'}"
    )


def delete(cluster: Cluster, study: str) -> list[str]:
    """Delete what was submitted for a study; what is gone. Trials in the database stay."""
    labels = worker_labels(study)
    gone = []
    for resource in ("jobs", "configmaps", "serviceaccounts"):
        for thing in cluster.all(resource, **labels):
            name = str(thing["metadata"]["name"])
            if resource == "jobs":
                delete_job(cluster, name)
            else:
                cluster.delete(resource, name)
            gone.append(f"{resource.removesuffix('s')}/{name}")
    if not gone:
        cluster.require_namespace()
        raise ClusterError(f"namespace {cluster.namespace}: nothing was submitted for {study}")
    return gone


def delete_job(cluster: Cluster, name: str, seconds: float = GONE) -> None:
    """Delete a Job, and wait until its pods have ended and are gone."""
    cluster.delete("jobs", name)
    deadline = time.monotonic() + seconds
    while cluster.find("jobs", name) is not None:
        if time.monotonic() > deadline:
            raise ClusterError(
                f"Job {name} is not gone after {seconds:.0f} s; see kubectl -n "
                f"{cluster.namespace} get pods -l batch.kubernetes.io/job-name={name}"
            )
        time.sleep(1)


def _keep_workers(job: Object, there: Object | None) -> str | None:
    """Let a Job that is there keep the workers that it was scaled to; says so if it does."""
    if there is None or is_over(there):
        return None
    wanted, now = job["spec"]["parallelism"], int(there["spec"]["parallelism"])
    if wanted == now:
        return None
    job["spec"].update(parallelism=now, completions=now)
    return (
        f"the Job keeps the {now} workers that it has; --workers {wanted} gives it those of "
        "its folder"
    )


def _same_but_for_kueue(cluster: Cluster, job: Object, there: Object) -> bool:
    """Whether a Job differs in nothing but the tolerations that Kueue has let it in with.

    Kueue adds those of the flavor that it has chosen; as a list, they would be taken away. If so,
    ``job`` loses its own: what somebody else has changed meanwhile is left alone then, and what
    nobody has cannot be taken away, so that a change of the folder is still found.
    """
    if QUEUE not in (there["metadata"].get("labels") or {}) or is_over(there):
        return False
    pod, admitted = (each["spec"]["template"]["spec"] for each in (job, there))
    wanted, given = pod.get("tolerations"), admitted.get("tolerations") or []
    if not wanted or not all(each in given for each in wanted):
        return False
    del pod["tolerations"]
    with suppress(ImmutableError):
        cluster.apply(job, dry_run=True)
        return True
    pod["tolerations"] = wanted
    return False


def _goes_with_its_pod(job: Object, spec: StudySpec) -> str | None:
    """A warning where the models that a study keeps are in a folder that its pods take along."""
    pod = job["spec"]["template"]["spec"]
    (worker, *_) = pod["containers"]
    places = {each["name"]: each.get("value") for each in worker.get("env") or []}
    store = spec.artifacts.store or places.get("HPO_JOB_ARTIFACTS")
    if objectives.is_function(spec) or not spec.artifacts.keep or not store or "://" in store:
        return None
    gone = {each["name"] for each in pod.get("volumes") or [] if "emptyDir" in each}
    for mount in worker.get("volumeMounts") or []:
        if mount["name"] in gone and PurePosixPath(store).is_relative_to(mount["mountPath"]):
            return (
                f"the models that it keeps, in {store}, go with their pods: name a bucket as "
                "[artifacts] store, or put the component cache into k8s/settings"
            )
    return None


def _is_stopped(job: Object) -> bool:
    """Whether somebody has stopped it; what waits in a queue of Kueue's is suspended as well."""
    queued = QUEUE in (job["metadata"].get("labels") or {})
    return bool(job["spec"].get("suspend")) and not queued


def _job(cluster: Cluster, name: str) -> Object:
    job = cluster.find("jobs", name)
    if job is None:
        cluster.require_namespace()
        raise ClusterError(
            f"namespace {cluster.namespace} has no Job {name}; hpo-job submit JOB makes it"
        )
    return job


def _keep_the_last(cluster: Cluster, job: Object, workers: int) -> None:
    """Raise ClusterError where every index that would stay has ended, while others still run."""
    status = job.get("status", {})
    ended = indexes_in(status.get("completedIndexes")) | indexes_in(status.get("failedIndexes"))
    if set(range(workers)) - ended:
        return
    name = job["metadata"]["name"]
    busy = [
        index(pod)
        for pod in pods_of(cluster, name)
        if pod.get("status", {}).get("phase") in ("Pending", "Running")
    ]
    raise ClusterError(
        f"Job {name}: with {workers} workers it would end at once, since those have ended, and "
        f"break off what runs in index {', '.join(map(str, sorted(busy)))}; it ends by itself once "
        "nothing is left to start"
    )


def _applied(cluster: Cluster, thing: Object) -> str:
    created = cluster.apply(thing)
    kind, name = str(thing["kind"]).lower(), thing["metadata"]["name"]
    return f"{'created' if created else 'configured':<10} {kind}/{name}"


def _prune(cluster: Cluster, plan: Plan) -> None:
    """Delete the ConfigMaps of this study that no pod reads any more."""
    labels = worker_labels(plan.study)
    kept = {thing["metadata"]["name"] for thing in plan.objects}
    for thing in cluster.all("configmaps", **labels):
        if thing["metadata"]["name"] not in kept:
            cluster.delete("configmaps", thing["metadata"]["name"])


def _changes(cluster: Cluster, there: Object, objects: Iterable[Object]) -> list[str]:
    """What of a Job's files differs; its pod template, where none of them does."""
    before = _files(cluster, there)
    now: dict[str, str] = {}
    for thing in objects:
        if thing["kind"] == "ConfigMap":
            now |= thing.get("data") or {}
    names = [name for name in sorted({*before, *now}) if before.get(name) != now.get(name)]
    return names or ["pod template (image, resources or settings)"]


def _files(cluster: Cluster, job: Object) -> dict[str, str]:
    for volume in job["spec"]["template"]["spec"].get("volumes", []):
        if volume["name"] == STUDY and "configMap" in volume:
            config = cluster.find("configmaps", volume["configMap"]["name"])
            return dict((config or {}).get("data") or {})
    return {}
