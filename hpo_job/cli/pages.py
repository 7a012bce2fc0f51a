"""The commands that draw the results of studies: reports, plots and the dashboard."""

from __future__ import annotations

from pathlib import Path

import click

from hpo_job.cli.opening import open_studies, open_study, storage_option
from hpo_job.cli.options import (
    address_options,
    artifacts_option,
    method_option,
    option,
    output_option,
    studies_argument,
    study_argument,
)
from hpo_job.spec.choices import PLOT_KINDS


@click.command()
@studies_argument
@output_option("The page to write.", default=Path("report.html"), show_default=True)
@method_option
@artifacts_option
@storage_option
def report_command(
    studies: tuple[str, ...], output: Path, method: str, artifacts: str, storage: str
) -> None:
    """Write a report of one or more studies as one HTML file.

    The file contains everything it shows, so it opens without a network and can be sent to a
    colleague. With several studies, it begins with their comparison.
    """
    from hpo_job import report

    with open_studies(studies, storage) as (opened, _):
        report.write(opened, output, method, artifacts)
        click.echo(f"wrote {output} ({output.stat().st_size / 1e6:.1f} MB)")


@click.command()
@study_argument
@click.argument("kind", metavar="KIND", type=click.Choice(PLOT_KINDS))
@output_option("The file: .png, .svg or .pdf, or .html.  [default: STUDY-KIND.png]")
@option("--params", metavar="NAMES", help="Only these parameters, separated by commas.")
@storage_option
def plot_command(
    study: str, kind: str, output: Path | None, params: str | None, storage: str
) -> None:
    """Draw one plot of a study into a file.

    KIND is history, intermediate, parallel, slice, contour, importance, pareto, timeline (who
    worked when), time (what the workers' time was spent on) or edf (the distribution of the
    values).
    """
    from hpo_job.report import plots

    names = [name.strip() for name in params.split(",") if name.strip()] if params else None
    with open_study(study, storage) as (opened, _):
        file = output or Path(f"{opened.study_name}-{kind}.png".replace("/", "-"))
        plots.draw(opened, kind, file, names)
        click.echo(f"wrote {file}")


@click.command()
@click.argument("study", metavar="[STUDY]", required=False)
@address_options(8080)
@storage_option
def dashboard_command(study: str | None, host: str, port: int, storage: str) -> None:
    """Serve optuna-dashboard until Ctrl-C.

    It opens at STUDY, or at a list of all studies of the storage.
    """
    from hpo_job.report.dashboard import serve

    with open_studies([study] if study else [], storage, watched=True) as (opened, database):
        name = opened[0].study_name if opened else None
        serve(
            name,
            database,
            host,
            port,
            lambda address: click.echo(f"{name or 'dashboard'}: {address}  (Ctrl-C ends it)"),
        )


COMMANDS = (report_command, plot_command, dashboard_command)
