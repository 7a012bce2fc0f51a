"""Trials as the rows that a person looks at first; no data frame is needed for it."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import wrap

import optuna
from optuna.trial import FrozenTrial

from hpo_job.errors import plural
from hpo_job.results.columns import columns
from hpo_job.results.continued import work_text
from hpo_job.results.formatting import settings, text_table
from hpo_job.results.overview import caption
from hpo_job.results.trials import trials_of
from hpo_job.study.promotion import superseded

NOTHING = "no trial is like that"


def listing(study: optuna.Study, trials: Sequence[FrozenTrial], width: int) -> str:
    """These trials as a person looks at them first: a table of at most ``width`` cells."""
    hidden = superseded(trials_of(study))
    listed = [trial for trial in trials if trial.number not in hidden]
    table = columns(study, listed, width)
    text = text_table(table.header, table.rows, width, right=table.right, bold=True)
    if trials and table.same:
        line = f"the same in all: {settings(table.same)}"
        text += "\n" + "\n".join(wrap(line, width, break_on_hyphens=False))
    if len(listed) < len(trials):
        count = plural(len(trials) - len(listed), "paused attempt")
        text += f"\nnot listed: {count} that another trial went on with"
    return captioned(study, text, len(trials))


def captioned(study: optuna.Study, text: str, count: int) -> str:
    """A table of so many trials, with what should be known of their values below."""
    if not count:
        return f"{text}\n{NOTHING if trials_of(study) else 'no trials yet'}"
    work = work_text(study)
    lines = [caption(study), None if work is None else "\n".join(wrap(f"retries: {work}", 80))]
    return "\n".join([text, *filter(None, lines)])
