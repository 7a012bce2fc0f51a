"""The commands that print what studies found: thin over `results`."""

from __future__ import annotations

import shutil
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hpo_job.cli.common import (
    METHODS,
    all_loaded,
    loaded,
    method_option,
    output_option,
    storage_option,
    studies_argument,
    study_argument,
    warn,
)
from hpo_job.cli.options import option
from hpo_job.errors import SpecError

if TYPE_CHECKING:
    import optuna


@click.command("results")
@study_argument
@option("--where", metavar="EXPR", help="Only trials like: value >= 0.94 and model == 'resnet18'.")
@option("--sort", metavar="COLUMN", help="Sort by a column; -COLUMN for downwards.")
@option("--columns", metavar="NAMES", help="Only these columns, with commas between them.")
@option("--limit", type=click.IntRange(min=1), metavar="N", help="At most so many trials.")
@option(
    "--format",
    "format_",
    type=click.Choice(["table", "csv", "json", "parquet"]),
    default="table",
    show_default=True,
    help="All but the table have the columns of Optuna's trials_dataframe.",
)
@output_option("Write to a file instead.")
@storage_option
def results_(
    study: str,
    where: str | None,
    sort: str | None,
    columns: str | None,
    limit: int | None,
    format_: str,
    output: Path | None,
    storage: str | None,
) -> None:
    """Print all trials of a study, or those asked for.

    Columns go by their whole name, as --format csv has it, or without what stands before it:
    value, state, duration, model for params_model, execute_time for user_attrs_execute_time.
    """
    from hpo_job.machine import collector_paused
    from hpo_job.results.rows import listing
    from hpo_job.results.trials import trials_of

    if format_ == "parquet" and output is None:
        raise click.UsageError("parquet is no text: name a file with --output")
    named = [name.strip() for name in columns.split(",") if name.strip()] if columns else []
    with collector_paused(), loaded(study, storage) as (found, _):
        asked = named or where is not None or sort is not None
        if format_ == "table" and not asked:  # without the frame, which takes as long again
            _put(listing(found, trials_of(found)[:limit], width(output)), output)
            return
        from hpo_job.results import frames  # and pandas, which takes a while to import
        from hpo_job.results.listing import chosen_columns
        from hpo_job.results.pareto import names_of_values
        from hpo_job.results.query import select

        known = names_of_values(found)
        chosen = select(frames.frame(found), where=where, sort=sort, limit=limit, known=known)
        shown = select(chosen, columns=named, known=known)
        if format_ == "table" and named:
            text = chosen_columns(found, shown, width(output))
        elif format_ == "table":
            trials = trials_of(found)  # after the frame, so that none of its trials is missing
            picked = [trials[number] for number in chosen["number"]]
            text = listing(found, picked, width(output))
        elif format_ == "parquet":
            assert output is not None
            frames.write(shown, output, format_)
            return
        else:
            text = frames.to_text(shown, format_)
        _put(text, output)


@click.command()
@study_argument
@option(
    "--fastest-within",
    type=click.FloatRange(min=0),
    metavar="POINTS",
    help="The fastest trial that is at most so much worse than the best.",
)
@option(
    "--pareto",
    metavar="COLUMNS",
    help="The trials that no other beats in all of these: value,execute_time.",
)
@option(
    "--format",
    "format_",
    type=click.Choice(["toml", "table", "json"]),
    help="[default: toml of one trial, table of several]",
)
@storage_option
def best(
    study: str,
    fastest_within: float | None,
    pareto: str | None,
    format_: str | None,
    storage: str | None,
) -> None:
    """Print the best parameters as TOML, ready to paste.

    They come as an [[enqueue]] entry, which may stand at the end of any study.toml; its lines,
    put under [search_space], fix the parameters instead.

    With --pareto any columns will do, see results --format csv; less is better in all but the
    values, unless it is written name:max.
    """
    from hpo_job.results import listing

    if pareto and fastest_within is not None:
        raise click.UsageError("--pareto and --fastest-within: choose one")
    with loaded(study, storage) as (found, _):
        picked = listing.pick(found, fastest_within, pareto)
        _put(listing.told(found, picked, format_, width()), None)


@click.command()
@studies_argument
@option(
    "--method",
    type=click.Choice([*METHODS, "all"]),
    default=METHODS[0],
    show_default=True,
    help="How they are computed; all for the three side by side.",
)
@option(
    "--format",
    "format_",
    type=click.Choice(["table", "csv", "json"]),
    default="table",
    show_default=True,
    help="A row for each parameter.",
)
@storage_option
def importance(studies: tuple[str, ...], method: str, format_: str, storage: str | None) -> None:
    """Print which parameters mattered in each study.

    The shares of a column add up to 1. Conditional parameters are assessed by ped-anova only.
    """
    from hpo_job.results import comparison_text as comparing

    methods = METHODS if method == "all" else (method,)
    with all_loaded(studies, storage) as (found, _):
        text, remarks = comparing.importances_told(found, methods, format_, width())
        _put(text, None)
        for line in remarks:
            warn(line)


@click.command()
@studies_argument
@method_option
@option(
    "--format",
    "format_",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="How it is printed.",
)
@output_option("Write a page with a plot of each, to open in a browser.")
@storage_option
def compare(
    studies: tuple[str, ...], method: str, format_: str, output: Path | None, storage: str | None
) -> None:
    """Compare studies: what they reached, by what, and how soon.

    Of several objectives the first is compared.
    """
    from hpo_job.results import comparison_text as comparing

    with all_loaded(studies, storage) as (found, _):
        if len(found) < 2:
            raise click.UsageError("name two studies or more")
        if output is not None:
            from hpo_job import report

            report.write_comparison(found, output, method)
            click.echo(f"wrote {output}")
            return
        text, remarks = comparing.told(found, method, format_, width())
        _put(text, None)
        for line in remarks:
            warn(line)


@click.command()
@study_argument
@click.argument("parameters", metavar="[NAME=VALUE...]", nargs=-1)
@option("--from", "other", metavar="STUDY", help="Those of the best trials of another study.")
@option(
    "--top",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="How many of its trials.",
)
@storage_option
def enqueue(
    study: str, parameters: tuple[str, ...], other: str | None, top: int, storage: str | None
) -> None:
    """Enqueue parameters for the next free worker.

    Those that are left out are suggested. Values are written as in TOML; a plain word needs no
    quotes: model=resnet18 epochs=3.

    With --from, those of another study's best trials are enqueued; what does not fit this
    study's search space is named and left out, and NAME=VALUE is set in each of them.
    """
    from hpo_job.study import joining as studies

    values = dict(map(_assignment, parameters))
    if len(values) < len(parameters):
        raise SpecError("enqueue: a parameter is given twice")
    if other is not None:
        with all_loaded([study, other], storage) as (found, opened):
            _warm(found, opened, top, values)
        return
    if not values:
        raise click.UsageError("name parameters, such as epochs=3, or another study with --from")
    with loaded(study, storage) as (found_one, opened):
        studies.enqueue(found_one, opened, values)
    click.echo(f"enqueued in {study}: {' '.join(parameters)}")


COMMANDS = (results_, best, importance, compare, enqueue)


def _warm(found: list[optuna.Study], opened: Any, top: int, values: dict[str, Any]) -> None:
    from hpo_job.errors import StudyError
    from hpo_job.results import settings
    from hpo_job.results.warm_start import starts
    from hpo_job.study import joining as studies

    if len(found) < 2:
        raise click.UsageError("--from: name another study than the one to enqueue in")
    study, other = found
    misfit = studies.misfit(study, values)
    if misfit:
        raise SpecError(f"study {study.study_name!r}: {misfit[0]}: {misfit[1]}")
    enqueued = starts(study, other, top, values)
    if not enqueued:
        raise StudyError(
            f"study {other.study_name!r} has no COMPLETE trial whose parameters fit "
            f"{study.study_name!r}"
        )
    for start in enqueued:
        studies.enqueue(study, opened, start.parameters)
        click.echo(
            f"enqueued in {study.study_name}: #{start.trial} of {other.study_name}: "
            f"{settings(start.parameters)}"
        )
        for name, why in start.left_out.items():
            warn(f"#{start.trial}: {name} does not fit and is left out: {why}")


def _put(text: str, output: Path | None) -> None:
    text = text if text.endswith("\n") else text + "\n"
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise SpecError(f"{output}: cannot be written: {error.strerror}") from error


def width(output: Path | None = None) -> int:
    """The columns that a table may have: the terminal's, or of a file as many as it likes."""
    return 10_000 if output else shutil.get_terminal_size().columns


def _assignment(text: str) -> tuple[str, Any]:
    """``name=value``, the value as TOML has it, or a plain word."""
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise SpecError(f"enqueue: {text!r} is not name=value")
    try:
        return name, tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return name, value
