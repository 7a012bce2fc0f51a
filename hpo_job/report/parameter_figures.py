"""The figures about parameters: parallel coordinates, slices and a contour."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import optuna
import plotly.graph_objects as go
from optuna.trial import FrozenTrial, TrialState
from sklearn.neighbors import KNeighborsRegressor

from hpo_job.report.axes import Axis, axis
from hpo_job.report.style import (
    BEST,
    COLOURS,
    MUTED,
    SCALE,
    about,
    in_lines,
    label,
    new_figure,
    point_opacity,
)
from hpo_job.results import number
from hpo_job.results.formatting import plain
from hpo_job.results.ranking import top
from hpo_job.results.trials import complete, maximizes, metric_names, value

GRID = 40  # cells of a contour each way
NEAR = 5  # trials whose mean a cell shows, at least


def finite(study: optuna.Study, objective: int) -> list[FrozenTrial]:
    """The COMPLETE trials whose value can be drawn."""
    return [trial for trial in complete(study) if math.isfinite(value(trial, objective))]


def varied(trials: Sequence[FrozenTrial]) -> list[str]:
    """The parameters that at least one trial has, in the order they are suggested."""
    return list(dict.fromkeys(name for trial in trials for name in trial.params))


def parallel(
    study: optuna.Study, objective: int = 0, params: Sequence[str] | None = None
) -> go.Figure | None:
    """Each COMPLETE trial as a line through its parameters, coloured by its value.

    Trials are drawn in as many traces as there are colours, the best last: a trace for each
    would keep a browser busy for seconds at a thousand trials.
    """
    trials = finite(study, objective)
    names = [name for name in varied(trials) if params is None or name in params]
    if len(trials) < 2 or not names:
        return None
    axes = [axis(trials, name) for name in names]
    values = [value(trial, objective) for trial in trials]
    low, high = min(values), max(values)
    ranked = sorted(
        zip(values, trials, strict=True),
        key=lambda pair: pair[0],
        reverse=not maximizes(study, objective),
    )
    figure = new_figure(height=460, showlegend=False)
    count = len(SCALE)
    for step, colour in enumerate(SCALE):
        part = ranked[step * len(ranked) // count : (step + 1) * len(ranked) // count]
        if part:
            figure.add_trace(_lines(part, axes, low, high, colour, step == count - 1))
    ends = [(number(high), number(low))] + [_ends(each) for each in axes]
    for position, (upper, lower) in enumerate(ends):
        figure.add_shape(
            type="line",
            x0=position,
            x1=position,
            y0=0,
            y1=1,
            layer="below",
            line={"color": MUTED, "width": 1},
        )
        for y, text, anchor in ((1.03, upper, "bottom"), (-0.03, lower, "top")):
            figure.add_annotation(
                x=position,
                y=y,
                text=label(text),
                showarrow=False,
                yanchor=anchor,
                font={"size": 11},
            )
        if position and axes[position - 1].choices:
            _name_choices(figure, position, axes[position - 1])
    titles = [in_lines(name) for name in [metric_names(study)[objective], *names]]
    figure.update_xaxes(
        tickvals=list(range(len(titles))),
        ticktext=titles,
        showgrid=False,
        zeroline=False,
        range=[-0.3, len(titles) - 0.6],
        side="bottom",
    )
    figure.update_yaxes(visible=False, range=[-0.12, 1.12], fixedrange=True)
    return figure


def slices(
    study: optuna.Study, objective: int = 0, params: Sequence[str] | None = None
) -> dict[str, go.Figure]:
    """For each parameter, the values of the COMPLETE trials along it."""
    trials = finite(study, objective)
    best = top(study, objective)
    drawn = {}
    for name in varied(trials):
        if params is not None and name not in params:
            continue
        having = [trial for trial in trials if name in trial.params]
        along = axis(trials, name)
        figure = new_figure(height=300, showlegend=False)
        figure.add_trace(_spread(having, along, objective))
        for trial in having:
            if trial is best:
                figure.add_trace(_star(trial, along, objective))
        figure.update_xaxes(title_text=label(name), **along.plotly())
        figure.update_yaxes(title_text=label(metric_names(study)[objective]))
        figure.update_layout(margin={"l": 60, "r": 10, "t": 10, "b": 50})
        drawn[name] = figure
    return drawn


def _spread(trials: list[FrozenTrial], along: Axis, objective: int) -> go.Box | go.Scatter:
    """The trials along a parameter: of a categorical one, spread out over each choice."""
    values = [value(trial, objective) for trial in trials]
    shared = {
        "y": values,
        "hovertext": [about(trial) for trial in trials],
        "hoverinfo": "text",
        "marker": {
            "color": COLOURS[TrialState.COMPLETE],
            "size": 5,
            "opacity": point_opacity(len(trials)),
        },
    }
    if not along.choices:
        return go.Scatter(
            x=[trial.params[along.name] for trial in trials], mode="markers", **shared
        )
    choices = [label(plain(trial.params[along.name])) for trial in trials]
    return go.Box(
        x=choices,
        boxpoints="all",
        jitter=0.7,
        pointpos=0,
        line={"width": 1},
        fillcolor="rgba(128,128,128,0.12)",
        **shared,
    )


def _star(trial: FrozenTrial, along: Axis, objective: int) -> go.Scatter:
    chosen = trial.params[along.name]
    return go.Scatter(
        x=[label(plain(chosen)) if along.choices else chosen],
        y=[value(trial, objective)],
        mode="markers",
        marker={"color": BEST, "size": 13, "symbol": "star"},
        hovertext=about(trial),
        hoverinfo="text",
    )


def contour(study: optuna.Study, names: tuple[str, str], objective: int = 0) -> go.Figure | None:
    """The value over two parameters: each cell the mean of the trials near it.

    Optuna's own contour has a cell for each pair of values, which is a million cells at a
    thousand trials, and goes through every trial, however noisy.
    """
    trials = [
        trial for trial in finite(study, objective) if all(name in trial.params for name in names)
    ]
    if len(trials) < 2 * NEAR:
        return None
    across, up = (axis(trials, name) for name in names)
    if across.low == across.high or up.low == up.high:
        return None
    points = np.array(
        [[each.fraction(trial.params[each.name]) for each in (across, up)] for trial in trials]
    )
    values = [value(trial, objective) for trial in trials]
    near = KNeighborsRegressor(min(len(trials), max(NEAR, len(trials) // 40)), weights="distance")
    xs, ys = _cells(across), _cells(up)
    grid = np.array([[x, y] for y in ys for x in xs])
    means = near.fit(points, values).predict(grid).reshape(len(ys), len(xs))
    figure = new_figure(height=460, showlegend=False)
    figure.add_trace(
        go.Contour(
            x=_values(across, xs),
            y=_values(up, ys),
            z=means.round(6),
            colorscale=list(SCALE),
            reversescale=not maximizes(study, objective),
            contours={"coloring": "heatmap"},
            line={"width": 0.4},
            hoverinfo="skip",
            colorbar={"title": {"text": label(metric_names(study)[objective])}, "thickness": 12},
        )
    )
    figure.add_trace(
        go.Scatter(
            x=[_values(across, [p])[0] for p in points[:, 0]],
            y=[_values(up, [p])[0] for p in points[:, 1]],
            mode="markers",
            marker={"color": "#20262c", "size": 5, "line": {"color": "white", "width": 1}},
            opacity=0.7,
            hovertext=[about(trial) for trial in trials],
            hoverinfo="text",
        )
    )
    for each, update in ((across, figure.update_xaxes), (up, figure.update_yaxes)):
        update(title_text=label(each.name), **_ticks(each))
    return figure


def _lines(
    part: list[tuple[float, FrozenTrial]],
    axes: Sequence[Axis],
    low: float,
    high: float,
    colour: str,
    best: bool,
) -> go.Scatter:
    xs: list[float | None] = []
    ys: list[float | None] = []
    texts: list[str] = []
    for each, trial in part:
        shares = [(each - low) / (high - low) if high > low else 0.5]
        # a trial without a conditional parameter has a gap there
        positions = [
            along.fraction(trial.params[along.name]) if along.name in trial.params else None
            for along in axes
        ]
        xs += [*range(len(axes) + 1), None]
        ys += [*(round(y, 4) if y is not None else None for y in (*shares, *positions)), None]
        texts += [about(trial), *[f"#{trial.number} {number(each)}"] * len(axes), ""]
    return go.Scatter(
        x=xs,
        y=ys,
        mode="lines",
        line={"color": colour, "width": 2 if best else 1},
        opacity=0.85 if best else 0.45,
        hovertext=texts,
        hoverinfo="text",
        connectgaps=False,
    )


def _ends(each: Axis) -> tuple[str, str]:
    return ("", "") if each.choices else (each.text(each.high), each.text(each.low))


def _name_choices(figure: go.Figure, position: int, each: Axis) -> None:
    for choice in each.choices[:12]:
        share = each.choices.index(choice) / (each.high or 1.0)
        figure.add_annotation(
            x=position,
            y=share if each.high else 0.5,
            text=label(choice[:18]),
            showarrow=False,
            xanchor="left",
            xshift=4,
            font={"size": 11},
        )


def _cells(each: Axis) -> list[float]:
    """Where the cells of an axis are, between 0 and 1."""
    if each.choices:
        return [position / each.high for position in range(len(each.choices))]
    return [cell / (GRID - 1) for cell in range(GRID)]


def _values(each: Axis, shares: Sequence[float]) -> list[float]:
    """Fractions as plotly's axis takes them: a choice's position, or the number itself."""
    positions = [each.low + share * (each.high - each.low) for share in shares]
    return [float(f"{10**position:.6g}") for position in positions] if each.log else positions


def _ticks(each: Axis) -> dict[str, object]:
    if each.choices:
        return {
            "type": "linear",
            "tickvals": list(range(len(each.choices))),
            "ticktext": list(map(label, each.choices)),
        }
    return each.plotly_numbers()
