"""The commands that use a trained model: train, predict and serve."""

from __future__ import annotations

import logging
import textwrap
from pathlib import Path

import click

from hpo_job.cli.opening import open_study, storage_option
from hpo_job.cli.options import (
    MachineOptions,
    address_options,
    format_option,
    machine_options,
    new_folder_option,
    option,
    output_option,
    study_argument,
    trial_option,
    weights_option,
)
from hpo_job.cli.terminal import program, put, put_rows, show_log, width


@click.command()
@study_argument
@trial_option("Number of the trial whose parameters are trained.  [default: the best]")
@option("--all-data", is_flag=True, help="Learn from every item; nothing is left to score on.")
@option(
    "--seeds",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Train this many models, each on another seed; predict averages their answers.",
)
@new_folder_option("Folder to create, for predict and serve.")
@storage_option
@weights_option
@machine_options
def train_command(
    study: str,
    trial: int | None,
    all_data: bool,
    seeds: int,
    output: Path,
    storage: str,
    weights: Path,
    machine: MachineOptions,
) -> None:
    """Train the best parameters again, as the final model.

    Learns from the training and validation part and is scored on the test part, where the data
    has one; otherwise it is trained and scored as trials are. Writes the model with a card
    (README.md): data, scores with their interval, parameters, versions. Needs the job's folder.
    """
    from threadpoolctl import threadpool_limits

    from hpo_job.artifacts.export import require_new
    from hpo_job.objectives import is_function
    from hpo_job.results import clock
    from hpo_job.study.checking import check
    from hpo_job.study.origin import job_of, parameters_of
    from hpo_job.worker.final import train
    from hpo_job.worker.model_card import scores

    show_log(logging.WARNING)
    require_new(output)
    with open_study(study, storage) as (opened, _):
        spec = job_of(opened, study)
        chosen = parameters_of(opened, trial)
        title = f"trial {chosen.number} of study {opened.study_name}"
    checked = check(spec, weights, machine.cache)
    usable = machine.shared()
    models = "a model" if seeds == 1 else f"{seeds} models"
    lasting = clock(chosen.duration.total_seconds()) if chosen.duration else "-"
    click.echo(f"training {models} as {title}, which took {lasting}", err=True)
    with threadpool_limits(usable.threads):
        final = train(
            checked,
            chosen.params,
            output,
            usable,
            title=title,
            seeds=seeds,
            all_data=all_data,
        )
    put(f"{output}: {title}, trained again")
    for line in scores(checked, final):
        put("\n".join(textwrap.wrap(line, width(), subsequent_indent="  ")))
    if is_function(spec):
        put(f"\nnext\n  load the files in {output} with your own code")
    else:
        put(f"\nnext\n  {program()} predict {output} FILE\n  {program()} serve {output}")


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.argument(
    "files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path)
)
@option(
    "--top",
    type=click.IntRange(min=1),
    default=3,
    show_default=True,
    metavar="K",
    help="How many classes the table has for each item; of several labels, all predicted ones.",
)
@format_option(
    "table", "csv", "json", "parquet", help_text="All but table have every class's probability."
)
@output_option("Write to a file instead.")
def predict_command(
    folder: Path, files: tuple[Path, ...], top: int, form: str, output: Path | None
) -> None:
    """Predict new files with an exported model.

    DIR is a folder that hpo-job export or train wrote. FILE is an image, a text, a table with
    the columns that the model was trained on, a folder of those, or a pattern such as "*.png".
    """
    from hpo_job.artifacts.inference import files_of, load
    from hpo_job.cli.predictions import predictions_text, records
    from hpo_job.results.frames import frame_rows

    if form == "parquet" and output is None:
        raise click.UsageError("parquet is not text: name a file with --output")
    model = load(folder)
    table = model.predict(files_of(model.layout, files))
    if form == "table":
        put(predictions_text(table, top, width(output), model.threshold, model.labels_in), output)
    else:
        rows = records(table, model) if form == "json" else frame_rows(table)
        put_rows(list(map(str, table.columns)), rows, form, output)


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@address_options(8000)
def serve_command(folder: Path, host: str, port: int) -> None:
    """Serve an exported model over HTTP until Ctrl-C.

    Offers a page to drop files on, and for programs POST /predict: files in the form field "files",
    predictions as JSON. There is no login: where others can reach it, put it behind a proxy that
    asks for one.
    """
    from hpo_job.artifacts.inference import load
    from hpo_job.report.serving import serve

    show_log()
    model = load(folder)
    serve(model, host, port, lambda url: click.echo(f"{folder}: {url}  (Ctrl-C ends it)"))


COMMANDS = (train_command, predict_command, serve_command)
