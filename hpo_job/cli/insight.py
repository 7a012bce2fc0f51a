"""The commands that look into models: what they get wrong."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from hpo_job.cli.opening import open_studies, storage_option
from hpo_job.cli.options import artifacts_option, format_option, option, study_argument
from hpo_job.cli.terminal import put, width

if TYPE_CHECKING:
    import optuna

    from hpo_job.artifacts.predictions import Kept


@click.command()
@study_argument
@option(
    "--trial",
    type=click.IntRange(min=0),
    metavar="N",
    help="Number of the trial.  [default: the best]",
)
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


COMMANDS = (errors_command,)
