"""The figures of a study by the name of their kind, as ``plot`` and notebooks ask for them."""

from __future__ import annotations

from collections.abc import Sequence

import optuna
import plotly.graph_objects as go

from hpo_job.report import comparison_figures, figures, parameter_figures
from hpo_job.results.importance import importance
from hpo_job.results.timings import timings
from hpo_job.spec.choices import PLOT_KINDS


def figures_of(
    study: optuna.Study, kind: str, params: Sequence[str] | None = None
) -> dict[str, go.Figure]:
    """The figures of one of `PLOT_KINDS`: none where there is nothing to draw, several of slice."""
    if kind == "slice":
        return parameter_figures.slices(study, 0, params)
    figure = _figure(study, kind, params)
    return {} if figure is None else {kind: figure}


def _figure(study: optuna.Study, kind: str, params: Sequence[str] | None) -> go.Figure | None:
    match kind:
        case "history":
            return figures.history(study)
        case "intermediate":
            return figures.intermediate(study)
        case "parallel":
            return parameter_figures.parallel(study, 0, params)
        case "contour":
            names = list(params or importance(study).shares)
            return parameter_figures.contour(study, (names[0], names[1])) if names[1:] else None
        case "importance":
            return figures.importance_bars(importance(study))
        case "pareto":
            return figures.pareto(study)
        case "timeline":
            return figures.timeline(study)
        case "time":
            return figures.time_bars(timings(study))
        case "edf":
            return comparison_figures.distributions([study])
        case _:
            raise ValueError(f"{kind!r} is none of {', '.join(PLOT_KINDS)}")
