"""How a Job that exists differs from the one that is submitted, and what replacing it ends."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from copy import deepcopy

from hpo_job.cluster.client import MANAGER, Cluster, Object
from hpo_job.cluster.existing import how_over
from hpo_job.cluster.pods import is_over
from hpo_job.cluster.preflight.ending import NOTHING, Ending, ending
from hpo_job.cluster.queue import KUEUE, queue_of
from hpo_job.cluster.refusals import ExistsError, ImmutableError, QuotaError
from hpo_job.errors import ClusterError
from hpo_job.spec.study_toml import SPEC_FILE

STUDY = "study"  # the volume, and the ConfigMap, with the job folder's files


def accepted(cluster: Cluster, job: Object, there: Object | None) -> Object | None:
    """The Job as the API server accepts it in a dry run, or None if the existing one differs.

    Kueue adds tolerations to a Job that it admits. Applying the Job's own list would remove them,
    which cannot be done to a Job that has started; so the list is left out if it is unchanged
    otherwise. Server-side apply then keeps what others have set, and still notices a toleration
    that was removed from the job folder.
    """
    candidates = [job]
    if there and (without := _without_tolerations(job, there)):
        candidates.append(without)
    for candidate in candidates:
        try:
            cluster.apply(candidate, dry_run=True)
        except ImmutableError:
            if there is None:
                raise
        else:
            return candidate
    return None


def replaced(
    cluster: Cluster, there: Object | None, job: Object, others: list[Object], *, same: bool
) -> tuple[list[str], Ending]:
    """What of the existing Job differs, and what is ended if it is replaced; nothing if it stays.

    Args:
        cluster: where.
        there: the existing Job.
        job: the one that is sent.
        others: what else is sent.
        same: whether the existing one can be changed into it.
    """
    if there is None or (same and not is_over(there)):
        return [], NOTHING
    files = _files(cluster, there)
    if not same:
        _require_valid(cluster, job)
    changed = [] if same else _changes(files, there, job, others)
    return changed, ending(cluster, there, files.get(SPEC_FILE, ""))


def require_same(there: Object, changed: list[str]) -> None:
    """Raise ClusterError if the existing Job differs, or has ended."""
    name = there["metadata"]["name"]
    if changed:
        raise ClusterError(
            f"Job {name} exists already, with another {', '.join(changed)}; --replace ends it and "
            "starts this one (trials in the database stay)"
        )
    if is_over(there):
        raise ClusterError(
            f"Job {name} {how_over(there)} already; --replace starts it again (trials in the "
            "database stay, so it goes on where the study stands)"
        )


def _without_tolerations(job: Object, there: Object) -> Object | None:
    """The Job without its tolerations, if Kueue has admitted it with these and others."""
    if queue_of(there) is None or is_over(there):
        return None
    pod, admitted = (each["spec"]["template"]["spec"] for each in (job, there))
    wanted, present = pod.get("tolerations"), admitted.get("tolerations") or []
    if not wanted or not all(each in present for each in wanted):
        return None
    changed = deepcopy(job)
    del changed["spec"]["template"]["spec"]["tolerations"]
    return changed


def _require_valid(cluster: Cluster, job: Object) -> None:
    """Raise ClusterError if the Job would be refused once the one of its name has been deleted.

    That one cannot be changed into it, which the API server says before anything else that is
    wrong. Whether the name is taken, it asks last.
    """
    with suppress(ExistsError, QuotaError):  # a quota counts the one that exists, too
        cluster.create(job, dry_run=True)


def _changes(
    before: Mapping[str, str], there: Object, job: Object, objects: Iterable[Object]
) -> list[str]:
    """Which of a Job's files, or of what it asks of Kueue, differs; else its pod template does."""
    now: dict[str, str] = {}
    for thing in objects:
        if thing["kind"] == "ConfigMap":
            now |= thing.get("data") or {}
    names = [name for name in sorted({*before, *now}) if before.get(name) != now.get(name)]
    names += _of_kueue(there, job)
    return names or ["pod template (image, resources or settings)"]


def _of_kueue(there: Object, job: Object) -> list[str]:
    """Labels and annotations for Kueue that differ: it lets nobody change them on running Jobs."""
    names = set()
    for kind in ("labels", "annotations"):
        before, now = (each["metadata"].get(kind) or {} for each in (there, job))
        names |= {key for key in now if key.startswith(KUEUE) and now[key] != before.get(key)}
        names |= {key for key in _applied_keys(there, kind) if key not in now}
    return sorted(names)


def _applied_keys(there: Object, kind: str) -> Iterator[str]:
    """Kueue's labels or annotations that a Job has from hpo-job: leaving one out removes it."""
    for manager in there["metadata"].get("managedFields") or []:
        if (manager.get("manager"), manager.get("operation")) == (MANAGER, "Apply"):
            fields = manager.get("fieldsV1", {}).get("f:metadata", {}).get(f"f:{kind}", {})
            keys = (field.removeprefix("f:") for field in fields)
            yield from (key for key in keys if key.startswith(KUEUE))


def _files(cluster: Cluster, job: Object) -> dict[str, str]:
    for volume in job["spec"]["template"]["spec"].get("volumes", []):
        if volume["name"] == STUDY and "configMap" in volume:
            config = cluster.find("configmaps", volume["configMap"]["name"])
            return dict((config or {}).get("data") or {})
    return {}
