"""Pictures of parameters: parallel coordinates, slices, a contour, and importances."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import optuna
from optuna.trial import FrozenTrial

from hpo_job.report import series
from hpo_job.report.axes import Axis, axis
from hpo_job.report.palette import BEST, COLOURS, MUTED, SCALE
from hpo_job.report.plots.canvas import nothing_to_draw, subplots
from hpo_job.results import number
from hpo_job.results.importance import importance
from hpo_job.results.ranking import top
from hpo_job.results.trials import finite, maximizes, metric_names, value

PANELS = 5  # slices in a row


def parallel(study: optuna.Study, params: Sequence[str] | None) -> Any:
    """The trials that count as lines through their parameters, the redder the better."""
    from matplotlib.collections import LineCollection

    lines = series.parallel(study, 0, params)
    if lines is None:
        raise nothing_to_draw(study, "parallel")
    names = [metric_names(study)[0], *(each.name for each in lines.axes)]
    figure, axes = subplots(figsize=(max(8.0, 1.8 * len(names)), 5))
    count = len(lines.ranked)
    for rank, (trial, achieved) in enumerate(lines.ranked):
        step = rank * len(SCALE) // count
        heights = [
            None if y is None else (x, y) for x, y in enumerate(lines.heights(trial, achieved))
        ]
        axes.add_collection(
            LineCollection(
                _unbroken(heights),
                colors=SCALE[step],
                linewidths=1.6 if step == len(SCALE) - 1 else 0.8,
                alpha=0.85 if step == len(SCALE) - 1 else 0.45,
            )
        )
    ends = [(number(lines.high), number(lines.low)), *((_top(e), _bottom(e)) for e in lines.axes)]
    for position, (upper, lower) in enumerate(ends):
        axes.axvline(position, 0.08, 0.92, color=MUTED, linewidth=1)
        axes.text(position, 1.03, upper, ha="center", va="bottom", parse_math=False)
        axes.text(position, -0.03, lower, ha="center", va="top", parse_math=False)
    for position, each in enumerate(lines.axes, start=1):
        for place, choice in enumerate(each.choices[:12]):
            height = place / each.high if each.high else 0.5
            text = f" {choice[:18]}"
            axes.text(position, height, text, va="center", fontsize=8, parse_math=False)
    axes.set(xlim=(-0.3, len(names) - 0.6), ylim=(-0.1, 1.1), yticks=[])
    axes.set_xticks(range(len(names)), names, parse_math=False)
    axes.grid(False)
    return figure


def slices(study: optuna.Study, params: Sequence[str] | None) -> Any:
    """Values along each parameter; infeasible trials are grey crosses, the best one a star."""
    trials, best, broken = finite(study), top(study, 0), series.broken_points(study)
    names = series.varied(trials, params)
    if not names:
        raise nothing_to_draw(study, "slice")
    columns = min(PANELS, len(names))
    rows = -(-len(names) // columns)
    size = (max(8.0, 2.8 * columns), 3.6 * rows)
    figure, panels = subplots(rows, columns, squeeze=False, sharey=True, figsize=size)
    for panel, name in zip(panels.flat, names, strict=False):
        having = [trial for trial in trials if name in trial.params]
        others = [(trial, each) for trial, each in broken if name in trial.params]
        along = axis([*having, *(trial for trial, _ in others)], name)
        _scale(panel.xaxis, panel.set_xscale, along)
        panel.scatter(
            [_place(along, trial, spread=True) for trial in having],
            [value(trial) for trial in having],
            s=12,
            alpha=0.7,
            color=COLOURS["COMPLETE"],
        )
        if others:
            xs, ys = [_place(along, trial) for trial, _ in others], [each for _, each in others]
            panel.scatter(xs, ys, s=16, color=MUTED, marker="x", label="infeasible")
        if best is not None and name in best.params:
            panel.scatter(
                [_place(along, best)], [value(best)], s=120, color=BEST, marker="*", label="best"
            )
        panel.set_xlabel(name, parse_math=False)
    for panel in panels.flat[len(names) :]:
        panel.set_visible(False)
    for row in panels:
        row[0].set_ylabel(metric_names(study)[0], parse_math=False)
    return figure


def contour(study: optuna.Study, params: Sequence[str] | None) -> Any:
    """The value over two parameters, the most important ones unless others are named."""
    names = list(params or importance(study).shares)[:2]
    surface = series.surface(study, names) if len(names) == 2 else None
    if surface is None:
        raise nothing_to_draw(study, "contour")
    from matplotlib.colors import LinearSegmentedColormap

    colours = SCALE if maximizes(study) else SCALE[::-1]
    figure, axes = subplots(figsize=(8, 6))
    _scale(axes.xaxis, axes.set_xscale, surface.across)
    _scale(axes.yaxis, axes.set_yscale, surface.up)
    drawn = axes.pcolormesh(
        [_number(surface.across, x) for x in surface.xs],
        [_number(surface.up, y) for y in surface.ys],
        surface.means,
        shading="nearest",
        cmap=LinearSegmentedColormap.from_list("values", list(colours)),
    )
    axes.scatter(
        [_place(surface.across, trial) for trial in surface.trials],
        [_place(surface.up, trial) for trial in surface.trials],
        s=14,
        color="#20262c",
        edgecolors="white",
        linewidths=0.5,
    )
    axes.grid(False)
    axes.set_xlabel(names[0], parse_math=False)
    axes.set_ylabel(names[1], parse_math=False)
    figure.colorbar(drawn, ax=axes).set_label(metric_names(study)[0], parse_math=False)
    return figure


def bars(study: optuna.Study, _: object) -> Any:
    """The share of each parameter, the most important on top."""
    shares = importance(study).shares
    if not shares:
        raise nothing_to_draw(study, "importance")
    figure, axes = subplots(figsize=(8, 1.2 + 0.45 * len(shares)))
    drawn = axes.barh(list(range(len(shares))), list(shares.values()), color=COLOURS["COMPLETE"])
    axes.set_yticks(range(len(shares)), list(shares), parse_math=False)
    axes.bar_label(drawn, fmt="%.2f", padding=3)
    axes.invert_yaxis()
    axes.grid(False, axis="y")
    axes.margins(x=0.1)
    axes.set_xlabel("share of what the parameters explain")
    return figure


def _unbroken(heights: Sequence[tuple[int, float] | None]) -> list[list[tuple[int, float]]]:
    """The stretches of a line between its gaps."""
    stretches: list[list[tuple[int, float]]] = [[]]
    for each in heights:
        if each is None:
            stretches.append([])
        else:
            stretches[-1].append(each)
    return [stretch for stretch in stretches if len(stretch) > 1]


def _top(each: Axis) -> str:
    return "" if each.choices else each.text(each.high)


def _bottom(each: Axis) -> str:
    return "" if each.choices else each.text(each.low)


def _scale(ticks: Any, set_scale: Any, along: Axis) -> None:
    """Give an axis of a picture the scale and the ticks of a parameter."""
    if along.log:
        set_scale("log")
    elif along.choices:
        turned = {"rotation": 30, "ha": "right"} if sum(map(len, along.choices)) > 16 else {}
        ticks.set_ticks(range(len(along.choices)), labels=list(along.choices), parse_math=False)
        if ticks.axis_name == "x":
            ticks.set_tick_params(which="major")
            for text in ticks.get_ticklabels():
                text.set(**turned)
    elif along.integer:
        ticks.get_major_locator().set_params(integer=True)


def _place(along: Axis, trial: FrozenTrial, *, spread: bool = False) -> float:
    """Where a trial is drawn along a parameter; of a choice, spread out so that all are seen."""
    position = along.position(trial.params[along.name])
    if along.choices and spread:
        return position + ((trial.number * 0.618034) % 1 - 0.5) * 0.5
    return _number(along, position)


def _number(along: Axis, position: float) -> float:
    return float(10**position) if along.log else position
