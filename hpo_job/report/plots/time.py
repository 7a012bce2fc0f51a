"""Pictures of time: who worked when, and where it went."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import optuna

from hpo_job.report.palette import COLOURS
from hpo_job.report.plots.canvas import legend, nothing_to_draw, subplots
from hpo_job.results import clock
from hpo_job.results.timings import timings, workers
from hpo_job.results.trials import seconds, trials_of


def timeline(study: optuna.Study, _: object) -> Any:
    """When each worker ran which trial."""
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    started = [trial for trial in trials_of(study) if trial.datetime_start]
    if not started:
        raise nothing_to_draw(study, "timeline")
    by_worker = workers(started)
    figure, axes = subplots(figsize=(10, 1.8 + 0.4 * len(by_worker)))
    for name, trials in by_worker.items():
        axes.barh(
            [name] * len(trials),
            [timedelta(seconds=seconds(trial)) for trial in trials],
            left=[trial.datetime_start for trial in trials],
            color=[COLOURS[trial.state.name] for trial in trials],
            edgecolor="white",
            linewidth=0.3,
        )
    axes.invert_yaxis()
    axes.grid(False, axis="y")
    locator = AutoDateLocator()
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    legend(axes, {trial.state.name for trial in started})
    return figure


def time(study: optuna.Study, _: object) -> Any:
    """Where the workers' time went."""
    timed = timings(study)
    spent = {name: time for name, time in timed.seconds.items() if time > 0}
    if not spent:
        raise nothing_to_draw(study, "time")
    figure, axes = subplots(figsize=(8, 1.2 + 0.45 * len(spent)))
    bars = axes.barh(list(spent), [time / 60 for time in spent.values()], color=COLOURS["COMPLETE"])
    texts = [f"{time / timed.total:.1%}  {clock(time)}" for time in spent.values()]
    axes.bar_label(bars, texts, padding=3)
    axes.invert_yaxis()
    axes.grid(False, axis="y")
    axes.margins(x=0.2)
    axes.set_xlabel("minutes of all workers")
    return figure
