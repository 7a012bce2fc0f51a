"""What the commands share: the options of a storage, and a study that is opened by its name."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from hpo_job.options import F, option

if TYPE_CHECKING:
    import optuna

    from hpo_job.storage import Storage

PROMPT = 10.0  # seconds that a command which shows something waits for a server

job_argument = click.argument("job", metavar="JOB")
study_argument = click.argument("study", metavar="STUDY")
studies_argument = click.argument("studies", metavar="STUDY...", nargs=-1, required=True)


def storage_option(command: F) -> F:
    """The database of the studies, as the one argument ``storage``: a URL, or None."""

    @option("--storage", metavar="URL", help="Database of the studies.  [default: .hpo/studies.db]")
    @option(
        "--storage-file",
        metavar="FILE",
        type=click.Path(dir_okay=False, path_type=Path),
        help="File that holds the URL instead, such as a mounted secret.",
    )
    @functools.wraps(command)
    def with_url(
        *arguments: Any, storage: str | None, storage_file: Path | None, **others: Any
    ) -> Any:
        from hpo_job.storage import warning
        from hpo_job.urls import given

        url = given(storage, storage_file)
        if url and (line := warning(url)):
            warn(line)
        return command(*arguments, storage=url, **others)

    return cast(F, with_url)


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
    from hpo_job.storage import EMBEDDED

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
    from hpo_job import study as rooms
    from hpo_job.spec import SPEC_FILE, read_spec
    from hpo_job.storage import Storage

    log("WARNING")
    names = [
        read_spec(study).name if (Path(study) / SPEC_FILE).is_file() else study for study in studies
    ]
    opened = Storage(url_of(storage), patience=PROMPT)
    with opened.reaching():
        yield [rooms.load(name, opened) for name in dict.fromkeys(names)], opened


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
