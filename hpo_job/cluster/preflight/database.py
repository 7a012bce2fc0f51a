"""Whether workers could use the database: log in, write, and join or create the study."""

from __future__ import annotations

from dataclasses import replace

from hpo_job.cluster.client import Cluster
from hpo_job.cluster.credentials import credentials
from hpo_job.cluster.database import address, reachable
from hpo_job.cluster.preflight.ending import Ending
from hpo_job.cluster.preflight.findings import Findings
from hpo_job.cluster.refusals import ForbiddenError
from hpo_job.errors import ClusterError, StorageError, StudyError, UnreachableError, plural
from hpo_job.spec.study_toml import StudySpec
from hpo_job.storage.database import Storage, worker_capacity
from hpo_job.storage.defaults import PROMPT
from hpo_job.storage.mysql import require_can_create
from hpo_job.storage.tables import NoTablesError
from hpo_job.study.joining import require_joinable


def check_database(
    cluster: Cluster,
    secret: str,
    spec: StudySpec,
    more: int,
    findings: Findings,
    ended: Ending,
    *,
    same_study: bool = False,
) -> None:
    """Ask the workers' database itself, without changing anything in it.

    Args:
        cluster: where the workers will run.
        secret: the Secret with the database's URL.
        spec: the study that they will run.
        more: how many further workers there will be.
        findings: gets the result. A database that is not reached from this machine is only a
            warning: it may be reachable from the pods.
        ended: the pods whose workers are ended before, and leave their connections: those to
            this server, if they used it.
        same_study: whether the workers continue the study with another version of its function.

    Raises:
        ClusterError: every worker would fail, and why.
    """
    try:
        if not _is_same_server(cluster, secret, ended.secret):
            ended = replace(ended, workers=0)
        with reachable(cluster, secret) as url:
            _check(url, spec, more, findings, ended, same_study=same_study)
    except UnreachableError as error:
        findings.warnings.append(f"the database was not reached from here: {error}")
    except ForbiddenError as error:
        findings.warnings.append(f"the database was not checked: {error}")
    except StorageError as error:
        raise ClusterError(f"Secret {secret}: {error}") from error
    except StudyError as error:
        raise ClusterError(f"the workers could not join the study: {error}") from error


def _is_same_server(cluster: Cluster, secret: str, other: str | None) -> bool:
    """Whether two Secrets lead to the same server; assumed not, if the other cannot be read."""
    if other is None:
        return False
    if other == secret:
        return True
    try:
        theirs = address(credentials(cluster, other))
    except ClusterError:
        return False
    return theirs == address(credentials(cluster, secret))


def _check(
    url: str, spec: StudySpec, more: int, findings: Findings, ended: Ending, *, same_study: bool
) -> None:
    capacity = worker_capacity(url)
    if capacity is None:
        findings.warnings.append("the database was not checked: it is no MySQL server")
        return
    capacity += ended.workers
    if capacity < more:
        findings.warnings.append(
            f"the database has connections for {plural(capacity, ended.further)}; of {more}, "
            "some will wait for each other"
        )
    try:
        storage = Storage(url, patience=PROMPT, read_only=True)
    except NoTablesError:
        require_can_create(url)
    else:
        with storage.reaching():
            storage.require_writable()
            require_joinable(spec, storage, same_study=same_study)
        storage.close()
    findings.checked.append(f"database with connections for {plural(capacity, 'worker')}")
