"""The commands that draw what studies found: pages, pictures and the dashboard."""

from __future__ import annotations

from pathlib import Path

import click

from hpo_job.cli.common import (
    all_loaded,
    loaded,
    method_option,
    output_option,
    storage_option,
    studies_argument,
    study_argument,
)
from hpo_job.cli.options import option

KINDS = (
    "history",
    "intermediate",
    "parallel",
    "slice",
    "contour",
    "importance",
    "pareto",
    "timeline",
    "time",
    "edf",
)


@click.command()
@studies_argument
@output_option("The page.", default=Path("report.html"), show_default=True)
@method_option
@storage_option
def report(studies: tuple[str, ...], output: Path, method: str, storage: str | None) -> None:
    """Write a report of one or more studies as one HTML file.

    The file holds everything it shows: it opens without a network, and can be sent to a
    colleague. Several studies are compared first.
    """
    from hpo_job import report as pages

    with all_loaded(studies, storage) as (found, _):
        pages.write(found, output, method)
        click.echo(f"wrote {output} ({output.stat().st_size / 1e6:.1f} MB)")


@click.command()
@study_argument
@click.argument("kind", metavar="KIND", type=click.Choice(KINDS))
@output_option("The picture: .png, .svg or .pdf, or .html.  [default: STUDY-KIND.png]")
@option("--params", metavar="NAMES", help="Only these parameters, with commas between them.")
@storage_option
def plot(
    study: str, kind: str, output: Path | None, params: str | None, storage: str | None
) -> None:
    """Draw one plot of a study into a file.

    KIND is history, intermediate, parallel, slice, contour, importance, pareto, timeline (by
    worker), time (where it went) or edf (the values' distribution).
    """
    from hpo_job.report import plots

    named = [name.strip() for name in params.split(",") if name.strip()] if params else None
    with loaded(study, storage) as (found, _):
        file = output or Path(f"{found.study_name}-{kind}.png".replace("/", "-"))
        plots.draw(found, kind, file, named)
        click.echo(f"wrote {file}")


@click.command()
@click.argument("study", metavar="[STUDY]", required=False)
@option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address to listen at; 0.0.0.0 to be seen from other machines.",
)
@option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8080,
    show_default=True,
    help="Port to listen at; 0 for a free one.",
)
@storage_option
def dashboard(study: str | None, host: str, port: int, storage: str | None) -> None:
    """Serve optuna-dashboard, until Ctrl-C.

    Opens at STUDY; without it, all studies of the storage are listed.
    """
    from hpo_job.report.dashboard import serve

    with all_loaded([study] if study else [], storage) as (found, opened):
        name = found[0].study_name if found else None
        serve(
            name,
            opened,
            host,
            port,
            lambda address: click.echo(f"{name or 'dashboard'}: {address}  (Ctrl-C ends it)"),
        )


COMMANDS = (report, plot, dashboard)
