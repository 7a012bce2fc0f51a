"""The commands that look further: what models get wrong, and what to try next."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from hpo_job.cli.opening import open_studies, open_study, storage_option
from hpo_job.cli.options import (
    artifacts_option,
    format_option,
    option,
    study_argument,
    trial_option,
)
from hpo_job.cli.terminal import put, width

if TYPE_CHECKING:
    import optuna

    from hpo_job.artifacts.predictions import Kept


@click.command()
@study_argument
@trial_option("Number of the trial.  [default: the best]")
@option(
    "--against",
    metavar="N|STUDY",
    help="Compare with another trial, or another study's best, by McNemar's test.",
)
@format_option("table", "json", help_text="How the errors are printed.")
@artifacts_option
@storage_option
def errors_command(
    study: str, trial: int | None, against: str | None, form: str, artifacts: str, storage: str
) -> None:
    """Print what a kept model gets wrong on the validation items.

    Confusion matrix, precision, recall and F1 of each class, calibration, the worst items, and
    those that all kept models get wrong with the same answer: look at their labels.
    """
    from hpo_job.artifacts.predictions import kept_predictions, trial_predictions
    from hpo_job.results import score
    from hpo_job.results.errors import mcnemar
    from hpo_job.results.errors_text import comparison_line, errors_record, errors_text
    from hpo_job.results.writing import to_json

    other_study = [against] if against is not None and not against.isdecimal() else []
    with open_studies([study, *other_study], storage) as (studies, _):
        opened = studies[0]
        kept = kept_predictions(opened, artifacts)
        chosen = kept[0] if trial is None else trial_predictions(opened, artifacts, trial)
        models = [each.predictions for each in kept]
        if form == "json":
            record = {"study": opened.study_name, "trial": chosen.trial.number}
            record |= errors_record(chosen.predictions, models)
            if against is not None:
                other = _other(studies, against, artifacts)
                record["mcnemar"] = mcnemar(chosen.predictions, other.predictions)
            put(to_json(record))
            return
        title = f"trial {chosen.trial.number} of {opened.study_name}, {score(opened, chosen.trial)}"
        put(errors_text(title, chosen.predictions, models, width()))
        if against is not None:
            other = _other(studies, against, artifacts)
            prefix = f"{studies[-1].study_name} " if other_study else ""
            names = (f"#{chosen.trial.number}", f"{prefix}#{other.trial.number}")
            line = comparison_line(names, (chosen.predictions, other.predictions))
            put("\n" + "\n".join(textwrap.wrap(line, width())))


def _other(studies: Sequence[optuna.Study], against: str, artifacts: str) -> Kept:
    """The trial of the same study, or the best one of another, to compare with."""
    from hpo_job.artifacts.predictions import kept_predictions, trial_predictions

    if against.isdecimal():
        return trial_predictions(studies[0], artifacts, int(against))
    return kept_predictions(studies[-1], artifacts)[0]


@click.command()
@study_argument
@format_option("table", "json", help_text="How the advice is printed.")
@artifacts_option
@storage_option
def advise_command(study: str, form: str, artifacts: str, storage: str) -> None:
    """Print what to try next, as far as the trials say it.

    Best values at the edge of a range, parameters that did not matter, a pruner that stops what
    later wins, noise, lost time, classes that fail. docs/results.md lists the rules.
    """
    from hpo_job.artifacts.predictions import best_predictions
    from hpo_job.results.advice import advice_lines, advise, too_few
    from hpo_job.results.writing import to_json

    with open_study(study, storage) as (opened, _):
        sentences = advise(opened, best_predictions(opened, artifacts))
        if form == "json":
            put(to_json(sentences))
            return
        if not sentences:
            put(too_few(opened))
        for text, plot in advice_lines(opened, sentences):
            lines = textwrap.wrap(text, width(), initial_indent="- ", subsequent_indent="  ")
            put("\n".join([*lines, *([f"  {plot}"] if plot else [])]))


COMMANDS = (errors_command, advise_command)
