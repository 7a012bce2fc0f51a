"""The ``hpo-job`` command: thin over the library, and quick to say what it can do.

Optuna takes a third of a second to import and torch several, so each command imports what it
needs when it runs.
"""

from __future__ import annotations

import functools
import os
import shutil
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from hpo_job import __version__
from hpo_job.cli_cluster import COMMANDS, connect, database_of, show
from hpo_job.cli_data import data
from hpo_job.errors import HpoJobError, SpecError
from hpo_job.options import F, option

if TYPE_CHECKING:
    import optuna

    from hpo_job.storage import Storage

PROMPT = 10.0  # seconds that a command which shows something waits for a server


class Commands(click.Group):
    """Commands whose known errors are one line on stderr and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except HpoJobError as error:
            click.echo(f"hpo-job: {error}", err=True)
            ctx.exit(error.exit_code)
        except KeyboardInterrupt:
            ctx.exit(130)  # as a shell expects of Ctrl-C


def storage_options(command: F) -> F:
    """Where the database of the studies is: options for `storage_url`, or for a cluster."""
    for add in (
        option("--context", metavar="NAME", help="With --cluster: another than the current one."),
        option(
            "--namespace", "-n", metavar="NAME", help="With --cluster: not that of k8s/settings."
        ),
        option("--cluster", is_flag=True, help="The database of the cluster in the kubeconfig."),
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
        url = _given(storage, storage_file)
        if cluster and not url:
            reached = database_of(context, namespace)
            url = click.get_current_context().with_resource(reached)
        return command(*arguments, storage=url, **others)

    return cast(F, with_url)


def _given(storage: str | None, storage_file: Path | None) -> str | None:
    """The URL of --storage or --storage-file, with a warning where it gives its password away."""
    from hpo_job.storage import warning
    from hpo_job.urls import given

    url = given(storage, storage_file)
    if url and (line := warning(url)):
        _warn(line)
    return url


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


def machine_options(command: F) -> F:
    """What a worker may use of its machine: ``threads``, ``cache`` and ``artifacts``."""
    for decorate in (
        option(
            "--artifacts",
            metavar="URL",
            default=".hpo/artifacts",
            show_default=True,
            help="Folder, s3://bucket or gs://bucket for the best trials' models.",
        ),
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


job_argument = click.argument("job", metavar="JOB")
study_argument = click.argument("study", metavar="STUDY")


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="hpo-job")
def main() -> None:
    """Tune a model: parallel trials that share one Optuna study.

    JOB is a folder with a study.toml, or its name under jobs/. STUDY is the name of a study in
    the storage, or its job folder.
    """


main.add_command(data)
for cluster_command in COMMANDS:
    main.add_command(cluster_command)


def kubectl() -> None:
    """`kubectl hpo`: the same commands, of a cluster where there is a choice."""
    os.environ.setdefault("HPO_JOB_CLUSTER", "1")
    main(prog_name="kubectl hpo")


@main.command()
@job_argument
@storage_option
@weights_option
def check(job: str, storage: str | None, weights: Path) -> None:
    """Validate a job, and print the study it describes.

    With a MySQL server as --storage, also how many workers it carries now.
    """
    from hpo_job import study as studies
    from hpo_job.describe import describe
    from hpo_job.spec import read_spec

    checked = studies.check(read_spec(job), weights)
    studies.require_readable(checked)
    click.echo("\n".join(describe(checked)))
    carried = _carries(storage)
    if carried is not None:
        click.echo(f"server        has connections for {carried} workers")


@main.command()
@job_argument
@storage_option
@weights_option
def create(job: str, storage: str | None, weights: Path) -> None:
    """Create a job's study, without running any of it."""
    from hpo_job import study as studies
    from hpo_job.spec import read_spec

    _log("WARNING")
    checked = studies.check(read_spec(job), weights)
    study, opened = studies.join(checked, _url(storage), patience=PROMPT)
    click.echo(f"study {study.study_name} is ready in {opened}")


@main.command()
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
    from hpo_job import study as studies
    from hpo_job.local import Job, cpus, run_workers
    from hpo_job.progress import Progress
    from hpo_job.spec import read_spec
    from hpo_job.stopping import Stop
    from hpo_job.worker import Machine

    _log("WARNING")
    spec = read_spec(job)
    checked = studies.check(spec, weights, cache)
    carried = _carries(storage)
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
        click.echo("\n".join(progress.summary(_program())))
    sys.exit(code)


@main.command()
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
    from hpo_job.local import Job, cpus, run_worker
    from hpo_job.spec import read_spec
    from hpo_job.stopping import Stop
    from hpo_job.worker import Machine

    _log("INFO")
    machine = Machine(threads or cpus(), cache, artifacts)
    told = Job(read_spec(job), _url(storage), weights, grace, machine, not no_wait)
    sys.exit(run_worker(told, Stop()))


@main.command()
@study_argument
@option("--watch", is_flag=True, help="With --cluster: go on until the Job has ended.")
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

    url = _given(storage, storage_file)
    if cluster and not url:
        _log("WARNING")
        show(study, connect(context, namespace), results.overview, watch=watch)
        return
    with _loaded(study, url) as (found, _):
        click.echo(f"study     {found.study_name}")
        click.echo("\n".join(results.overview(found)))
        running = results.table(found, running=True)
        if running.row_count:
            click.echo()
            Console().print(running)


@main.command("results")
@study_argument
@option(
    "--format",
    "format_",
    type=click.Choice(["table", "csv", "json"]),
    default="table",
    show_default=True,
    help="csv and json have the columns of Optuna's trials_dataframe.",
)
@storage_option
def results_(study: str, format_: str, storage: str | None) -> None:
    """Print all trials of a study."""
    from rich.console import Console

    from hpo_job import results

    with _loaded(study, storage) as (found, _):
        if format_ == "table":
            Console().print(results.table(found))
        else:
            click.echo(results.as_text(found, format_), nl=False)


@main.command()
@study_argument
@storage_option
def best(study: str, storage: str | None) -> None:
    """Print the best parameters as TOML, ready to paste.

    They come as an [[enqueue]] entry, which may stand at the end of any study.toml; its lines,
    put under [search_space], fix the parameters instead.
    """
    from hpo_job import results
    from hpo_job.errors import StudyError

    with _loaded(study, storage) as (found, _):
        trial = results.best(found)
        if trial is None:
            raise StudyError(f"study {found.study_name!r} has no COMPLETE trial yet")
        click.echo(results.best_as_toml(found, trial), nl=False)


@main.command()
@study_argument
@click.argument("parameters", metavar="NAME=VALUE...", nargs=-1, required=True)
@storage_option
def enqueue(study: str, parameters: tuple[str, ...], storage: str | None) -> None:
    """Enqueue parameters for the next free worker.

    Those that are left out are suggested.

    Values are written as in TOML; a plain word needs no quotes: model=resnet18 epochs=3.
    """
    from hpo_job import study as studies

    values = dict(map(_assignment, parameters))
    if len(values) < len(parameters):
        raise SpecError("enqueue: a parameter is given twice")
    with _loaded(study, storage) as (found, opened):
        studies.enqueue(found, opened, values)
    click.echo(f"enqueued in {study}: {' '.join(parameters)}")


@main.command("weights")
@click.argument("models", metavar="MODEL...", nargs=-1, required=True)
@weights_option
def weights_(models: tuple[str, ...], weights: Path) -> None:
    """Fetch the pre-trained weights of models, as an image's build does.

    Those that this machine has already are not downloaded again.
    """
    from hpo_job.objectives.weights import obtain

    for model in models:
        click.echo(f"{model}: {obtain(model, weights)}")


def _carries(storage: str | None) -> int | None:
    """How many more workers a server carries; None where there is no server to ask."""
    from hpo_job.storage import carries

    return carries(storage) if storage else None


def _warn(line: str) -> None:
    click.echo(f"hpo-job: {line}", err=True)


def _url(storage: str | None) -> str:
    from hpo_job.storage import EMBEDDED

    return storage or EMBEDDED


@contextmanager
def _loaded(study: str, storage: str | None) -> Iterator[tuple[optuna.Study, Storage]]:
    """An existing study; what its database raises inside becomes a one-line error."""
    from hpo_job import study as studies
    from hpo_job.spec import SPEC_FILE, read_spec
    from hpo_job.storage import Storage

    _log("WARNING")
    name = read_spec(study).name if (Path(study) / SPEC_FILE).is_file() else study
    opened = Storage(_url(storage), patience=PROMPT)
    with opened.reaching():
        yield studies.load(name, opened), opened


def _assignment(text: str) -> tuple[str, Any]:
    """``name=value``, the value as TOML has it, or a plain word."""
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise SpecError(f"enqueue: {text!r} is not name=value")
    try:
        return name, tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return name, value


def _log(level: str) -> None:
    import logging

    import optuna

    class Echo(logging.Handler):
        """To today's stderr: above the status line where one is shown."""

        def emit(self, record: logging.LogRecord) -> None:
            click.echo(f"hpo-job: {record.getMessage()}", err=True)

    logging.basicConfig(level=logging.WARNING, handlers=[Echo()])
    logging.getLogger("hpo_job").setLevel(level)
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def _program() -> str:
    """How this command can be typed again."""
    typed = Path(sys.argv[0])
    if shutil.which(typed.name) == str(typed):
        return typed.name
    try:
        return str(typed.relative_to(Path.cwd()))
    except ValueError:
        return str(typed)
