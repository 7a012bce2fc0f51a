"""Single plots as pictures, drawn by matplotlib: no browser is needed, in a pod neither.

What Optuna draws is Optuna's; what it does not know, workers and phases, is drawn here.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import TrialState

from hpo_job.errors import QueryError, StudyError, unknown
from hpo_job.results.importance import importance
from hpo_job.results.phases import phases_in, segments
from hpo_job.results.timings import timings, workers
from hpo_job.results.trials import (
    baselines,
    complete,
    metric_names,
    seconds,
    several,
    trials_of,
)

PICTURES = (".png", ".svg", ".pdf")
COLOURS = {"COMPLETE": "#3b82c4", "PRUNED": "#e08e26", "FAIL": "#d9483b", "RUNNING": "#8d6cc9",
           "WAITING": "#8a949e"}  # fmt: skip
BEST, MUTED = "#16a36a", "#8a949e"
DPI = 150


def draw(study: optuna.Study, kind: str, file: Path, params: Sequence[str] | None = None) -> None:
    """Draw one plot of ``study`` into ``file``: .png, .svg, .pdf, or .html as in the report.

    params: the parameters of parallel, slice and contour; all, or the most important, if None.

    Raises StudyError where there is nothing to draw or the file cannot be written, QueryError
    for an ending or a parameter there is not.
    """
    known = {name for trial in trials_of(study) for name in trial.params}
    for name in params or ():
        if name not in known:
            raise QueryError(f"--params: {unknown('parameter', name, known)}")
    ending = file.suffix.lower()
    if ending == ".html":
        _page(study, kind, file, params)
        return
    if ending not in PICTURES:
        raise QueryError(f"{file}: write a .png, .svg, .pdf or .html")
    plt = _pyplot()
    logging.getLogger("matplotlib").setLevel(logging.WARNING)
    try:
        with plt.style.context("seaborn-v0_8-whitegrid"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Optuna's plots are "experimental"
            figure = _KINDS[kind](study, params)
            figure.suptitle(f"{study.study_name}: {_TITLES.get(kind, kind)}", y=0.995)
            figure.tight_layout()
            figure.savefig(file, dpi=DPI)
    except OSError as error:
        raise StudyError(f"{file}: cannot be written: {error.strerror or error}") from error
    finally:
        plt.close("all")


def save_lr_find(found: Mapping[str, Mapping[str, Any]], file: Path) -> None:
    """Draw what the learning-rate finder found, by parameter: losses, and what is suggested.

    Raises StudyError where the file cannot be written.
    """
    plt = _pyplot()
    with plt.style.context("seaborn-v0_8-whitegrid"):
        figure, axes = plt.subplots(1, len(found), squeeze=False, figsize=(6 * len(found), 4))
        for axis, (name, told) in zip(axes[0], found.items(), strict=True):
            axis.plot(told["lrs"], told["losses"], color=COLOURS["COMPLETE"])
            label = f"suggested: {told['suggestion']:.3g}"
            axis.axvline(told["suggestion"], color=BEST, linestyle="--", label=label)
            axis.set(xscale="log", xlabel=name, ylabel="training loss, smoothed")
            axis.legend()
        figure.tight_layout()
        try:
            figure.savefig(file, dpi=DPI)
        except (OSError, ValueError) as error:  # an ending that matplotlib does not know
            raise StudyError(f"{file}: cannot be written: {error}") from error
        finally:
            plt.close("all")


def _pyplot() -> Any:
    # Agg draws into files alone; importing pyplot may otherwise look for a screen
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    return plt


def _page(study: optuna.Study, kind: str, file: Path, params: Sequence[str] | None) -> None:
    from hpo_job.report import write_plot

    if not write_plot(study, kind, file, params):
        raise nothing(study, kind)


def nothing(study: optuna.Study, kind: str) -> StudyError:
    """Why there is no such plot of this study."""
    return StudyError(f"study {study.study_name!r} has nothing to draw as {kind} yet")


def _target(study: optuna.Study) -> dict[str, Any]:
    """Of several objectives the first; of one nothing, so that less stays better where it is."""
    name = metric_names(study)[0]
    if several(study):
        return {"target": lambda trial: trial.values[0], "target_name": name}
    return {"target_name": name}


def _subplots(*arguments: Any, **settings: Any) -> tuple[Any, Any]:
    import matplotlib.pyplot as plt

    made: tuple[Any, Any] = plt.subplots(*arguments, **settings)
    return made


def _of_optuna(function: str, least: int = 1) -> Callable[[optuna.Study, Any], Any]:
    """A plot of Optuna's own, of at least so many COMPLETE trials."""

    def plot(study: optuna.Study, params: Sequence[str] | None) -> Any:
        from optuna.visualization import matplotlib as drawn

        if len(complete(study)) < least or (params is None and not _params(study)):
            raise nothing(study, function.removeprefix("plot_"))
        axes = getattr(drawn, function)(study, params=params or _params(study), **_target(study))
        figure: Any = (axes.flat[0] if hasattr(axes, "flat") else axes).figure
        figure.set_size_inches(max(8.0, 2.6 * (getattr(axes, "size", 1))), 5.0)
        for each in figure.axes:
            each.set_title("")
        return figure

    return plot


def _params(study: optuna.Study) -> list[str]:
    return list(dict.fromkeys(name for trial in complete(study) for name in trial.params))


def _history(study: optuna.Study, _: object) -> Any:
    from optuna.visualization import matplotlib as drawn

    if not complete(study):
        raise nothing(study, "history")
    axes = drawn.plot_optimization_history(study, **_target(study))
    axes.set_title("")
    beside = baselines(study)[0]
    if beside is not None:
        axes.axhline(beside, color=MUTED, linestyle="--", label=f"baseline {beside:.4f}")
        axes.legend()
    figure: Any = axes.figure
    figure.set_size_inches(8, 5)
    return figure


def _edf(study: optuna.Study, _: object) -> Any:
    from optuna.visualization import matplotlib as drawn

    if not complete(study):
        raise nothing(study, "edf")
    axes = drawn.plot_edf([study], **_target(study))
    axes.set_title("")
    return axes.figure


def _contour(study: optuna.Study, params: Sequence[str] | None) -> Any:
    from optuna.visualization import matplotlib as drawn

    names = list(params or list(importance(study).shares)[:2])
    if len(names) < 2:
        raise nothing(study, "contour")
    axes = drawn.plot_contour(study, params=names, **_target(study))
    first: Any = axes.flat[0] if hasattr(axes, "flat") else axes
    first.set_title("")
    if len(names) == 2:
        first.figure.set_size_inches(8, 6)
    return first.figure


def _intermediate(study: optuna.Study, _: object) -> Any:
    reported = [trial for trial in trials_of(study) if trial.intermediate_values]
    if not reported:
        raise nothing(study, "intermediate")
    phases = phases_in(reported)
    figure, axes = _subplots(1, len(phases), squeeze=False, figsize=(1 + 5 * len(phases), 5))
    for panel, phase in zip(axes[0], phases.values(), strict=True):
        for trial in reported:
            found = segments(trial).get(phase.name)
            if found:
                steps, values = zip(*found, strict=True)
                panel.plot(steps, values, color=COLOURS[trial.state.name], alpha=0.4, linewidth=1)
                if trial.state == TrialState.PRUNED and list(segments(trial))[-1] == phase.name:
                    panel.plot(steps[-1:], values[-1:], "x", color=COLOURS["PRUNED"])
        panel.set(xlabel="step", title=phase.name)
    axes[0][0].set_ylabel(metric_names(study)[0])
    _legend(axes[0][0], {trial.state.name for trial in reported})
    return figure


def _importance(study: optuna.Study, _: object) -> Any:
    shares = importance(study).shares
    if not shares:
        raise nothing(study, "importance")
    figure, axes = _subplots(figsize=(8, 1.2 + 0.45 * len(shares)))
    names = list(reversed(shares))
    bars = axes.barh(names, [shares[name] for name in names], color=COLOURS["COMPLETE"])
    axes.bar_label(bars, fmt="%.2f", padding=3)
    axes.set_xlabel("share of what the parameters explain")
    return figure


def _pareto(study: optuna.Study, _: object) -> Any:
    from hpo_job.results.pareto import two

    found = two(study)
    if found is None:
        raise nothing(study, "pareto")
    figure, axes = _subplots(figsize=(8, 5))
    front = found.front.sort_values("x")
    axes.scatter(found.points["x"], found.points["y"], s=14, alpha=0.5, color=COLOURS["COMPLETE"])
    axes.plot(front["x"], front["y"], "o:", color=BEST, label="Pareto front")
    axes.set(xlabel=found.x, ylabel=found.y)
    axes.legend()
    return figure


def _timeline(study: optuna.Study, _: object) -> Any:
    started = [trial for trial in trials_of(study) if trial.datetime_start]
    if not started:
        raise nothing(study, "timeline")
    from datetime import timedelta

    by_worker = workers(started)
    figure, axes = _subplots(figsize=(10, 1.5 + 0.4 * len(by_worker)))
    for name, trials in by_worker.items():
        axes.barh(
            [name] * len(trials),
            [timedelta(seconds=seconds(trial)) for trial in trials],
            left=[trial.datetime_start for trial in trials],
            color=[COLOURS[trial.state.name] for trial in trials],
            edgecolor="white", linewidth=0.3,
        )  # fmt: skip
    figure.autofmt_xdate()
    _legend(axes, {trial.state.name for trial in started})
    return figure


def _time(study: optuna.Study, _: object) -> Any:
    found = timings(study)
    spent = {name: time for name, time in found.seconds.items() if time > 0}
    if not spent:
        raise nothing(study, "time")
    figure, axes = _subplots(figsize=(8, 1.2 + 0.45 * len(spent)))
    names = list(reversed(spent))
    bars = axes.barh(names, [spent[name] / 60 for name in names], color=COLOURS["COMPLETE"])
    axes.bar_label(bars, [f"{spent[name] / found.total:.1%}" for name in names], padding=3)
    axes.set_xlabel("minutes of all workers")
    return figure


def _legend(axes: Any, states: set[str]) -> None:
    from matplotlib.patches import Patch

    patches = [Patch(color=COLOURS[state], label=state) for state in COLOURS if state in states]
    axes.legend(handles=patches, loc="best", fontsize="small")


_KINDS: dict[str, Callable[[optuna.Study, Any], Any]] = {
    "history": _history,
    "intermediate": _intermediate,
    "parallel": _of_optuna("plot_parallel_coordinate", 2),
    "slice": _of_optuna("plot_slice"),
    "contour": _contour,
    "importance": _importance,
    "pareto": _pareto,
    "timeline": _timeline,
    "time": _time,
    "edf": _edf,
}
_TITLES = {
    "history": "values by trial",
    "intermediate": "intermediate values",
    "parallel": "parameters of the COMPLETE trials",
    "slice": "values along each parameter",
    "contour": "value over two parameters",
    "pareto": "Pareto front",
    "timeline": "timeline by worker",
    "time": "where the time went",
    "edf": "distribution of the values",
}
