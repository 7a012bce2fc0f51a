"""The commands of what was trained: the learning-rate finder's curve, and the best models."""

from __future__ import annotations

from pathlib import Path

import click

from hpo_job.cli.common import (
    artifacts_option,
    job_argument,
    loaded,
    log,
    machine_options,
    output_option,
    storage_option,
    study_argument,
    url_of,
    weights_option,
)
from hpo_job.cli.options import option


@click.command("lr-find")
@job_argument
@output_option("The plot, .png, .svg or .pdf.  [default: NAME-lr-find.png]")
@storage_option
@weights_option
@machine_options
def lr_find(
    job: str,
    output: Path | None,
    storage: str | None,
    weights: Path,
    threads: int | None,
    cache: Path,
    artifacts: str,
) -> None:
    """Show and draw what the learning-rate finder says.

    It is run here where no worker has run it yet: for the learning rates that an [[enqueue]]
    entry leaves to it, or for all of the objective's.
    """
    from hpo_job.machine import cpus
    from hpo_job.report.plots import require_picture, save_lr_find
    from hpo_job.spec.study_toml import read_spec
    from hpo_job.storage.database import GRACE
    from hpo_job.study import checking
    from hpo_job.study import joining as studies
    from hpo_job.worker import lr_find as finder
    from hpo_job.worker.loop import Machine
    from hpo_job.worker.signals import Stop

    log("INFO")
    if output is not None:
        require_picture(output)  # before the minutes that it takes
    spec = read_spec(job)
    finder.require_learning_rates(spec)
    checked = checking.check(spec, weights, cache)
    study, opened = studies.join(checked, url_of(storage))
    stop, machine = Stop(), Machine(threads or cpus(), cache, artifacts)
    with opened.reaching(), stop.listening():
        finder.ensure(checked, study, opened, stop, machine, GRACE, always=True)
        if stop.requested:
            raise SystemExit(stop.exit_code)
        found = finder.stored(study)
    for name, told in found.items():
        click.echo(f"{name:<24} {finder.described(told)}")
    drawn = {name: told for name, told in found.items() if "lrs" in told}
    if drawn:
        file = output or Path(f"{study.study_name}-lr-find.png")
        save_lr_find(drawn, file)
        click.echo(f"drawn in {file}")


@click.command()
@study_argument
@option("--trial", type=click.IntRange(min=0), metavar="N", help="Its number.  [default: the best]")
@option(
    "--output",
    "-o",
    metavar="DIR",
    required=True,
    type=click.Path(path_type=Path),
    help="A new folder.",
)
@artifacts_option
@storage_option
def export(
    study: str, trial: int | None, output: Path, artifacts: str, storage: str | None
) -> None:
    """Take a kept model out of a study, as fastai exports it.

    The folder is what hpo-job predict wants.
    """
    from hpo_job.artifacts.export import export as exported

    with loaded(study, storage) as (found, _):
        click.echo(exported(found, artifacts, output, trial))


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.argument(
    "files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path)
)
@option(
    "--format",
    "format_",
    type=click.Choice(["table", "csv", "json"]),
    default="table",
    show_default=True,
    help="How the predictions are written.",
)
def predict(folder: Path, files: tuple[Path, ...], format_: str) -> None:
    """Print what an exported model says of new files.

    DIR is what hpo-job export made. FILE is an image, a text, or a table with the columns that
    the model was trained on.
    """
    from hpo_job.artifacts.export import predict as predicted

    table = predicted(folder, files)
    if format_ == "csv":
        click.echo(table.to_csv(index=False), nl=False)
    elif format_ == "json":
        click.echo(table.to_json(orient="records", indent=2))
    else:
        click.echo(table.to_string(index=False, float_format="{:.4f}".format))


COMMANDS = (lr_find, export, predict)
