"""``python -m contrib``: make a job's data from what an archive publishes."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from hpo_job.cli import Commands
from hpo_job.cli.options import option
from hpo_job.errors import plural

table_option = option(
    "--output",
    "-o",
    metavar="FILE",
    required=True,
    type=click.Path(path_type=Path),
    help="The table to write: .csv or .csv.gz. An existing file is replaced.",
)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Make a job's data from a public archive."""


@main.command("old-bailey")
@click.argument(
    "sources", metavar="SOURCE...", nargs=-1, required=True, type=click.Path(path_type=Path)
)
@option(
    "--decade", metavar="YEAR", required=True, help="First year of the decade: 1730 for 1730-1739."
)
@table_option
def old_bailey_command(sources: tuple[Path, ...], decade: str, output: Path) -> None:
    """Make a table of the Old Bailey's trials: id, broad, narrow, text.

    SOURCE is the archive's zip, a folder or TEI files. The table has one row for each trial
    account with an offence category. Exit codes: 0 everything was read, 1 a malformed file was
    skipped, 2 there is nothing to convert, 130 after Ctrl-C; with 2 and 130 the output is left
    as it was.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    from contrib.old_bailey import convert, read_decade

    first = read_decade(decade)
    console = Console(stderr=True)

    def warn(problem: str) -> None:
        console.print(f"hpo-job: {problem}", markup=False, highlight=False, soft_wrap=True)

    columns = (TextColumn("sessions"), BarColumn(), MofNCompleteColumn())
    disabled = not console.is_terminal
    try:
        with Progress(*columns, console=console, transient=True, disable=disabled) as progress:
            task = progress.add_task("", total=None)
            summary = convert(
                sources,
                first,
                output,
                tell=warn,
                look=lambda done, total: progress.update(task, completed=done, total=total),
            )
    except KeyboardInterrupt:
        warn(f"stopped; {output} is as it was")
        sys.exit(130)
    repeated = f", {summary.repeated} repeated" if summary.repeated else ""
    click.echo(
        f"{output}: {plural(summary.sessions, 'session')}, {plural(summary.trials, 'trial')}"
        f"{repeated}, {plural(summary.rows, 'row')}; {plural(summary.skipped, 'file')} skipped"
    )
    sys.exit(1 if summary.skipped else 0)


@main.command("state-of-the-union")
@click.argument("source", metavar="SOURCE", type=click.Path(path_type=Path))
@option(
    "--era",
    required=True,
    type=click.Choice(["early", "late"]),
    help="early: 1790 to 1900. late: 1901 to 2021.",
)
@table_option
def state_of_the_union_command(source: Path, era: str, output: Path) -> None:
    """Make a table of passages of the State of the Union addresses: address, party, text.

    SOURCE is a table of whole addresses: year, name, party, text. The jobs
    state-of-the-union-early and state-of-the-union-late contain the tables that this command
    makes.
    """
    from contrib.state_of_the_union import convert

    summary = convert(source, era, output)
    click.echo(
        f"{output}: {summary.addresses} addresses, {summary.rows} passages; "
        f"{summary.left_out} addresses of parties with few left out"
    )


if __name__ == "__main__":
    main(prog_name="python -m contrib")
