"""Pictures of values: by trial, step by step, their distribution, and against the speed."""

from __future__ import annotations

from typing import Any

import optuna
from optuna.trial import TrialState

from hpo_job.report import series
from hpo_job.report.palette import BEST, COLOURS, MUTED
from hpo_job.report.plots.canvas import legend, nothing_to_draw, subplots
from hpo_job.results import number
from hpo_job.results.intermediate import phases_in, segments
from hpo_job.results.pareto import pareto_axes
from hpo_job.results.trials import finite, metric_names, trials_of, value

PRUNED = COLOURS["PRUNED"]


def history(study: optuna.Study, _: object) -> Any:
    """Every trial's value, pruned ones at their last, the best so far, and the baseline."""
    points = series.history(study)
    if points is None:
        raise nothing_to_draw(study, "history")
    figure, axes = subplots(figsize=(8, 5))
    for part, name, style in (
        (points.pruned, "PRUNED, last value", {"facecolors": "none", "edgecolors": PRUNED}),
        (points.infeasible, "infeasible", {"color": MUTED, "marker": "x"}),
        (points.counted, "COMPLETE", {"color": COLOURS["COMPLETE"], "alpha": 0.7}),
    ):
        if part:
            numbers = [trial.number for trial, _ in part]
            axes.scatter(numbers, [each for _, each in part], s=16, label=name, **style)
    if points.counted:
        numbers = [trial.number for trial, _ in points.counted]
        axes.step(numbers, points.best, where="post", color=BEST, label="best so far")
    if points.baseline is not None:
        name = f"baseline {number(points.baseline)}"
        axes.axhline(points.baseline, color=MUTED, linestyle="--", label=name)
    axes.set_xlabel("trial")
    axes.set_ylabel(metric_names(study)[0], parse_math=False)
    axes.xaxis.get_major_locator().set_params(integer=True)
    legend(axes)
    return figure


def intermediate(study: optuna.Study, _: object) -> Any:
    """Intermediate values, a panel for each phase, a cross where a trial was pruned."""
    reported = [trial for trial in trials_of(study) if trial.intermediate_values]
    if not reported:
        raise nothing_to_draw(study, "intermediate")
    phases = phases_in(reported)
    figure, axes = subplots(1, len(phases), squeeze=False, figsize=(1 + 5 * len(phases), 5))
    for panel, phase in zip(axes[0], phases.values(), strict=True):
        for trial in reported:
            parts = segments(trial)
            if points := parts.get(phase.name):
                steps, values = zip(*points, strict=True)
                marker = "." if len(steps) == 1 else None
                panel.plot(
                    steps,
                    values,
                    marker=marker,
                    linewidth=1,
                    alpha=0.4,
                    color=COLOURS[trial.state.name],
                )
                if trial.state == TrialState.PRUNED and list(parts)[-1] == phase.name:
                    panel.plot(steps[-1:], values[-1:], "x", color=PRUNED)
        panel.set(
            xlabel=f"step of {phase.name}" if phase.name else "step",
            ylabel=phase.metric or metric_names(study)[0],
        )
        panel.xaxis.get_major_locator().set_params(integer=True)
    legend(axes[0][0], {trial.state.name for trial in reported})
    return figure


def edf(study: optuna.Study, _: object) -> Any:
    """The share of the trials that count with at most a value."""
    values = list(map(value, finite(study)))
    if not values:
        raise nothing_to_draw(study, "edf")
    figure, axes = subplots(figsize=(8, 5))
    axes.ecdf(values, color=COLOURS["COMPLETE"])
    axes.set(xlabel=metric_names(study)[0], ylabel="share of trials")
    return figure


def pareto(study: optuna.Study, _: object) -> Any:
    """Value against speed, or two objectives against each other."""
    front_axes = pareto_axes(study)
    if front_axes is None:
        raise nothing_to_draw(study, "pareto")
    figure, axes = subplots(figsize=(8, 5))
    front, infeasible = front_axes.front.sort_values("x"), front_axes.infeasible
    if not infeasible.empty:
        axes.scatter(
            infeasible["x"], infeasible["y"], s=16, color=MUTED, marker="x", label="infeasible"
        )
    axes.scatter(
        front_axes.points["x"], front_axes.points["y"], s=14, alpha=0.5, color=COLOURS["COMPLETE"]
    )
    axes.plot(front["x"], front["y"], "o:", color=BEST, label="Pareto front")
    axes.set_xlabel(front_axes.x, parse_math=False)
    axes.set_ylabel(front_axes.y, parse_math=False)
    legend(axes)
    return figure
