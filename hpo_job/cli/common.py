"""What the commands share: the options of a storage, and a study that is opened by its name."""

from __future__ import annotations

import functools
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click
from click.core import ParameterSource

from hpo_job.cli.options import F, option
from hpo_job.errors import StorageError

if TYPE_CHECKING:
    import optuna

    from hpo_job.cluster.client import Cluster
    from hpo_job.storage.database import Storage

PROGRAMS = {"hpo-job": "hpo-job", "kubectl-hpo": "kubectl hpo"}  # as they are typed
PROMPT = 10.0  # seconds that a command which shows something waits for a server
METHODS = ("ped-anova", "fanova", "mean-decrease-impurity")  # as `results.importance` has them

job_argument = click.argument("job", metavar="JOB")
study_argument = click.argument("study", metavar="STUDY")
studies_argument = click.argument("studies", metavar="STUDY...", nargs=-1, required=True)


weights_option = option(
    "--weights",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".hpo/weights"),
    show_default=True,
    help="Where pre-trained weights are looked for first, and downloaded to.",
)
grace_option = option(
    "--grace",
    metavar="SECONDS",
    type=click.IntRange(min=2),
    default=60,
    show_default=True,
    help="A trial without a sign of life for so long is lost, and run again.",
)


artifacts_option = option(
    "--artifacts",
    metavar="URL",
    default=".hpo/artifacts",
    show_default=True,
    help="Folder, s3://bucket or gs://bucket for the best trials' models.",
)

method_option = option(
    "--method",
    type=click.Choice(METHODS),
    default=METHODS[0],
    show_default=True,
    help="How importances are computed.",
)


def machine_options(command: F) -> F:
    """What a worker may use of its machine: ``threads``, ``cache`` and ``artifacts``."""
    for decorate in (
        artifacts_option,
        option(
            "--cache",
            metavar="DIR",
            type=click.Path(file_okay=False, path_type=Path),
            default=Path(".hpo/cache"),
            show_default=True,
            help="Folder of what the workers of this machine share, such as tokenised text.",
        ),
        option(
            "--threads",
            type=click.IntRange(min=1),
            help="CPU threads of each worker.  [default: the CPUs, shared out]",
        ),
    ):
        command = decorate(command)
    return command


def storage_options(command: F) -> F:
    """Where the database of the studies is: options for `given_url`, or for a cluster."""
    for add in (
        option("--context", metavar="NAME", help="Of the kubeconfig, if not its current one."),
        option(
            "--namespace", "-n", metavar="NAME", help="On the cluster, if not k8s/settings' own."
        ),
        option(
            "--cluster",
            is_flag=True,
            help="That of the kubeconfig's cluster. -n and --context imply it.",
        ),
        option(
            "--storage-file",
            metavar="FILE",
            type=click.Path(dir_okay=False, path_type=Path),
            help="File that holds the URL instead, such as a mounted secret.",
        ),
        option(
            "--storage", metavar="URL", help="Database of the studies.  [default: .hpo/studies.db]"
        ),
    ):
        command = add(command)
    return command


def storage_option(command: F) -> F:
    """The database of the studies, as the one argument ``storage``: a URL, or None."""

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
        url = given_url(storage, storage_file, cluster=cluster)
        if cluster:
            (study, *_) = others.get("studies") or [others.get("study") or others.get("job")]
            reached = database_of(context, namespace, study)
            url = click.get_current_context().with_resource(reached)
        return command(*arguments, storage=url, **others)

    return cast(F, with_url)


def names_a_cluster() -> bool:
    """Whether -n or --context was typed, which mean nothing without --cluster."""
    source = click.get_current_context().get_parameter_source
    return any(source(name) is ParameterSource.COMMANDLINE for name in ("namespace", "context"))


def given_url(
    storage: str | None, storage_file: Path | None, *, cluster: bool = False
) -> str | None:
    """The URL of --storage or --storage-file, with a warning where it gives its password away.

    Raises StorageError where ``--cluster`` names a database as well.
    """
    from hpo_job.storage.database import warning
    from hpo_job.storage.urls import storage_url

    url = storage_url(storage, storage_file)
    if cluster and url:
        raise StorageError(
            "storage: given twice, as --cluster (HPO_JOB_CLUSTER) and as --storage "
            "(HPO_JOB_STORAGE, HPO_JOB_STORAGE_FILE); give one of them"
        )
    if url and (line := warning(url)):
        warn(line)
    return url


def place_options(command: F) -> F:
    """Which cluster and namespace, as the one argument ``cluster``."""

    @option(
        "--namespace", "-n", metavar="NAME", help="[default: as k8s/settings, or the context, says]"
    )
    @option("--context", metavar="NAME", help="Of the kubeconfig.  [default: its current one]")
    @functools.wraps(command)
    def with_cluster(
        *arguments: Any, namespace: str | None, context: str | None, **others: Any
    ) -> Any:
        return command(*arguments, cluster=connect(context, namespace, others.get("job")), **others)

    return cast(F, with_cluster)


def same_place(cluster: Cluster, study: str | None = None) -> str:
    """The options, to be written behind another command, that lead it to where this one went.

    study: what that command is given, where this one had a folder.
    """
    from hpo_job.cluster.names import namespace_of

    given = click.get_current_context().params
    here = namespace_of(None, study) == namespace_of(None, given.get("job"))
    namespace = given.get("namespace") or (None if here else cluster.namespace)
    words = [("--context", given.get("context")), ("-n", namespace)]
    return "".join(f" {option} {value}" for option, value in words if value)


def program() -> str:
    """How this command can be typed again."""
    typed = Path(sys.argv[0])
    if typed.name not in PROGRAMS:  # a Python that has called `main`
        return "hpo-job"
    if shutil.which(typed.name) == str(typed):
        return PROGRAMS[typed.name]
    try:
        return str(typed.relative_to(Path.cwd()))
    except ValueError:
        return str(typed)


def connect(context: str | None, namespace: str | None, job: str | None = None) -> Cluster:
    """The cluster of a kubeconfig, in the namespace that is given, or that of the job's clone.

    Raises ClusterError.
    """
    from hpo_job.cluster.client import Cluster
    from hpo_job.cluster.names import namespace_of

    return Cluster(context, namespace_of(namespace, job))


@contextmanager
def database_of(
    context: str | None, namespace: str | None, study: str | None = None
) -> Iterator[str]:
    """The URL of a study's database on the cluster, reached for as long as this is open."""
    from hpo_job.cluster.database import reachable

    with reachable(connect(context, namespace, study), study=study) as url:
        yield url


def output_option(what: str, **settings: Any) -> Callable[[F], F]:
    """Where a command writes ``what`` it makes, as the argument ``output``."""
    return option(
        "--output",
        "-o",
        metavar="FILE",
        type=click.Path(dir_okay=False, path_type=Path),
        help=what,
        **settings,
    )


def url_of(storage: str | None) -> str:
    """The URL of the storage that was asked for, or of the one in this folder."""
    from hpo_job.storage.database import EMBEDDED

    return storage or EMBEDDED


@contextmanager
def loaded(study: str, storage: str | None) -> Iterator[tuple[optuna.Study, Storage]]:
    """An existing study; what its database raises inside becomes a one-line error."""
    with all_loaded([study], storage) as ((found,), opened):
        yield found, opened


@contextmanager
def all_loaded(
    studies: Sequence[str], storage: str | None
) -> Iterator[tuple[list[optuna.Study], Storage]]:
    """Several studies of one storage, each once."""
    from hpo_job.storage.database import Storage
    from hpo_job.study import joining as rooms

    log("WARNING")
    opened = Storage(url_of(storage), patience=PROMPT)
    with opened.reaching():
        names = dict.fromkeys(rooms.named(study, opened) for study in studies)
        yield [rooms.load(name, opened) for name in names], opened


def warn(line: str) -> None:
    """One line on stderr."""
    click.echo(f"hpo-job: {line}", err=True)


def log(level: str) -> None:
    """Show what hpo-job logs from ``level`` on, and what everything else warns of."""
    import logging

    import optuna

    class Echo(logging.Handler):
        """To today's stderr: above the status line where one is shown."""

        def emit(self, record: logging.LogRecord) -> None:
            click.echo(f"hpo-job: {record.getMessage()}", err=True)

    logging.basicConfig(level=logging.WARNING, handlers=[Echo()])
    logging.getLogger("hpo_job").setLevel(level)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
