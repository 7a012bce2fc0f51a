"""Pictures of parameters, drawn by Optuna itself, and their importance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import optuna

from hpo_job.report.palette import COLOURS
from hpo_job.report.plots.canvas import nothing_to_draw, subplots, without_warnings
from hpo_job.results.importance import importance
from hpo_job.results.trials import complete, is_multi_objective, metric_names


def parallel(study: optuna.Study, params: Sequence[str] | None) -> Any:
    """The COMPLETE trials as lines through their parameters."""
    figure, count = _drawn(study, "plot_parallel_coordinate", params, 2)
    figure.set_size_inches(max(8.0, 1.8 * count), 5.0)
    for axes in figure.axes:
        axes.grid(False)
    return figure


def slices(study: optuna.Study, params: Sequence[str] | None) -> Any:
    """Values along each parameter."""
    figure, count = _drawn(study, "plot_slice", params, 1)
    figure.set_size_inches(max(8.0, 2.6 * count), 5.0)
    for axes in figure.axes:
        ticks = [tick.get_text() for tick in axes.get_xticklabels()]
        if sum(map(len, ticks)) > 16 and not any("$" in tick for tick in ticks):
            axes.tick_params(axis="x", rotation=30)
    return figure


def contour(study: optuna.Study, params: Sequence[str] | None) -> Any:
    """The value over two parameters, the most important ones unless others are named."""
    names = list(params or list(importance(study).shares)[:2])
    if len(names) < 2:
        raise nothing_to_draw(study, "contour")
    figure, _ = _drawn(study, "plot_contour", names, 1)
    if len(names) == 2:
        figure.set_size_inches(8, 6)
    return figure


def bars(study: optuna.Study, _: object) -> Any:
    """The share of each parameter, the most important on top."""
    shares = importance(study).shares
    if not shares:
        raise nothing_to_draw(study, "importance")
    figure, axes = subplots(figsize=(8, 1.2 + 0.45 * len(shares)))
    drawn = axes.barh(list(shares), list(shares.values()), color=COLOURS["COMPLETE"])
    axes.bar_label(drawn, fmt="%.2f", padding=3)
    axes.invert_yaxis()
    axes.grid(False, axis="y")
    axes.margins(x=0.1)
    axes.set_xlabel("share of what the parameters explain")
    return figure


def _drawn(
    study: optuna.Study, function: str, params: Sequence[str] | None, least: int
) -> tuple[Any, int]:
    """A plot of Optuna's own, of at least so many COMPLETE trials, and its parameters' number."""
    from optuna.visualization import matplotlib as drawn

    done = complete(study)
    names = list(params or dict.fromkeys(name for trial in done for name in trial.params))
    if len(done) < least or not names:
        raise nothing_to_draw(study, function.removeprefix("plot_"))
    draw: Callable[..., Any] = getattr(drawn, function)
    with without_warnings():
        axes = draw(study, params=names, **_target(study))
    figure: Any = (axes.flat[0] if hasattr(axes, "flat") else axes).figure
    for each in figure.axes:
        each.set_title("")
    return figure, len(names)


def _target(study: optuna.Study) -> dict[str, Any]:
    """Of several objectives the first; of one nothing, so that less stays better where it is."""
    name = metric_names(study)[0]
    if is_multi_objective(study):
        return {"target": lambda trial: trial.values[0], "target_name": name}
    return {"target_name": name}
