"""Single plots as picture files, drawn by matplotlib, which needs no browser.

They show what the figures of pages and notebooks show: see `series`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna

from hpo_job.errors import QueryError, StudyError, unknown
from hpo_job.report.palette import BEST, COLOURS
from hpo_job.report.plots import parameters, time, values
from hpo_job.report.plots.canvas import DPI, nothing_to_draw, style, subplots
from hpo_job.results.trials import trials_of

PICTURES = (".png", ".svg", ".pdf")


def draw(study: optuna.Study, kind: str, file: Path, params: Sequence[str] | None = None) -> None:
    """Draw one plot of ``study`` into ``file``: .png, .svg, .pdf, or .html as in the report.

    Args:
        study: the study.
        kind: which plot, such as ``history``.
        file: what is written; its ending says how.
        params: the parameters of parallel, slice and contour; all, or the most important, if None.

    Raises:
        StudyError: there is nothing to draw, or the file cannot be written.
        QueryError: there is no such ending, or no such parameter.
    """
    known = {name for trial in trials_of(study) for name in trial.params}
    for name in params or ():
        if name not in known:
            raise QueryError(f"--params: {unknown('parameter', name, known)}")
    ending = file.suffix.lower()
    if ending == ".html":
        _page(study, kind, file, params)
        return
    require_picture(file, " or .html")
    plot, title = _KINDS[kind]
    with style():
        figure = plot(study, params)
        figure.suptitle(f"{study.study_name}: {title}", parse_math=False)
        _save(figure, file)


def require_picture(file: Path, other: str = "") -> None:
    """Raise QueryError for an ending that no picture has."""
    if file.suffix.lower() not in PICTURES:
        raise QueryError(f"{file}: write a .png, .svg, .pdf{other}")


def save_lr_find(curves: Mapping[str, Mapping[str, Any]], file: Path) -> None:
    """Draw what the learning-rate finder found, by parameter: losses, and what is suggested.

    Raises:
        StudyError: the file cannot be written.
    """
    with style():
        figure, axes = subplots(1, len(curves), squeeze=False, figsize=(6 * len(curves), 4))
        for axis, (name, curve) in zip(axes[0], curves.items(), strict=True):
            axis.plot(curve["lrs"], curve["losses"], color=COLOURS["COMPLETE"])
            label = f"suggested: {curve['suggestion']:.3g}"
            axis.axvline(curve["suggestion"], color=BEST, linestyle="--", label=label)
            axis.set(xscale="log", xlabel=name, ylabel="training loss, smoothed")
            axis.legend()
        _save(figure, file)


def _save(figure: Any, file: Path) -> None:
    try:
        figure.savefig(file, dpi=DPI)
    except OSError as error:
        raise StudyError(f"{file}: cannot be written: {error.strerror or error}") from error


def _page(study: optuna.Study, kind: str, file: Path, params: Sequence[str] | None) -> None:
    from hpo_job.report import write_plot

    if not write_plot(study, kind, file, params):
        raise nothing_to_draw(study, kind)


# By kind what draws it, and its title
_KINDS: dict[str, tuple[Callable[[optuna.Study, Any], Any], str]] = {
    "history": (values.history, "values by trial"),
    "intermediate": (values.intermediate, "intermediate values"),
    "parallel": (parameters.parallel, "parameters of the trials that count"),
    "slice": (parameters.slices, "values along each parameter"),
    "contour": (parameters.contour, "value over two parameters"),
    "importance": (parameters.bars, "importance"),
    "pareto": (values.pareto, "Pareto front"),
    "timeline": (time.timeline, "timeline by worker"),
    "time": (time.time, "where the time went"),
    "edf": (values.edf, "distribution of the values"),
}
