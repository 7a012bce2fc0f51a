"""The options that commands share, and which of them are environment variables as well."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from hpo_job.cli.completion import complete_job, complete_study
from hpo_job.machine import ARTIFACTS, CACHE, CACHE_SIZE, WEIGHTS, cpus, in_hpo
from hpo_job.spec.choices import IMPORTANCE_METHODS
from hpo_job.storage.defaults import GRACE

if TYPE_CHECKING:
    from hpo_job.worker.machine_share import Machine

F = TypeVar("F", bound=Callable[..., Any])

# Options that say where and how, which are the same for all commands of a machine or a pod. What a
# command does is only typed: HPO_JOB_REPLACE=1 in a shell's profile would delete Jobs.
VARIABLES = frozenset(
    {
        "--artifacts",
        "--cache",
        "--cache-size",
        "--cluster",
        "--context",
        "--gpus",
        "--grace",
        "--loader-workers",
        "--namespace",
        "--storage",
        "--storage-file",
        "--threads",
        "--weights",
        "--workers",
        "--workers-per-gpu",
    }
)


def option(name: str, *names: str, **settings: Any) -> Callable[[F], F]:
    """A click option; one of `VARIABLES` is the environment variable ``HPO_JOB_NAME`` as well."""
    if name in VARIABLES:
        variable = "HPO_JOB_" + name.removeprefix("--").replace("-", "_").upper()
        settings |= {"envvar": variable, "show_envvar": True}
    return click.option(name, *names, **settings)


job_argument = click.argument("job", metavar="JOB", shell_complete=complete_job)
study_argument = click.argument("study", metavar="STUDY", shell_complete=complete_study)
studies_argument = click.argument(
    "studies", metavar="STUDY...", nargs=-1, required=True, shell_complete=complete_study
)

weights_option = option(
    "--weights",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    default=lambda: in_hpo(WEIGHTS),
    help="Folder of pre-trained weights; missing ones are downloaded into it.  "
    f"[default: {WEIGHTS}]",
)
cache_option = option(
    "--cache",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    default=lambda: in_hpo(CACHE),
    help="Folder of files that all workers of this machine use, such as fetched data.  "
    f"[default: {CACHE}]",
)
grace_option = option(
    "--grace",
    metavar="SECONDS",
    type=click.IntRange(min=2),
    default=GRACE,
    show_default=True,
    help="Seconds without a heartbeat after which a running trial counts as lost and is run again.",
)
same_study_option = option(
    "--same-study",
    is_flag=True,
    help="Continue the study although a Python file of the job folder differs from when it was "
    "created.",
)
artifacts_option = option(
    "--artifacts",
    metavar="URL",
    default=lambda: str(in_hpo(Path(ARTIFACTS))),
    help=f"Folder, s3://bucket or gs://bucket for the best trials' models.  [default: {ARTIFACTS}]",
)
threads_option = option(
    "--threads",
    type=click.IntRange(min=1),
    help="CPU threads of each worker.  [default: all CPUs, divided among the workers]",
)
loader_workers_option = option(
    "--loader-workers",
    metavar="N",
    type=click.IntRange(min=0),
    help="Processes of each worker that read batches.  [default: none where batches come from "
    "--cache; else a few on a GPU]",
)
cache_size_option = option(
    "--cache-size",
    metavar="GIB",
    type=click.FloatRange(min=0),
    default=CACHE_SIZE,
    show_default=True,
    help="GiB of --cache that decoded images may take; 0 decodes them in every trial.",
)
method_option = option(
    "--method",
    type=click.Choice(IMPORTANCE_METHODS),
    default=IMPORTANCE_METHODS[0],
    show_default=True,
    help="How importances are computed.",
)
context_option = option(
    "--context", metavar="NAME", help="Kubeconfig context.  [default: the current one]"
)
namespace_option = option(
    "--namespace",
    "-n",
    metavar="NAME",
    help="Namespace on the cluster.  [default: that of k8s/settings, or of the context]",
)


set_option = option(
    "--set",
    "assignments",
    metavar="KEY=VALUE",
    multiple=True,
    help="Use another value than study.toml's, such as budget.trials=20; may be repeated.",
)


def log_options(command: F) -> F:
    """How much a command that runs trials prints: ``quiet``, ``verbose`` and ``log_file``."""
    for decorate in (
        option(
            "--log-file",
            metavar="FILE",
            type=click.Path(dir_okay=False, path_type=Path),
            help="Append all log lines to a file, with their times and all tracebacks.",
        ),
        option(
            "--verbose",
            "-v",
            is_flag=True,
            help="Print more, such as what each worker logs.",
        ),
        option("--quiet", "-q", is_flag=True, help="Print warnings and errors only."),
    ):
        command = decorate(command)
    return command


@dataclass(frozen=True)
class MachineOptions:
    """What a worker may use of its machine, as it was typed.

    Attributes:
        threads: None: all CPUs, divided among the workers.
        cache: the folder of files that all workers of this machine use.
        artifacts: where the best trials' models are kept.
        cache_size: GiB of the cache that decoded images may take.
        loader_workers: None: as many as suit where batches come from.
    """

    threads: int | None
    cache: Path
    artifacts: str
    cache_size: float
    loader_workers: int | None

    def shared(self, workers: int = 1) -> Machine:
        """What each of so many workers may use."""
        from hpo_job.worker.machine_share import Machine

        threads = self.threads or max(1, cpus() // workers)
        return Machine(threads, self.cache, self.artifacts, self.cache_size, self.loader_workers)

    def divided(self, workers: int) -> Machine:
        """What each of so many workers of a pod may use: its threads are those of them all."""
        threads = max(1, (self.threads or cpus()) // workers)
        return replace(replace(self, threads=threads).shared(), in_pod=workers)


def machine_options(command: F) -> F:
    """What a worker may use of its machine, as the one argument ``machine``: `MachineOptions`."""

    @functools.wraps(command)
    def with_machine(
        *arguments: Any,
        threads: int | None,
        cache: Path,
        artifacts: str,
        cache_size: float,
        loader_workers: int | None,
        **others: Any,
    ) -> Any:
        machine = MachineOptions(threads, cache, artifacts, cache_size, loader_workers)
        return command(*arguments, machine=machine, **others)

    decorated = cast(F, with_machine)
    for decorate in (
        loader_workers_option,
        cache_size_option,
        artifacts_option,
        cache_option,
        threads_option,
    ):
        decorated = decorate(decorated)
    return decorated


def storage_options(command: F) -> F:
    """Which database holds the studies: see `hpo_job.cli.opening.url_from_options`."""
    for decorate in (
        context_option,
        namespace_option,
        option(
            "--cluster",
            is_flag=True,
            help="Use the database of the cluster in your kubeconfig (implied by -n and "
            "--context).",
        ),
        option(
            "--storage-file",
            metavar="FILE",
            type=click.Path(dir_okay=False, path_type=Path),
            help="File that holds the database's URL, such as a mounted secret.",
        ),
        option(
            "--storage", metavar="URL", help="Database of the studies.  [default: .hpo/studies.db]"
        ),
    ):
        command = decorate(command)
    return command


def trial_option(help_text: str) -> Callable[[F], F]:
    """A trial of the study by its number, as the argument ``trial``."""
    return option("--trial", type=click.IntRange(min=0), metavar="N", help=help_text)


def address_options(port: int) -> Callable[[F], F]:
    """Where a server listens: ``host`` and ``port``, of which this is the usual one."""

    def decorate(command: F) -> F:
        at_port = option(
            "--port",
            type=click.IntRange(0, 65535),
            default=port,
            show_default=True,
            help="Port to listen on; 0 for any free one.",
        )
        at_host = option(
            "--host",
            default="127.0.0.1",
            show_default=True,
            help="Address to listen on; 0.0.0.0 lets other machines connect.",
        )
        return at_host(at_port(command))

    return decorate


def new_folder_option(help_text: str) -> Callable[[F], F]:
    """Which folder a command creates, as the argument ``output``."""
    return option(
        "--output",
        "-o",
        metavar="DIR",
        required=True,
        type=click.Path(path_type=Path),
        help=help_text,
    )


def output_option(help_text: str, **settings: Any) -> Callable[[F], F]:
    """Which file a command writes, as the argument ``output``."""
    return option(
        "--output",
        "-o",
        metavar="FILE",
        type=click.Path(dir_okay=False, path_type=Path),
        help=help_text,
        **settings,
    )


def format_option(*formats: str, help_text: str, default: str | None = "table") -> Callable[[F], F]:
    """How a command prints what it has to say, as the argument ``form``."""
    return option(
        "--format",
        "form",
        type=click.Choice(formats),
        default=default,
        show_default=default is not None,
        help=help_text,
    )
