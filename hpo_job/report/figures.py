"""The figures of one study, as plotly has them; None where there is nothing to draw."""

from __future__ import annotations

import math

import optuna
import plotly.graph_objects as go
from optuna.trial import FrozenTrial, TrialState
from plotly.subplots import make_subplots

from hpo_job.report import series
from hpo_job.report.labels import in_lines, label
from hpo_job.report.series import Points
from hpo_job.report.style import (
    BEST,
    COLOURS,
    COUNTED,
    FAIL,
    MUTED,
    PRUNED,
    about,
    new_figure,
    point_opacity,
)
from hpo_job.results import clock, number
from hpo_job.results.importance import Importance
from hpo_job.results.intermediate import ONLY, phases_in, segments
from hpo_job.results.pareto import pareto_axes
from hpo_job.results.ranking import top
from hpo_job.results.timings import Timings, workers
from hpo_job.results.trials import (
    is_multi_objective,
    metric_names,
    seconds,
    trials_of,
)

LINES = 300  # trials whose intermediate values are drawn: more lines cannot be distinguished


def history(study: optuna.Study, objective: int = 0) -> go.Figure | None:
    """Every trial's value by its number, the best so far, and the baseline."""
    points = series.history(study, objective)
    if points is None:
        return None
    figure = new_figure()
    for part, name, colour, symbol in (
        (points.pruned, "PRUNED", PRUNED, "circle-open"),
        (points.infeasible, "infeasible", MUTED, "x-thin-open"),
        (points.counted, "COMPLETE", COUNTED, "circle"),
    ):
        if part:
            figure.add_trace(_points(part, name, colour, symbol))
    if points.counted:
        figure.add_trace(
            go.Scatter(
                x=[trial.number for trial, _ in points.counted],
                y=points.best,
                mode="lines",
                name="best so far",
                line={"color": BEST, "shape": "hv", "width": 2},
                hoverinfo="skip",
            )
        )
    if points.baseline is not None:
        figure.add_trace(
            go.Scatter(
                x=[0, points.last],
                y=[points.baseline] * 2,
                mode="lines",
                name=f"baseline {number(points.baseline)}",
                line={"color": MUTED, "dash": "dash"},
                hoverinfo="name",
            )
        )
    metric = label(metric_names(study)[objective])
    figure.update_layout(xaxis_title="trial", yaxis_title=metric)
    return figure


def intermediate(study: optuna.Study) -> go.Figure | None:
    """Intermediate values, a panel for each phase, pruned trials marked where they ended."""
    reported = [trial for trial in trials_of(study) if trial.intermediate_values]
    if not reported:
        return None
    best = None if is_multi_objective(study) else top(study, 0)
    drawn = _thinned(reported, best)
    phases = phases_in(drawn)
    # titles name the metric of each phase: next to the axis there is no space on a narrow page
    titles = (
        [
            f"{in_lines(p.name)}<br>{label(p.metric or metric_names(study)[0])}"
            for p in phases.values()
        ]
        if list(phases) != [ONLY]
        else None
    )
    figure = make_subplots(
        cols=len(phases), subplot_titles=titles, horizontal_spacing=0.2 / (len(phases) + 1)
    )
    base = new_figure()
    figure.update_layout(base.layout)
    figure.update_annotations(font_size=12)  # the titles
    if len(phases) > 1:
        figure.update_layout(margin_t=100, legend_y=1.2)
    named: set[str] = set()
    for position, phase in enumerate(phases, start=1):
        for state in TrialState:
            these = [t for t in drawn if t.state == state and t is not best]
            trace = _lines(these, phase, state.name, COLOURS[state], 1.2, 0.45)
            _add(figure, trace, position, named)
        pruned = [t for t in drawn if t.state == TrialState.PRUNED]
        _add(figure, _ends(pruned, phase), position, named)
        if best is not None:
            trace = _lines([best], phase, f"best, #{best.number}", BEST, 3, 1.0)
            _add(figure, trace, position, named)
        longest = max((len(segments(t).get(phase, ())) for t in drawn), default=0)
        ticks = {"dtick": 1} if longest <= 15 else {"tickformat": "d"}
        figure.update_xaxes(title_text="step", col=position, row=1, **ticks)
    if titles is None:
        figure.update_yaxes(title_text=label(metric_names(study)[0]))
    if len(drawn) < len(reported):
        figure.update_layout(meta={"drawn": len(drawn), "of": len(reported)})
    return figure


def importance_bars(assessed: Importance) -> go.Figure | None:
    """The shares of one method, the most important on top."""
    if not assessed.shares:
        return None
    names = list(reversed(assessed.shares))
    shares = [assessed.shares[name] for name in names]
    figure = new_figure(height=90 + 34 * len(names))
    figure.add_trace(
        go.Bar(
            x=shares,
            y=[label(name) for name in names],
            orientation="h",
            text=[f"{share:.2f}" for share in shares],
            textposition="outside",
            cliponaxis=False,
            marker_color=COUNTED,
            hoverinfo="skip",
        )
    )
    figure.update_layout(xaxis_title="share of what the parameters explain", margin_l=10)
    figure.update_xaxes(range=[0, max(shares) * 1.15 or 1])
    figure.update_yaxes(type="category", automargin=True)
    return figure


def timeline(study: optuna.Study) -> go.Figure | None:
    """When each worker ran which trial."""
    started = [trial for trial in trials_of(study) if trial.datetime_start]
    if not started:
        return None
    by_worker = workers(started)
    rows = list(reversed(by_worker))
    figure = new_figure(
        height=110 + max(26, min(60, 900 // len(rows))) * len(rows), barmode="overlay"
    )
    names = {trial.number: name for name, trials in by_worker.items() for trial in trials}
    for state in TrialState:
        these = [trial for trial in started if trial.state == state]
        if not these:
            continue
        figure.add_trace(
            go.Bar(
                base=[trial.datetime_start for trial in these],
                x=[1000 * max(seconds(trial), 0.001) for trial in these],
                y=[label(names[trial.number]) for trial in these],
                orientation="h",
                name=state.name,
                marker_color=COLOURS[state],
                marker_line={"width": 0.5, "color": "rgba(128,128,128,0.6)"},
                hovertext=[f"{about(trial)}<br>took {clock(seconds(trial))}" for trial in these],
                hoverinfo="text",
            )
        )
    figure.update_xaxes(type="date")
    figure.update_yaxes(
        type="category",
        categoryorder="array",
        automargin=True,
        categoryarray=[label(name) for name in rows],
    )
    figure.update_layout(bargap=0.25, margin_l=10, showlegend=True)
    return figure


def time_bars(timings: Timings) -> go.Figure | None:
    """Where the workers' time went."""
    spent = {name: time for name, time in timings.seconds.items() if time > 0}
    if not spent or not timings.total:
        return None
    names = list(reversed(spent))
    colours = {
        "idle, between trials": MUTED,
        "failed trials": FAIL,
        "other, in a trial": "#b0a58c",
        "storage": PRUNED,
    }
    figure = new_figure(height=90 + 34 * len(names))
    figure.add_trace(
        go.Bar(
            x=[spent[name] / 60 for name in names],
            y=names,
            orientation="h",
            text=[f"{spent[name] / timings.total:.1%}  {clock(spent[name])}" for name in names],
            textposition="outside",
            cliponaxis=False,
            hoverinfo="skip",
            marker_color=[colours.get(name, COUNTED) for name in names],
        )
    )
    figure.update_layout(xaxis_title="minutes of all workers", margin_l=10)
    figure.update_xaxes(range=[0, max(spent.values()) / 60 * 1.3])
    figure.update_yaxes(type="category", automargin=True)
    return figure


def pareto(study: optuna.Study) -> go.Figure | None:
    """Value against speed, or two objectives against each other, those of the front joined."""
    axes = pareto_axes(study)
    if axes is None or axes.points.empty:
        return None
    trials = trials_of(study)
    figure = new_figure()
    for table, name, colour, mode in (
        (axes.infeasible, "infeasible", MUTED, "markers"),
        (axes.points, "COMPLETE", COUNTED, "markers"),
        (axes.front.sort_values("x"), "Pareto front", BEST, "lines+markers"),
    ):
        if table.empty:
            continue
        figure.add_trace(
            go.Scatter(
                x=table["x"],
                y=table["y"],
                mode=mode,
                name=name,
                line={"color": colour, "dash": "dot"},
                marker={
                    "color": colour,
                    "size": 6 if mode == "markers" else 9,
                    "symbol": "x-thin-open" if name == "infeasible" else "circle",
                },
                opacity=point_opacity(len(table)) if mode == "markers" else 1,
                hoverinfo="text",
                hovertext=[about(trials[each]) for each in table.index],
            )
        )
    figure.update_layout(xaxis_title=label(axes.x), yaxis_title=label(axes.y))
    return figure


def _points(points: Points, name: str, colour: str, symbol: str) -> go.Scatter:
    return go.Scatter(
        x=[trial.number for trial, _ in points],
        y=[each for _, each in points],
        mode="markers",
        name=name,
        marker={"color": colour, "symbol": symbol, "size": 6},
        opacity=0.8,
        hovertext=[about(trial) for trial, _ in points],
        hoverinfo="text",
    )


def _thinned(trials: list[FrozenTrial], best: FrozenTrial | None) -> list[FrozenTrial]:
    """At most `LINES` trials, evenly spaced in time, the best one among them."""
    if len(trials) <= LINES:
        return trials
    step = len(trials) / LINES
    numbers = {trials[int(i * step)].number for i in range(LINES)}
    if best is not None:
        numbers.add(best.number)
    return [trial for trial in trials if trial.number in numbers]


def _lines(
    trials: list[FrozenTrial], phase: str, name: str, colour: str, width: float, opacity: float
) -> go.Scatter | None:
    """Trials' values in one phase as one trace: a gap between two trials."""
    xs: list[float | None] = []
    ys: list[float | None] = []
    texts: list[str] = []
    for trial in trials:
        for step, each in segments(trial).get(phase, ()):
            xs.append(step)
            ys.append(each if math.isfinite(each) else None)
            texts.append(f"#{trial.number} step {step}: {number(each)}")
        xs.append(None)
        ys.append(None)
        texts.append("")
    if not any(x is not None for x in xs):
        return None
    return go.Scatter(
        x=xs,
        y=ys,
        mode="lines+markers",
        name=name,
        line={"color": colour, "width": width},
        marker={"size": 2 + width},
        opacity=opacity,
        hovertext=texts,
        hoverinfo="text",
    )


def _ends(trials: list[FrozenTrial], phase: str) -> go.Scatter | None:
    """Where pruned trials ended."""
    ends = []
    for trial in trials:
        parts = segments(trial)
        if parts and list(parts)[-1] == phase:
            ends.append((*parts[phase][-1], trial))
    if not ends:
        return None
    return go.Scatter(
        x=[step for step, _, _ in ends],
        y=[each for _, each, _ in ends],
        mode="markers",
        name="pruned here",
        hovertext=[about(trial) for *_, trial in ends],
        hoverinfo="text",
        marker={"symbol": "x", "size": 7, "color": PRUNED},
    )


def _add(figure: go.Figure, trace: go.Scatter | None, column: int, named: set[str]) -> None:
    """Add a trace to one panel; its name stands in the legend once."""
    if trace is None:
        return
    trace.legendgroup = trace.name
    trace.showlegend = trace.name not in named
    named.add(trace.name)
    figure.add_trace(trace, row=1, col=column)
