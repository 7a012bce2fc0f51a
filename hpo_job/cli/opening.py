"""Studies, databases and clusters that a command opens as its options say."""

from __future__ import annotations

import functools
import shlex
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click
from click.core import ParameterSource

from hpo_job.cli.options import F, context_option, namespace_option, storage_options
from hpo_job.cli.terminal import show_log, warn
from hpo_job.errors import StorageError
from hpo_job.machine import without_threads
from hpo_job.storage.defaults import PROMPT

if TYPE_CHECKING:
    import optuna

    from hpo_job.cluster.client import Cluster
    from hpo_job.storage.database import Storage


@contextmanager
def open_study(
    name: str, url: str, *, read_only: bool = True, watched: bool = False
) -> Iterator[tuple[optuna.Study, Storage]]:
    """An existing study and its storage; no right to write is needed if ``read_only``.

    Raises:
        StudyError: there is no such study; also, in one line, what the database raises inside.
    """
    with open_studies([name], url, read_only=read_only, watched=watched) as ((study,), storage):
        yield study, storage


@contextmanager
def open_studies(
    names: Sequence[str], url: str, *, read_only: bool = True, watched: bool = False
) -> Iterator[tuple[list[optuna.Study], Storage]]:
    """Several studies of one storage; one that is named twice is opened once.

    Args:
        names: names of studies, or job folders.
        url: of their database.
        read_only: whether nothing is written; no right to write is needed then.
        watched: whether they are read again and again, to see what has changed.
    """
    from hpo_job.storage.database import Storage
    from hpo_job.study.joining import load, named

    show_log()
    once = read_only and not watched
    storage = Storage(url, patience=PROMPT, read_only=read_only, once=once)
    with closing(storage), storage.reaching():
        unique = dict.fromkeys(named(name, storage) for name in names)
        yield [load(name, storage) for name in unique], storage


def storage_option(command: F) -> F:
    """Which database holds the studies, as the one argument ``storage``: its URL."""

    @storage_options
    @functools.wraps(command)
    def with_url(
        *arguments: Any,
        storage: str | None,
        storage_file: Path | None,
        cluster: bool,
        namespace: str | None,
        context: str | None,
        **others: Any,
    ) -> Any:
        cluster = cluster or names_a_cluster()
        url = url_from_options(storage, storage_file, cluster=cluster)
        if cluster:
            (study, *_) = others.get("studies") or [others.get("study") or others.get("job")]
            forwarded = cluster_database(connect(context, namespace, study), study)
            url = click.get_current_context().with_resource(forwarded)
        return command(*arguments, storage=url, **others)

    return cast(F, with_url)


def names_a_cluster() -> bool:
    """Whether -n or --context was typed, which mean nothing without --cluster."""
    source = click.get_current_context().get_parameter_source
    return any(source(name) is ParameterSource.COMMANDLINE for name in ("namespace", "context"))


def url_from_options(storage: str | None, storage_file: Path | None, *, cluster: bool) -> str:
    """The URL of --storage or --storage-file, or of the database in this folder.

    Warns where the password would be sent as plain text.

    Raises:
        StorageError: more than one of these options names a database.
    """
    with without_threads():  # so that `run` can be forked
        from hpo_job.storage.database import warning
        from hpo_job.storage.urls import embedded_url, storage_url

    url = storage_url(storage, storage_file)
    if cluster and url:
        raise StorageError(
            "storage: set twice, by --cluster (HPO_JOB_CLUSTER) and by --storage "
            "(HPO_JOB_STORAGE, HPO_JOB_STORAGE_FILE); use one of them"
        )
    if url and (line := warning(url)):
        warn(line)
    return url or embedded_url()


def cluster_option(command: F) -> F:
    """Which cluster and namespace, as the one argument ``cluster``."""

    @namespace_option
    @context_option
    @functools.wraps(command)
    def with_cluster(
        *arguments: Any, namespace: str | None, context: str | None, **others: Any
    ) -> Any:
        return command(*arguments, cluster=connect(context, namespace, others.get("job")), **others)

    return cast(F, with_cluster)


def connect(context: str | None, namespace: str | None, job: str | None = None) -> Cluster:
    """The cluster of a kubeconfig, in ``namespace``, or in the one that the job's clone names.

    Raises:
        ClusterError: the kubeconfig, or a kustomization.yaml, cannot be used.
    """
    from hpo_job.cluster.client import Cluster
    from hpo_job.cluster.names import namespace_of

    return Cluster(context, namespace_of(namespace, job))


@contextmanager
def cluster_database(
    cluster: Cluster, study: str | None = None, *, own: bool = False
) -> Iterator[str]:
    """The URL of a study's database on the cluster, which is reachable until this is closed.

    With ``own`` it is never that of another study's Job.
    """
    from hpo_job.cluster.database import reachable

    with reachable(cluster, study=study, own=own) as url:
        yield url


def same_database() -> str | None:
    """The options that lead another command to the database of this one, as they were typed.

    Returns:
        None where they hold a secret, which must not be printed; what a variable says holds anyway.
    """
    from hpo_job.storage.urls import holds_secret, parse

    context = click.get_current_context()
    typed = {
        name: value
        for name, value in context.params.items()
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE
    }
    url = typed.get("storage")
    if url and holds_secret(parse(url)):
        return None
    options = {
        "--storage": url,
        "--storage-file": typed.get("storage_file"),
        "--context": typed.get("context"),
        "-n": typed.get("namespace"),
    }
    texts = [f" {name} {shlex.quote(str(value))}" for name, value in options.items() if value]
    return "".join([" --cluster" if typed.get("cluster") else "", *texts])


def same_place(cluster: Cluster, study: str | None = None) -> str:
    """The options that lead another command to the cluster and namespace of this one.

    Args:
        cluster: where this command went.
        study: what the other command gets as its argument, where this one got a job folder.
    """
    from hpo_job.cluster.names import namespace_of

    typed = click.get_current_context().params
    same = namespace_of(None, study) == namespace_of(None, typed.get("job"))
    namespace = typed.get("namespace") or (None if same else cluster.namespace)
    options = [("--context", typed.get("context")), ("-n", namespace)]
    return "".join(f" {name} {value}" for name, value in options if value)
