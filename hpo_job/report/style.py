"""The colours and words that all figures share; what is light or dark is the page's business."""

from __future__ import annotations

import html
from collections.abc import Mapping
from textwrap import wrap
from typing import Any

import plotly.graph_objects as go
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


def seen(points: int) -> float:
    """The opacity of so many points: few would be faint on dark, many would hide each other."""
    return 0.85 if points <= 200 else 0.5


def label(text: object) -> str:
    """Text as plotly shows it literally: it takes HTML for markup."""
    return html.escape(str(text), quote=False)


def in_lines(name: str, width: int = 16) -> str:
    """The name of a parameter or a phase in lines of about so many characters, cut at a ``_``."""
    lines = wrap(name.replace("_", "_ "), width, break_long_words=False)
    return "<br>".join(label(line.replace("_ ", "_")) for line in lines)


def about(trial: FrozenTrial) -> str:
    """What is told of a trial where the mouse is over it."""
    values = ", ".join(map(number, () if unmeasured(trial) else trial.values or ()))
    head = f"<b>#{trial.number}</b> {trial.state.name}{f' {values}' if values else ''}"
    return "<br>".join([head, *told(trial.params)])


def told(params: Mapping[str, Any]) -> list[str]:
    """Parameters, a line each, as plotly shows them."""
    return [f"{label(name)}: {label(plain(found))}" for name, found in params.items()]


def figure(height: int = 420, **layout: Any) -> go.Figure:
    """An empty figure without a theme of its own."""
    made = go.Figure()
    made.update_layout(
        template=None,
        height=height,
        margin={"l": 60, "r": 20, "t": 30, "b": 50},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        hovermode="closest",
        **layout,
    )
    return made
