"""What reaches the user's terminal: warnings, log lines, tables as wide as it, and files."""

from __future__ import annotations

import logging
import shutil
import sys
from pathlib import Path

import click

from hpo_job.errors import SpecError, problem

PACKAGE = Path(__file__).parents[1]
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
    click.echo(f"hpo-job: {line}", err=True)


class Echo(logging.Handler):
    """Prints log records on stderr as it is now: above the status line where there is one."""

    def emit(self, record: logging.LogRecord) -> None:
        warn(record.getMessage())


def show_log(level: str) -> None:
    """Print what hpo-job logs from ``level`` on, and the warnings of everything else."""
    import optuna

    logging.basicConfig(level=logging.WARNING, handlers=[Echo()])
    logging.getLogger("hpo_job").setLevel(level)
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def width(output: Path | None = None) -> int:
    """How many columns a table may have: those of the terminal; in a file, any number."""
    return 10_000 if output else shutil.get_terminal_size().columns


def put(text: str, output: Path | None = None) -> None:
    """Write ``text`` to stdout, or to the file ``output``.

    Raises:
        SpecError: The file cannot be written.
    """
    text = text if text.endswith("\n") else text + "\n"
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        output.write_text(click.unstyle(text), encoding="utf-8")
    except OSError as error:
        raise SpecError(f"{output}: cannot be written: {problem(error)}") from error
