"""The colours and texts that all figures share; the page decides what is light or dark."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go
from markupsafe import Markup
from optuna.trial import FrozenTrial, TrialState

from hpo_job.report import palette
from hpo_job.report.labels import LINE_BREAK, label
from hpo_job.results import number
from hpo_job.results.formatting import plain
from hpo_job.results.trials import unmeasured

COLOURS = {state: palette.COLOURS[state.name] for state in TrialState}
COUNTED, PRUNED, FAIL = (palette.COLOURS[name] for name in ("COMPLETE", "PRUNED", "FAIL"))
BEST, MUTED, SCALE = palette.BEST, palette.MUTED, palette.SCALE
COLORWAY = ("#3b82c4", "#e08e26", "#16a36a", "#b05cc6", "#d9483b", "#159fb0", "#97893a", "#d7679d")


def point_opacity(points: int) -> float:
    """The opacity of points: few would be faint on dark, many would hide each other."""
    return 0.85 if points <= 200 else 0.5


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
