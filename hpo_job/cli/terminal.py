"""What reaches the user's terminal: warnings, log lines, tables as wide as it, and files."""

from __future__ import annotations

import logging
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click

from hpo_job.errors import SpecError, problem
from hpo_job.worker.output import PACKAGE, Printer, listen, print_to_stderr, printable

if TYPE_CHECKING:
    from hpo_job.results.writing import Row

PROGRAMS = {"hpo-job": "hpo-job", "kubectl-hpo": "kubectl hpo"}  # by file: what is typed


def program() -> str:
    """The command as the user can type it again."""
    typed = Path(sys.argv[0])
    if PACKAGE in typed.parents:  # python -m hpo_job
        return f"{Path(sys.executable).name} -m hpo_job"
    if typed.name not in PROGRAMS:  # a Python program that calls `main`
        return "hpo-job"
    if shutil.which(typed.name) == str(typed):
        return PROGRAMS[typed.name]
    try:
        return str(typed.relative_to(Path.cwd()))
    except ValueError:
        return str(typed)


def warn(line: str) -> None:
    """Print one line on stderr."""
    print_to_stderr(printable(f"hpo-job: {line}"))


@contextmanager
def log_printer(
    usual: int, *, quiet: bool, verbose: bool, log_file: Path | None
) -> Iterator[Printer]:
    """Print what hpo-job and its libraries log, as ``log_options`` say; what prints it.

    Args:
        usual: the lowest level that is printed without these options.
        quiet: print warnings and errors only.
        verbose: print the next lower level too.
        log_file: where all entries are appended, from INFO on; from DEBUG if verbose.

    Raises:
        SpecError: the file cannot be opened.
    """
    if quiet and verbose:
        raise click.UsageError("--quiet and --verbose: choose one")
    level = logging.WARNING if quiet else usual - 10 if verbose else usual
    with ExitStack() as stack:
        file = stack.enter_context(_appending(log_file)) if log_file else None
        printer = Printer(level, file)
        listen(printer, min(level, logging.INFO) if file else level)
        yield printer


def _appending(file: Path) -> TextIO:
    try:
        return file.open("a", encoding="utf-8", errors="replace")
    except OSError as error:
        raise SpecError(f"--log-file {file}: {problem(error)}; name another file") from error


def show_log(level: int = logging.WARNING) -> None:
    """Print what hpo-job logs from ``level`` on, and the warnings of libraries."""
    listen(Printer(level), level)


def width(output: Path | None = None) -> int:
    """How many columns a table may have: those of the terminal; in a file, any number."""
    return 10_000 if output else shutil.get_terminal_size().columns


def put(text: str, output: Path | None = None) -> None:
    """Write ``text`` to stdout, or to the file ``output``.

    Raises:
        SpecError: the file cannot be written.
    """
    text = text if text.endswith("\n") else text + "\n"
    if output is None:
        click.echo(text, nl=False)
        return
    _write(click.unstyle(text), output)


def _write(text: str, output: Path) -> None:
    try:
        output.write_text(text, encoding="utf-8", errors="replace")
    except OSError as error:
        raise SpecError(f"{output}: cannot be written: {problem(error)}") from error


def put_rows(columns: Sequence[str], rows: Sequence[Row], form: str, output: Path | None) -> None:
    """Write rows exactly as they are, as ``"csv"``, ``"json"`` or, to a file, ``"parquet"``.

    Raises:
        StudyError: the file cannot be written.
    """
    from hpo_job.results.writing import to_text, write_parquet

    if form == "parquet" and output is not None:
        write_parquet(columns, rows, output)
        return
    text = to_text(columns, rows, form)
    if output is None:
        click.echo(text, nl=False, color=True)  # whatever a text of the study holds
    else:
        _write(text, output)
