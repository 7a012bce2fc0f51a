"""``status --watch``: a study in the terminal, brought up to date every other second."""

from __future__ import annotations

import time
from collections.abc import Callable

import optuna
from optuna.trial import TrialState
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from hpo_job import results
from hpo_job.ledger import FINISHED
from hpo_job.results.trials import spec_of, trials_of

LOOK = 2.0  # seconds between two looks
LAST = 8  # trials that ended last


def watch(
    study: optuna.Study,
    console: Console | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Show ``study`` until its budget is used up and nothing runs; Ctrl-C leaves it at any time.

    Where the output is no terminal, it is shown once, when the study has ended.
    """
    with Live(
        picture(study), console=console or Console(), auto_refresh=False, screen=False
    ) as live:
        while not results.finished(study):
            sleep(LOOK)
            live.update(picture(study), refresh=True)


def picture(study: optuna.Study) -> RenderableType:
    """Where the study stands, its progress, what runs and what ended last."""
    trials = trials_of(study)
    bound = spec_of(study).get("budget", {}).get("trials")
    done = sum(trial.state in FINISHED for trial in trials)
    parts: list[RenderableType] = [Text(study.study_name, style="bold")]
    if bound:
        parts.append(ProgressBar(total=bound, completed=min(done, bound)))
    parts += [Text(line, no_wrap=True, overflow="ellipsis") for line in results.overview(study)]
    running = results.table(study, running=True)
    running.caption = None
    if running.row_count:
        parts += [Text(), Text("running", style="bold"), running]
    ended = sorted(
        (trial for trial in trials if trial.state.is_finished() and trial.datetime_complete),
        key=lambda trial: str(trial.datetime_complete),
    )[-LAST:]
    if ended:
        parts += [Text(), Text("ended last", style="bold"), _ended(ended)]
    return Group(*parts)


def _ended(trials: list[optuna.trial.FrozenTrial]) -> Table:
    rows = Table.grid(padding=(0, 2))
    rows.add_column(justify="right", no_wrap=True)
    rows.add_column(no_wrap=True)
    rows.add_column(justify="right", no_wrap=True)
    rows.add_column(justify="right", no_wrap=True)
    rows.add_column(no_wrap=True, overflow="ellipsis")
    styles = {TrialState.FAIL: "red", TrialState.PRUNED: "yellow"}
    for trial in reversed(trials):
        number, state, *rest = results.row(trial)
        rows.add_row(Text(number), Text(state, styles.get(trial.state, "green")), *map(Text, rest))
    return rows
