"""The colours and texts that all figures share; the page decides what is light or dark."""

from __future__ import annotations

from textwrap import wrap
from typing import Any

import plotly.graph_objects as go
from markupsafe import Markup, escape
from optuna.trial import FrozenTrial, TrialState

from hpo_job.report import palette
from hpo_job.results import number
from hpo_job.results.formatting import plain
from hpo_job.results.trials import unmeasured

COLOURS = {state: palette.COLOURS[state.name] for state in TrialState}
BEST, MUTED = palette.BEST, palette.MUTED
COLORWAY = ("#3b82c4", "#e08e26", "#16a36a", "#b05cc6", "#d9483b", "#159fb0", "#97893a", "#d7679d")
# Worst to best: from what recedes to what stands out
SCALE = ("#9fb3c8", "#7fa6d0", "#5c97d3", "#3b82c4", "#2f6db5", "#5a4fb8", "#a13f9c", "#e0484f")
LINE_BREAK = Markup("<br>")


def point_opacity(points: int) -> float:
    """The opacity of points: few would be faint on dark, many would hide each other."""
    return 0.85 if points <= 200 else 0.5


def label(text: object) -> Markup:
    """Text as plotly draws it literally: plotly reads some HTML, such as ``<b>``, as markup."""
    return Markup(str(escape(str(text))).replace("&#34;", '"').replace("&#39;", "'"))


def in_lines(name: str, width: int = 16) -> Markup:
    """The name of a parameter or a phase in lines of about ``width`` characters, cut at a ``_``."""
    lines = wrap(name.replace("_", "_ "), width, break_long_words=False)
    return LINE_BREAK.join(label(line.replace("_ ", "_")) for line in lines)


def about(trial: FrozenTrial) -> Markup:
    """What is known of a trial, for where the mouse is over it."""
    values = ", ".join(map(number, () if unmeasured(trial) else trial.values or ()))
    head = Markup("<b>#{}</b> {} {}").format(trial.number, trial.state.name, values)
    parameters = (label(f"{name}: {plain(each)}") for name, each in trial.params.items())
    return LINE_BREAK.join([head, *parameters])


def new_figure(height: int = 420, **layout: Any) -> go.Figure:
    """An empty figure without a theme: the page sets its colours."""
    figure = go.Figure()
    figure.update_layout(
        template=None,
        height=height,
        margin={"l": 60, "r": 20, "t": 30, "b": 50},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        hovermode="closest",
        **layout,
    )
    return figure
