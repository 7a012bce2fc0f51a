"""The commands that print the results of studies, thin over `hpo_job.results`."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hpo_job.cli.opening import open_studies, open_study, storage_option
from hpo_job.cli.options import (
    format_option,
    method_option,
    option,
    output_option,
    studies_argument,
    study_argument,
)
from hpo_job.cli.terminal import put, put_rows, warn, width
from hpo_job.errors import SpecError, StudyError
from hpo_job.spec.choices import IMPORTANCE_METHODS

if TYPE_CHECKING:
    import optuna

    from hpo_job.storage.database import Storage


@click.command()
@study_argument
@option(
    "--where",
    metavar="EXPR",
    help="Only trials that match, such as: value >= 0.94 and model == 'resnet18'.",
)
@option("--sort", metavar="COLUMN", help="Sort by a column; -COLUMN sorts in descending order.")
@option("--columns", metavar="NAMES", help="Only these columns, separated by commas.")
@option("--limit", type=click.IntRange(min=1), metavar="N", help="At most N trials.")
@format_option(
    "table",
    "csv",
    "json",
    "parquet",
    help_text="All but table have the columns of Optuna's trials_dataframe.",
)
@output_option("Write to a file instead.")
@storage_option
def results_command(
    study: str,
    where: str | None,
    sort: str | None,
    columns: str | None,
    limit: int | None,
    form: str,
    output: Path | None,
    storage: str,
) -> None:
    """Print the trials of a study, all or a selection.

    A column has its full name, as in --format csv, or the same without the prefix: value, state,
    duration, model for params_model, execute_time for user_attrs_execute_time.
    """
    from hpo_job.machine import collector_paused
    from hpo_job.results.rows import listing
    from hpo_job.results.trials import trials_of

    if form == "parquet" and output is None:
        raise click.UsageError("parquet is not text: name a file with --output")
    names = [name.strip() for name in columns.split(",") if name.strip()] if columns else []
    with collector_paused(), open_study(study, storage) as (opened, _):
        selects = names or where is not None or sort is not None
        if form == "table" and not selects:  # without the frame, which takes as long again
            put(listing(opened, trials_of(opened)[:limit], width(output)), output)
            return
        from hpo_job.results.frames import frame, trial_rows  # pandas takes a while to import
        from hpo_job.results.listing import chosen_columns
        from hpo_job.results.pareto import names_of_values
        from hpo_job.results.query import select

        known = names_of_values(opened)
        rows = select(frame(opened), where=where, sort=sort, limit=limit, known=known)
        table = select(rows, columns=names, known=known)
        if form == "table" and names:
            text = chosen_columns(opened, table, names, width(output))
        elif form == "table":
            trials = trials_of(opened)  # after the frame, so that none of its trials is missing
            text = listing(opened, [trials[number] for number in rows["number"]], width(output))
        else:
            cells = trial_rows(opened, list(rows["number"]))
            put_rows(list(map(str, table.columns)), cells, form, output)
            return
        put(text, output)


@click.command()
@study_argument
@option(
    "--fastest-within",
    type=click.FloatRange(0, 1, max_open=True),
    metavar="SHARE",
    help="The fastest trial that keeps all but this share of the best one's gain over the "
    "baseline, such as 0.05.",
)
@option(
    "--pareto",
    metavar="COLUMNS",
    help="The trials that no other trial beats in all of these columns, as value,execute_time.",
)
@format_option(
    "toml",
    "table",
    "json",
    default=None,
    help_text="[default: toml for one trial, table for several]",
)
@storage_option
def best_command(
    study: str,
    fastest_within: float | None,
    pareto: str | None,
    form: str | None,
    storage: str,
) -> None:
    """Print the best parameters as TOML, ready to paste.

    The output is an [[enqueue]] entry for the end of any study.toml. To fix the parameters
    instead, paste its lines under [search_space].

    --pareto takes any column of results --format csv. Less is better, except for the values of
    the study and where :max is appended to a name.
    """
    from hpo_job.results import listing

    if pareto and fastest_within is not None:
        raise click.UsageError("--pareto and --fastest-within: choose one")
    with open_study(study, storage) as (opened, _):
        picked = listing.pick(opened, fastest_within, pareto)
        put(listing.picked_text(opened, picked, form, width()))


@click.command()
@studies_argument
@option(
    "--method",
    type=click.Choice([*IMPORTANCE_METHODS, "all"]),
    default=IMPORTANCE_METHODS[0],
    show_default=True,
    help="How importances are computed; all prints the methods side by side.",
)
@format_option("table", "csv", "json", help_text="How they are printed, a row per parameter.")
@storage_option
def importance_command(studies: tuple[str, ...], method: str, form: str, storage: str) -> None:
    """Print which parameters mattered in each study.

    The shares in a column add up to 1. Only ped-anova assesses conditional parameters.
    """
    from hpo_job.results.comparison_text import importance_text

    methods = IMPORTANCE_METHODS if method == "all" else (method,)
    with open_studies(studies, storage) as (opened, _):
        text, remarks = importance_text(opened, methods, form, width())
        put(text)
        for line in remarks:
            warn(line)


@click.command()
@studies_argument
@method_option
@format_option("table", "json", help_text="How the comparison is printed.")
@output_option("Write an HTML page with plots instead.")
@storage_option
def compare_command(
    studies: tuple[str, ...], method: str, form: str, output: Path | None, storage: str
) -> None:
    """Compare what studies reached, with what and how soon.

    Of a study with several objectives, the first is compared.
    """
    from hpo_job.results.comparison_text import comparison_text

    with open_studies(studies, storage) as (opened, _):
        if len(opened) < 2:
            raise click.UsageError("name at least two studies")
        if output is not None:
            from hpo_job import report

            report.write_comparison(opened, output, method)
            click.echo(f"wrote {output}")
            return
        text, remarks = comparison_text(opened, method, form, width())
        put(text)
        for line in remarks:
            warn(line)


@click.command()
@study_argument
@click.argument("parameters", metavar="[NAME=VALUE...]", nargs=-1)
@option("--from", "source", metavar="STUDY", help="Enqueue the best trials of another study.")
@option(
    "--top",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="How many trials of the other study.",
)
@option("--from-storage", metavar="URL", help="Database of the other study.  [default: the same]")
@storage_option
def enqueue_command(
    study: str,
    parameters: tuple[str, ...],
    source: str | None,
    top: int,
    from_storage: str | None,
    storage: str,
) -> None:
    """Enqueue parameters that the next free worker tries.

    The sampler suggests the parameters that are left out. Values are written as in TOML; a plain
    word needs no quotes: model=resnet18 epochs=3.

    With --from, the parameters of another study's best trials are enqueued. Those that do not
    fit this study's search space are named and left out; NAME=VALUE is set in each trial.
    """
    from hpo_job.study.joining import enqueue

    values = dict(map(_assignment, parameters))
    if len(values) < len(parameters):
        raise SpecError("enqueue: a parameter is set twice; set each once")
    if from_storage is not None and source is None:
        raise click.UsageError("--from-storage: name the study in it with --from")
    if source is not None and from_storage is not None:
        with (
            open_study(source, from_storage) as (other, _),
            open_study(study, storage, read_only=False) as (target, database),
        ):
            _enqueue_best([target, other], database, top, values)
        return
    if source is not None:
        with open_studies([study, source], storage, read_only=False) as (opened, database):
            _enqueue_best(opened, database, top, values)
        return
    if not values:
        raise click.UsageError("name parameters, such as epochs=3, or another study with --from")
    with open_study(study, storage, read_only=False) as (target, database):
        enqueue(target, database, values)
    click.echo(f"enqueued in {study}: {' '.join(parameters)}")


def _enqueue_best(
    studies: list[optuna.Study], storage: Storage, top: int, values: dict[str, Any]
) -> None:
    """Enqueue in the first study the best trials of the second, with ``values`` set in each."""
    from hpo_job.results import settings
    from hpo_job.results.warm_start import starts
    from hpo_job.study.joining import enqueue, misfit

    if len(studies) < 2:
        raise click.UsageError("--from: name another study than the one to enqueue in")
    target, source = studies
    if problem := misfit(target, values):
        raise SpecError(f"study {target.study_name!r}: {problem[0]}: {problem[1]}")
    enqueued = starts(target, source, top, values)
    if not enqueued:
        raise StudyError(
            f"study {source.study_name!r} has no COMPLETE trial whose parameters fit "
            f"{target.study_name!r}"
        )
    for start in enqueued:
        enqueue(target, storage, start.parameters)
        click.echo(
            f"enqueued in {target.study_name}: #{start.trial} of {source.study_name}: "
            f"{settings(start.parameters)}"
        )
        for name, reason in start.left_out.items():
            warn(f"#{start.trial}: {name} does not fit and is left out: {reason}")


def _assignment(text: str) -> tuple[str, Any]:
    """``name=value`` as a pair; the value as in TOML, or a plain word."""
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise SpecError(f"enqueue: {text!r} is not of the form name=value")
    try:
        return name, tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return name, value


COMMANDS = (results_command, best_command, importance_command, compare_command, enqueue_command)
