"""Trials as the rows that a person looks at first; no data frame is needed for it."""

from __future__ import annotations

from collections.abc import Sequence

import optuna
from optuna.trial import FrozenTrial

from hpo_job.results.formatting import text_table
from hpo_job.results.overview import caption, row
from hpo_job.results.trials import metric_name, trials_of

NOTHING = "no trial is like that"


def listing(study: optuna.Study, trials: Sequence[FrozenTrial], width: int) -> str:
    """These trials as a person looks at them first: a table of at most ``width`` cells."""
    header = ("trial", "state", metric_name(study), "time", "parameters")
    right = (True, False, True, True)
    return captioned(
        study,
        text_table(header, list(map(row, trials)), width, right=right, bold=True),
        len(trials),
    )


def captioned(study: optuna.Study, text: str, count: int) -> str:
    """A table of so many trials, with what should be known of their values below."""
    if not count:
        return f"{text}\n{NOTHING if trials_of(study) else 'no trials yet'}"
    line = caption(study)
    return f"{text}\n{line}" if line else text
