"""``status --watch``: a study in the terminal, updated every other second."""

from __future__ import annotations

import time
from collections.abc import Callable

import optuna
from optuna.trial import FrozenTrial, TrialState
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from hpo_job import results
from hpo_job.cli.opening import open_study
from hpo_job.errors import StudyError
from hpo_job.results.trials import spec_of, trials_of
from hpo_job.storage.database import is_new
from hpo_job.storage.tables import NoTablesError
from hpo_job.trial.clock import instant
from hpo_job.trial.counting import takes_place

INTERVAL = 2.0  # seconds between two pictures
WIDTH = 60  # cells of the bar
LATEST = 8  # trials that ended last, at most


def watch(
    study: optuna.Study,
    console: Console | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Show ``study`` until its budget is used up and nothing runs; Ctrl-C leaves it at any time.

    If the output is not a terminal, the study is shown once, when it has ended. A study without
    a known budget, which has no end, is shown at once.
    """
    console = console or Console()
    endless = not spec_of(study).get("budget") and not console.is_terminal
    with Live(picture(study), console=console, auto_refresh=False, screen=False) as live:
        while not (endless or results.finished(study)):
            sleep(INTERVAL)
            live.update(picture(study), refresh=True)
    if not console.is_terminal:
        console.print()  # Live ends a file without a newline


def await_study(
    name: str, url: str, console: Console | None = None, sleep: Callable[[float], None] = time.sleep
) -> None:
    """Return once there is such a study; until then a line says that it is waited for.

    Args:
        name: of the study, or its job folder.
        url: of its database, which need not be there yet either.
        console: where the line goes.
        sleep: waits so many seconds.
    """
    waiting = False
    while True:
        try:
            if not is_new(url):
                with open_study(name, url):
                    return
            problem = f"{url}: there is no such file yet"
        except (StudyError, NoTablesError) as error:
            problem = str(error)
        if not waiting:
            (console or Console()).print(
                f"waiting for study {name} ({problem})", markup=False, highlight=False
            )
        waiting = True
        sleep(INTERVAL)


def picture(study: optuna.Study) -> RenderableType:
    """How far the study is, what runs now and what ended last."""
    trials = trials_of(study)
    bound = spec_of(study).get("budget", {}).get("trials")
    done = sum(takes_place(trial) for trial in trials)
    parts: list[RenderableType] = [Text(study.study_name, style="bold")]
    if bound:
        filled = WIDTH * min(done, bound) // bound
        parts.append(Text.assemble(("━" * filled, "green"), ("━" * (WIDTH - filled), "dim")))
    parts += [Text(line, no_wrap=True, overflow="ellipsis") for line in results.overview(study)]
    running = results.running(study)
    if running.row_count:
        parts += [Text(), Text("running", style="bold"), running]
    ended = sorted(
        (trial for trial in trials if trial.state.is_finished() and trial.datetime_complete),
        key=lambda trial: instant(trial.datetime_complete),
    )[-LATEST:]
    if ended:
        parts += [Text(), Text("ended last", style="bold"), *map(_line, reversed(ended))]
    return Group(*parts)


def _line(trial: FrozenTrial) -> Text:
    style = {TrialState.FAIL: "red", TrialState.PRUNED: "yellow"}.get(trial.state, "green")
    number, state, value, time, rest = results.row(trial)
    line = Text(no_wrap=True, overflow="ellipsis")
    line.append(f"{number:>6}  ").append(f"{state:<8}", style)
    return line.append(f"  {value:>8}  {time:>7}  {rest}")
