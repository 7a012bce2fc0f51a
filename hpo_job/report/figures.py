"""The figures of one study, as plotly has them; None where there is nothing to draw."""

from __future__ import annotations

import math
from itertools import accumulate

import optuna
import plotly.graph_objects as go
from optuna.trial import FrozenTrial, TrialState
from plotly.subplots import make_subplots

from hpo_job.report.style import BEST, COLOURS, MUTED, about, figure, in_lines, label, seen
from hpo_job.results import clock, number
from hpo_job.results.importance import Importance
from hpo_job.results.intermediate import ONLY, phases_in, segments
from hpo_job.results.pareto import pareto_axes
from hpo_job.results.ranking import top
from hpo_job.results.timings import Timings, workers
from hpo_job.results.trials import (
    baselines,
    complete,
    maximizes,
    metric_names,
    seconds,
    several,
    trials_of,
    value,
)
from hpo_job.trial.phases import measured_value

LINES = 300  # trials whose intermediate values are drawn: more cannot be told apart


def history(study: optuna.Study, objective: int = 0) -> go.Figure | None:
    """Every trial's value by its number, the best so far, and the baseline."""
    metric, beside = label(metric_names(study)[objective]), baselines(study)[objective]
    done = [trial for trial in complete(study) if math.isfinite(value(trial, objective))]
    pruned = [] if several(study) else _last_reported(study)
    if not done and not pruned:
        return None
    made = figure()
    if pruned:
        made.add_trace(
            _points(pruned, [last for _, last in pruned], TrialState.PRUNED, "circle-open")
        )
    if done:
        values = [value(trial, objective) for trial in done]
        made.add_trace(_points([(t, 0.0) for t in done], values, TrialState.COMPLETE, "circle"))
        best = list(accumulate(values, max if maximizes(study, objective) else min))
        made.add_trace(
            go.Scatter(
                x=[trial.number for trial in done],
                y=best,
                mode="lines",
                name="best so far",
                line={"color": BEST, "shape": "hv", "width": 2},
                hoverinfo="skip",
            )
        )
    if beside is not None:
        last = max(trial.number for trial in trials_of(study))
        made.add_trace(
            go.Scatter(
                x=[0, last],
                y=[beside, beside],
                mode="lines",
                name=f"baseline {number(beside)}",
                line={"color": MUTED, "dash": "dash"},
                hoverinfo="name",
            )
        )
    made.update_layout(xaxis_title="trial", yaxis_title=metric)
    return made


def intermediate(study: optuna.Study) -> go.Figure | None:
    """Intermediate values, a panel for each phase, pruned trials marked where they ended."""
    reported = [trial for trial in trials_of(study) if trial.intermediate_values]
    if not reported:
        return None
    best = None if several(study) else top(study, 0)
    shown = _thinned(reported, best)
    phases = phases_in(shown)
    # what a phase measures stands above its panel: beside it there is no room on a narrow page
    titles = (
        [
            f"{in_lines(p.name)}<br>{label(p.metric or metric_names(study)[0])}"
            for p in phases.values()
        ]
        if list(phases) != [ONLY]
        else None
    )
    made = make_subplots(
        cols=len(phases), subplot_titles=titles, horizontal_spacing=0.2 / (len(phases) + 1)
    )
    base = figure()
    made.update_layout(base.layout)
    made.update_annotations(font_size=12)  # the titles
    if len(phases) > 1:
        made.update_layout(margin_t=100, legend_y=1.2)
    named: set[str] = set()
    for position, phase in enumerate(phases, start=1):
        for state in (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL, TrialState.RUNNING):
            these = [t for t in shown if t.state == state and t is not best]
            trace = _lines(these, phase, state.name, COLOURS[state], 1.2, 0.45)
            _add(made, trace, position, named)
        pruned = [t for t in shown if t.state == TrialState.PRUNED]
        _add(made, _ends(pruned, phase), position, named)
        if best is not None:
            trace = _lines([best], phase, f"best, #{best.number}", BEST, 3, 1.0)
            _add(made, trace, position, named)
        longest = max((len(segments(t).get(phase, ())) for t in shown), default=0)
        ticks = {"dtick": 1} if longest <= 15 else {"tickformat": "d"}
        made.update_xaxes(title_text="step", col=position, row=1, **ticks)
    if titles is None:
        made.update_yaxes(title_text=label(metric_names(study)[0]))
    if len(shown) < len(reported):
        made.update_layout(meta={"shown": len(shown), "of": len(reported)})
    return made


def importance_bars(found: Importance) -> go.Figure | None:
    """The shares of one method, the most important on top."""
    if not found.shares:
        return None
    names = list(reversed(found.shares))
    shares = [found.shares[name] for name in names]
    made = figure(height=90 + 34 * len(names))
    made.add_trace(
        go.Bar(
            x=shares,
            y=[label(name) for name in names],
            orientation="h",
            text=[f"{share:.2f}" for share in shares],
            textposition="outside",
            cliponaxis=False,
            marker_color=COLOURS[TrialState.COMPLETE],
            hoverinfo="skip",
        )
    )
    made.update_layout(xaxis_title="share of what the parameters explain", margin_l=10)
    made.update_xaxes(range=[0, max(shares) * 1.15 or 1])
    made.update_yaxes(type="category", automargin=True)
    return made


def timeline(study: optuna.Study) -> go.Figure | None:
    """When each worker ran which trial."""
    started = [trial for trial in trials_of(study) if trial.datetime_start]
    if not started:
        return None
    by_worker = workers(started)
    rows = list(reversed(by_worker))
    made = figure(height=110 + max(26, min(60, 900 // len(rows))) * len(rows), barmode="overlay")
    names = {trial.number: name for name, trials in by_worker.items() for trial in trials}
    for state in TrialState:
        these = [trial for trial in started if trial.state == state]
        if not these:
            continue
        made.add_trace(
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
    made.update_xaxes(type="date")
    made.update_yaxes(
        type="category",
        categoryorder="array",
        automargin=True,
        categoryarray=[label(name) for name in rows],
    )
    made.update_layout(bargap=0.25, margin_l=10, showlegend=True)
    return made


def time_bars(found: Timings) -> go.Figure | None:
    """Where the workers' time went."""
    spent = {name: time for name, time in found.seconds.items() if time > 0}
    if not spent or not found.total:
        return None
    names = list(reversed(spent))
    colours = {
        "idle, between trials": MUTED,
        "failed trials": COLOURS[TrialState.FAIL],
        "other, in a trial": "#b0a58c",
        "storage": COLOURS[TrialState.PRUNED],
    }
    made = figure(height=90 + 34 * len(names))
    made.add_trace(
        go.Bar(
            x=[spent[name] / 60 for name in names],
            y=names,
            orientation="h",
            text=[f"{spent[name] / found.total:.1%}  {clock(spent[name])}" for name in names],
            textposition="outside",
            cliponaxis=False,
            hoverinfo="skip",
            marker_color=[colours.get(name, COLOURS[TrialState.COMPLETE]) for name in names],
        )
    )
    made.update_layout(xaxis_title="minutes of all workers", margin_l=10)
    made.update_xaxes(range=[0, max(spent.values()) / 60 * 1.3])
    made.update_yaxes(type="category", automargin=True)
    return made


def pareto(study: optuna.Study) -> go.Figure | None:
    """Value against speed, or two objectives against each other, those of the front joined."""
    found = pareto_axes(study)
    if found is None or found.points.empty:
        return None
    trials = trials_of(study)
    made = figure()
    for table, name, colour, mode in (
        (found.points, "COMPLETE", COLOURS[TrialState.COMPLETE], "markers"),
        (found.front.sort_values("x"), "Pareto front", BEST, "lines+markers"),
    ):
        made.add_trace(
            go.Scatter(
                x=table["x"],
                y=table["y"],
                mode=mode,
                name=name,
                line={"color": colour, "dash": "dot"},
                marker={"color": colour, "size": 6 if mode == "markers" else 9},
                opacity=seen(len(table)) if mode == "markers" else 1,
                hoverinfo="text",
                hovertext=[about(trials[each]) for each in table.index],
            )
        )
    made.update_layout(xaxis_title=label(found.x), yaxis_title=label(found.y))
    return made


def _points(
    trials: list[tuple[FrozenTrial, float]], values: list[float], state: TrialState, symbol: str
) -> go.Scatter:
    return go.Scatter(
        x=[trial.number for trial, _ in trials],
        y=values,
        mode="markers",
        name=state.name,
        marker={"color": COLOURS[state], "symbol": symbol, "size": 6},
        opacity=0.8,
        hovertext=[about(trial) for trial, _ in trials],
        hoverinfo="text",
    )


def _last_reported(study: optuna.Study) -> list[tuple[FrozenTrial, float]]:
    """Pruned trials with the last value of the study's metric, of those that came to it."""
    pruned = trials_of(study, (TrialState.PRUNED,))
    last = [(trial, measured_value(trial)) for trial in pruned]
    return [(trial, found) for trial, found in last if found is not None and math.isfinite(found)]


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
        for step, found in segments(trial).get(phase, ()):
            xs.append(step)
            ys.append(found if math.isfinite(found) else None)
            texts.append(f"#{trial.number} step {step}: {number(found)}")
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
        y=[found for _, found, _ in ends],
        mode="markers",
        name="pruned here",
        hovertext=[about(trial) for *_, trial in ends],
        hoverinfo="text",
        marker={"symbol": "x", "size": 7, "color": COLOURS[TrialState.PRUNED]},
    )


def _add(made: go.Figure, trace: go.Scatter | None, column: int, named: set[str]) -> None:
    """Add a trace to one panel; its name stands in the legend once."""
    if trace is None:
        return
    trace.legendgroup = trace.name
    trace.showlegend = trace.name not in named
    named.add(trace.name)
    made.add_trace(trace, row=1, col=column)
