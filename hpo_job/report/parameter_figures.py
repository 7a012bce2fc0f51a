"""The figures about parameters: parallel coordinates, slices and a contour."""

from __future__ import annotations

from collections.abc import Sequence

import optuna
import plotly.graph_objects as go
from optuna.trial import FrozenTrial

from hpo_job.report import series
from hpo_job.report.axes import Axis, axis
from hpo_job.report.labels import in_lines, label
from hpo_job.report.series import Parallel, Points, broken_points, varied
from hpo_job.report.style import (
    BEST,
    COUNTED,
    MUTED,
    SCALE,
    about,
    new_figure,
    point_opacity,
)
from hpo_job.results import number
from hpo_job.results.formatting import plain
from hpo_job.results.ranking import top
from hpo_job.results.trials import finite, maximizes, metric_names, value


def parallel(
    study: optuna.Study, objective: int = 0, params: Sequence[str] | None = None
) -> go.Figure | None:
    """Each trial that counts as a line through its parameters, coloured by its value.

    Trials are drawn in as many traces as there are colours, the best last: a trace for each
    would keep a browser busy for seconds at a thousand trials.
    """
    lines = series.parallel(study, objective, params)
    if lines is None:
        return None
    figure = new_figure(height=460, showlegend=False)
    count = len(SCALE)
    for step, colour in enumerate(SCALE):
        ranked = lines.ranked
        part = ranked[step * len(ranked) // count : (step + 1) * len(ranked) // count]
        if part:
            figure.add_trace(_lines(lines, part, colour, step == count - 1))
    ends = [(number(lines.high), number(lines.low)), *map(_ends, lines.axes)]
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
        if position and lines.axes[position - 1].choices:
            _name_choices(figure, position, lines.axes[position - 1])
    names = [metric_names(study)[objective], *(each.name for each in lines.axes)]
    figure.update_xaxes(
        tickvals=list(range(len(names))),
        ticktext=list(map(in_lines, names)),
        showgrid=False,
        zeroline=False,
        range=[-0.3, len(names) - 0.6],
        side="bottom",
    )
    figure.update_yaxes(visible=False, range=[-0.12, 1.12], fixedrange=True)
    return figure


def slices(
    study: optuna.Study, objective: int = 0, params: Sequence[str] | None = None
) -> dict[str, go.Figure]:
    """For each parameter, the values of the trials along it; infeasible ones are muted."""
    trials = finite(study, objective)
    best = top(study, objective)
    broken = broken_points(study, objective)
    drawn = {}
    for name in varied(trials, params):
        having = [(trial, value(trial, objective)) for trial in trials if name in trial.params]
        others = [(trial, each) for trial, each in broken if name in trial.params]
        along = axis([trial for trial, _ in (*having, *others)], name)
        figure = new_figure(height=300, showlegend=False)
        figure.add_trace(_spread(having, along))
        if others:
            figure.add_trace(_muted(others, along))
        if best is not None and name in best.params:
            figure.add_trace(_star(best, along, objective))
        figure.update_xaxes(title_text=label(name), **along.plotly())
        figure.update_yaxes(title_text=label(metric_names(study)[objective]))
        figure.update_layout(margin={"l": 60, "r": 10, "t": 10, "b": 50})
        drawn[name] = figure
    return drawn


def contour(study: optuna.Study, names: Sequence[str], objective: int = 0) -> go.Figure | None:
    """The value over two parameters; see `series.surface`."""
    surface = series.surface(study, names, objective)
    if surface is None:
        return None
    across, up = surface.across, surface.up
    figure = new_figure(height=460, showlegend=False)
    figure.add_trace(
        go.Contour(
            x=[_plotly_value(across, x) for x in surface.xs],
            y=[_plotly_value(up, y) for y in surface.ys],
            z=surface.means,
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
            x=[
                _plotly_value(across, across.position(t.params[across.name]))
                for t in surface.trials
            ],
            y=[_plotly_value(up, up.position(t.params[up.name])) for t in surface.trials],
            mode="markers",
            marker={"color": "#20262c", "size": 5, "line": {"color": "white", "width": 1}},
            opacity=0.7,
            hovertext=[about(trial) for trial in surface.trials],
            hoverinfo="text",
        )
    )
    for each, update in ((across, figure.update_xaxes), (up, figure.update_yaxes)):
        update(title_text=label(each.name), **_ticks(each))
    return figure


def _spread(points: Points, along: Axis) -> go.Box | go.Scatter:
    """The trials along a parameter: of a categorical one, spread out over each choice."""
    shared = {
        "y": [each for _, each in points],
        "hovertext": [about(trial) for trial, _ in points],
        "hoverinfo": "text",
        "marker": {
            "color": COUNTED,
            "size": 5,
            "opacity": point_opacity(len(points)),
        },
    }
    xs = [_along(along, trial) for trial, _ in points]
    if not along.choices:
        return go.Scatter(x=xs, mode="markers", **shared)
    return go.Box(
        x=xs,
        boxpoints="all",
        jitter=0.7,
        pointpos=0,
        line={"width": 1},
        fillcolor="rgba(128,128,128,0.12)",
        **shared,
    )


def _muted(points: Points, along: Axis) -> go.Scatter:
    return go.Scatter(
        x=[_along(along, trial) for trial, _ in points],
        y=[each for _, each in points],
        mode="markers",
        marker={"color": MUTED, "size": 6, "symbol": "x-thin-open"},
        hovertext=[about(trial) for trial, _ in points],
        hoverinfo="text",
    )


def _star(trial: FrozenTrial, along: Axis, objective: int) -> go.Scatter:
    return go.Scatter(
        x=[_along(along, trial)],
        y=[value(trial, objective)],
        mode="markers",
        marker={"color": BEST, "size": 13, "symbol": "star"},
        hovertext=about(trial),
        hoverinfo="text",
    )


def _along(along: Axis, trial: FrozenTrial) -> object:
    """A trial's value of a parameter, as the axis of `Axis.plotly` takes it."""
    chosen = trial.params[along.name]
    return label(plain(chosen)) if along.choices else chosen


def _lines(lines: Parallel, part: Points, colour: str, best: bool) -> go.Scatter:
    xs: list[float | None] = []
    ys: list[float | None] = []
    texts: list[str] = []
    for trial, achieved in part:
        heights = lines.heights(trial, achieved)
        xs += [*range(len(heights)), None]
        ys += [*(None if y is None else round(y, 4) for y in heights), None]
        texts += [about(trial), *[f"#{trial.number} {number(achieved)}"] * len(lines.axes), ""]
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


def _plotly_value(each: Axis, position: float) -> float:
    """What plotly takes for a position: of a logarithmic axis the number itself."""
    return float(f"{10**position:.6g}") if each.log else position


def _ticks(each: Axis) -> dict[str, object]:
    if each.choices:
        return {
            "type": "linear",
            "tickvals": list(range(len(each.choices))),
            "ticktext": list(map(label, each.choices)),
        }
    return each.plotly_numbers()
