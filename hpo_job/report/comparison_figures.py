"""The figures that put several studies side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import optuna
import pandas as pd
import plotly.graph_objects as go

from hpo_job.errors import plural
from hpo_job.report.axes import axis
from hpo_job.report.labels import label
from hpo_job.report.style import COLORWAY, MUTED, new_figure
from hpo_job.results import comparison
from hpo_job.results.formatting import plain
from hpo_job.results.ranking import top
from hpo_job.results.trials import finite, metric_names
from hpo_job.trial.counting import counted


def gains(summary: pd.DataFrame) -> go.Figure | None:
    """Each study's baseline and best value, joined."""
    known = summary[np.isfinite(summary["best"].astype(float))]
    if known.empty:
        return None
    names = [label(name) for name in known.index]
    figure = new_figure(height=130 + 40 * len(names))
    for name, low, high in zip(names, known["baseline"], known["best"], strict=True):
        figure.add_trace(
            go.Scatter(
                x=[low, high],
                y=[name, name],
                mode="lines",
                showlegend=False,
                line={"color": MUTED, "width": 3},
                hoverinfo="skip",
            )
        )
    for column, symbol, colour in (
        ("baseline", "line-ns-open", MUTED),
        ("fastest", "diamond", COLORWAY[1]),
        ("best", "circle", COLORWAY[2]),
    ):
        figure.add_trace(
            go.Scatter(
                x=known[column],
                y=names,
                mode="markers",
                hoverinfo="x+name",
                name={"fastest": "fastest, nearly as good"}.get(column, column),
                marker={
                    "symbol": symbol,
                    "size": 13,
                    "color": colour,
                    "line": {"width": 2 if column == "baseline" else 0},
                },
            )
        )
    figure.update_xaxes(title_text=", ".join(sorted(set(map(label, known["metric"])))))
    figure.update_yaxes(type="category", automargin=True, autorange="reversed")
    figure.update_layout(margin_l=10)
    return figure


def curves(studies: Sequence[optuna.Study], over: str) -> go.Figure | None:
    """The best value so far over ``trials`` or ``seconds``, with the point of 95%."""
    figure = new_figure()
    scale = 60.0 if over == "seconds" else 1.0
    for study, colour in zip(studies, _colours(studies), strict=True):
        table = comparison.progress(study)
        if table.empty:
            continue
        name = label(study.study_name)
        figure.add_trace(
            go.Scatter(
                x=table[over] / scale,
                y=table["best"],
                name=name,
                legendgroup=name,
                mode="lines" if len(table) > 1 else "markers",
                line={"color": colour, "shape": "hv", "width": 2},
            )
        )
        reached = comparison.time_to_95(study)
        if reached:
            at = reached.trials if over == "trials" else reached.seconds / scale
            figure.add_trace(
                go.Scatter(
                    x=[at],
                    y=[table.loc[table["trials"] >= reached.trials, "best"].iloc[0]],
                    mode="markers",
                    legendgroup=name,
                    showlegend=False,
                    hoverinfo="text",
                    marker={"color": colour, "size": 11, "symbol": "star"},
                    hovertext=f"{name}: 95% after {plural(reached.trials, 'trial')}",
                )
            )
    if not figure.data:
        return None
    title = "trials" if over == "trials" else "minutes of working time"
    figure.update_layout(xaxis_title=title, yaxis_title=label(metric_names(studies[0])[0]))
    return figure


def importances(table: pd.DataFrame) -> go.Figure | None:
    """Importances side by side, a bar for each study."""
    if table.empty:
        return None
    rows = table.iloc[::-1]
    bar = 18 if len(table.columns) <= 3 else 11
    figure = new_figure(height=110 + (bar * len(table.columns) + 16) * len(rows), barmode="group")
    colours = _colours(table.columns)
    for name, colour in reversed(list(zip(table.columns, colours, strict=True))):
        figure.add_trace(
            go.Bar(
                x=rows[name].fillna(0),
                y=[label(each) for each in rows.index],
                orientation="h",
                name=label(name),
                marker_color=colour,
                hoverinfo="x+name",
                text=[f"{s:.2f}" if math.isfinite(s) else "" for s in rows[name]],
                textposition="outside",
                cliponaxis=False,
            )
        )
    figure.update_xaxes(
        title_text="share of what the parameters explain",
        range=[0, float(table.max().max()) * 1.2 or 1],
    )
    figure.update_yaxes(type="category", automargin=True)
    figure.update_layout(margin_l=10, legend_traceorder="reversed")
    return figure


def parameters(studies: Sequence[optuna.Study]) -> go.Figure | None:
    """Where each study's best values lie in the range that any of them tried."""
    trials = [trial for study in studies for trial in counted(study)]
    firsts = {study.study_name: top(study, 0) for study in studies}
    names = list(dict.fromkeys(name for trial in firsts.values() if trial for name in trial.params))
    if not names:
        return None
    axes = {name: axis(trials, name) for name in names}
    figure = new_figure(height=130 + 36 * len(names))
    for position, (study, trial) in enumerate(firsts.items()):
        colour = _colours(studies)[position]
        having = [name for name in names if trial and name in trial.params]
        if trial is None or not having:
            continue
        figure.add_trace(
            go.Scatter(
                x=[axes[name].fraction(trial.params[name]) for name in having],
                y=[label(name) for name in having],
                mode="markers",
                name=label(study),
                # one that lies under another is wider
                marker={"color": colour, "size": max(17 - 4 * position, 7)},
                hoverinfo="text",
                hovertext=[
                    f"{label(study)}: {label(name)} = {label(plain(trial.params[name]))}"
                    for name in having
                ],
            )
        )
    figure.update_xaxes(range=[-0.05, 1.05], tickvals=[0, 1], ticktext=["lowest tried", "highest"])
    figure.update_yaxes(type="category", automargin=True, autorange="reversed")
    figure.update_layout(margin_l=10)
    return figure


def learning_rates(studies: Sequence[optuna.Study]) -> dict[str, go.Figure]:
    """By parameter: the finder's losses over the learning rates, the suggestions marked."""
    drawn: dict[str, go.Figure] = {}
    for study, colour in zip(studies, _colours(studies), strict=True):
        for name, stored in comparison.lr_curves(study).items():
            figure = drawn.setdefault(name, new_figure(height=340))
            title = label(study.study_name)
            rates, losses = stored.get("lrs"), stored.get("losses")
            if isinstance(rates, list) and isinstance(losses, list):
                figure.add_trace(
                    go.Scatter(
                        x=rates,
                        y=losses,
                        mode="lines",
                        name=title,
                        legendgroup=title,
                        line={"color": colour, "width": 2},
                    )
                )
            suggestion = stored.get("suggestion")
            if isinstance(suggestion, int | float):
                heights = [loss for loss in losses or () if isinstance(loss, int | float)] or [0, 1]
                figure.add_trace(
                    go.Scatter(
                        x=[suggestion] * 2,
                        y=[min(heights), max(heights)],
                        mode="lines+text",
                        text=["", f"{suggestion:.2g}"],
                        textposition="top right",
                        showlegend=False,
                        line={"color": colour, "dash": "dot"},
                        hoverinfo="skip",
                    )
                )
            figure.update_xaxes(type="log", dtick=1, title_text=label(name))
            figure.update_yaxes(title_text="loss")
    return {name: figure for name, figure in drawn.items() if figure.data}


def distributions(studies: Sequence[optuna.Study]) -> go.Figure | None:
    """What share of each study's trials that count is at most as high as a value."""
    figure = new_figure()
    for study, colour in zip(studies, _colours(studies), strict=True):
        values = sorted(trial.values[0] for trial in finite(study))
        if values:
            figure.add_trace(
                go.Scatter(
                    x=values,
                    y=[(i + 1) / len(values) for i in range(len(values))],
                    mode="lines",
                    name=label(study.study_name),
                    line={"color": colour, "shape": "hv"},
                )
            )
    if not figure.data:
        return None
    figure.update_layout(
        xaxis_title=label(metric_names(studies[0])[0]), yaxis_title="share of trials"
    )
    return figure


def _colours(items: Sequence[object] | pd.Index) -> list[str]:
    return [COLORWAY[i % len(COLORWAY)] for i in range(len(items))]
