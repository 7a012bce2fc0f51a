"""Pictures of values: by trial, step by step, their distribution, and against the speed."""

from __future__ import annotations

import math
from itertools import accumulate
from typing import Any

import optuna
from optuna.trial import TrialState

from hpo_job.report.palette import BEST, COLOURS, MUTED
from hpo_job.report.plots.canvas import legend, nothing_to_draw, subplots
from hpo_job.results import number
from hpo_job.results.intermediate import phases_in, segments
from hpo_job.results.pareto import pareto_axes
from hpo_job.results.trials import (
    baselines,
    complete,
    is_multi_objective,
    maximizes,
    metric_names,
    trials_of,
    value,
)
from hpo_job.trial.phases import measured_value


def history(study: optuna.Study, _: object) -> Any:
    """Every trial's value, pruned ones at their last, the best so far, and the baseline."""
    done = [trial for trial in complete(study) if math.isfinite(value(trial))]
    pruned = (
        []
        if is_multi_objective(study)
        else [
            (trial.number, last)
            for trial in trials_of(study, (TrialState.PRUNED,))
            if (last := measured_value(trial)) is not None and math.isfinite(last)
        ]
    )
    if not done and not pruned:
        raise nothing_to_draw(study, "history")
    figure, axes = subplots(figsize=(8, 5))
    if pruned:
        axes.scatter(
            *zip(*pruned, strict=True),
            s=16,
            facecolors="none",
            edgecolors=COLOURS["PRUNED"],
            label="PRUNED, last value",
        )
    if done:
        numbers, values = [t.number for t in done], [value(t) for t in done]
        axes.scatter(numbers, values, s=16, alpha=0.7, color=COLOURS["COMPLETE"], label="COMPLETE")
        best = list(accumulate(values, max if maximizes(study) else min))
        axes.step(numbers, best, where="post", color=BEST, label="best so far")
    baseline = baselines(study)[0]
    if baseline is not None:
        axes.axhline(baseline, color=MUTED, linestyle="--", label=f"baseline {number(baseline)}")
    axes.set(xlabel="trial", ylabel=metric_names(study)[0])
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
                    panel.plot(steps[-1:], values[-1:], "x", color=COLOURS["PRUNED"])
        panel.set(
            xlabel=f"step of {phase.name}" if phase.name else "step",
            ylabel=phase.metric or metric_names(study)[0],
        )
        panel.xaxis.get_major_locator().set_params(integer=True)
    legend(axes[0][0], {trial.state.name for trial in reported})
    return figure


def edf(study: optuna.Study, _: object) -> Any:
    """The share of the COMPLETE trials that have at most a value."""
    values = [value(trial) for trial in complete(study) if math.isfinite(value(trial))]
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
    front = front_axes.front.sort_values("x")
    axes.scatter(
        front_axes.points["x"], front_axes.points["y"], s=14, alpha=0.5, color=COLOURS["COMPLETE"]
    )
    axes.plot(front["x"], front["y"], "o:", color=BEST, label="Pareto front")
    axes.set(xlabel=front_axes.x, ylabel=front_axes.y)
    legend(axes)
    return figure
