"""What a study has found, as data frames, text and TOML; nothing here changes a study."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import optuna
import pandas as pd
import tomli_w
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from rich.table import Table
from rich.text import Text

from hpo_job import attributes
from hpo_job.admission import fixed_params, worked
from hpo_job.errors import StudyError
from hpo_job.ledger import FINISHED
from hpo_job.search_space import as_toml

NEARLY = 0.01  # "within one point": how much of the metric a faster trial may cost


@dataclass(frozen=True)
class Fastest:
    """The fastest of the trials that are nearly as good as the best.

    ``seconds`` is its ``measure``: the attribute ``execute_time``, or, where an objective does
    not measure that, the trial's duration.
    """

    trial: FrozenTrial
    seconds: float
    measure: str


def frame(study: optuna.Study) -> pd.DataFrame:
    """The trials, a row each, under the column names of Optuna's ``trials_dataframe``."""
    table: pd.DataFrame = study.trials_dataframe()
    return table


def best(study: optuna.Study) -> FrozenTrial | None:
    """The COMPLETE trial with the best value, or None while there is none."""
    if len(study.directions) > 1:
        raise StudyError(f"study {study.study_name!r} has several objectives, so no one best trial")
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if not complete:
        return None
    pick = max if study.direction == StudyDirection.MAXIMIZE else min
    return pick(complete, key=_value)


def fastest_within(study: optuna.Study, points: float = NEARLY) -> Fastest | None:
    """The fastest COMPLETE trial whose value is at most ``points`` worse than the best."""
    top = best(study)
    if top is None:
        return None
    near = [
        trial
        for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if _value(trial) == _value(top) or abs(_value(trial) - _value(top)) <= points + 1e-12
    ]
    measured = [trial for trial in near if attributes.EXECUTE_TIME in trial.user_attrs]
    if measured:
        quick = min(measured, key=lambda trial: trial.user_attrs[attributes.EXECUTE_TIME])
        return Fastest(quick, quick.user_attrs[attributes.EXECUTE_TIME], attributes.EXECUTE_TIME)
    quick = min(near, key=seconds)
    return Fastest(quick, seconds(quick), "duration")


def parameters(study: optuna.Study, trial: FrozenTrial) -> dict[str, Any]:
    """All parameters of ``trial``: those it was suggested and those the study fixes."""
    spec = study.user_attrs.get(attributes.SPEC, {})
    space = spec.get("search_space", {})
    fixed = {name: value for name, value in space.items() if not isinstance(value, dict)}
    both = {**fixed, **trial.params}
    return {name: both[name] for name in (*space, *trial.params) if name in both}


def best_as_toml(study: optuna.Study, trial: FrozenTrial) -> str:
    """The parameters of ``trial`` as an ``[[enqueue]]`` entry, ready to paste into a study.toml."""
    values = parameters(study, trial)
    entry = tomli_w.dumps({name: value for name, value in values.items() if value is not None})
    # a function may suggest None, for which TOML has no word
    nothing = "".join(f"# {name} is None\n" for name, value in values.items() if value is None)
    title = f"# {study.study_name} trial {trial.number}: {score(study, trial)}"
    return f"{title}\n{nothing}[[enqueue]]\n{entry}"


def score(study: optuna.Study, trial: FrozenTrial) -> str:
    """The value of ``trial`` beside the study's baseline: ``accuracy 0.9281 (baseline 0.5301)``."""
    baseline = study.user_attrs.get(attributes.BASELINE)
    beside = f" (baseline {number(baseline)})" if baseline is not None else ""
    return f"{metric_name(study)} {number(_value(trial))}{beside}"


def metric_name(study: optuna.Study) -> str:
    """What the study's values are called."""
    return str(study.user_attrs.get(attributes.SPEC, {}).get("metric", "value"))


def seconds(trial: FrozenTrial) -> float:
    """How long ``trial`` has run, or had run when it ended."""
    if trial.datetime_start is None:
        return 0.0
    return ((trial.datetime_complete or datetime.now()) - trial.datetime_start).total_seconds()


def number(value: float) -> str:
    """A metric's value in few characters: four decimals, or four digits where those say little."""
    return f"{value:.4f}" if 1e-3 <= abs(value) < 1e4 or value == 0 else f"{value:.4g}"


def settings(values: Mapping[str, Any]) -> str:
    """Parameters on one line, numbers shortened."""
    return " ".join(
        f"{name}={value:.3g}" if isinstance(value, float) else f"{name}={as_toml(value)}"
        for name, value in values.items()
    )


def as_text(study: optuna.Study, form: str) -> str:
    """All trials as ``"csv"`` or ``"json"`` text, under the column names of `frame`."""
    trials = frame(study)
    if form == "csv":
        return str(trials.to_csv(index=False))
    return str(trials.to_json(orient="records", date_format="iso", indent=2)) + "\n"


def table(study: optuna.Study, *, running: bool = False) -> Table:
    """The trials as a person reads them: all, or those that run now."""
    rows = Table(box=None, pad_edge=False, header_style="bold")
    baseline = study.user_attrs.get(attributes.BASELINE)
    if baseline is not None:
        rows.caption = f"baseline {number(baseline)}: always answering the most frequent class"
        rows.caption_justify = "left"
    rows.add_column("trial", justify="right", no_wrap=True)
    rows.add_column("state", no_wrap=True)
    rows.add_column(metric_name(study), justify="right", no_wrap=True)
    rows.add_column("time", justify="right", no_wrap=True)
    rows.add_column("parameters", overflow="fold")
    states = (TrialState.RUNNING,) if running else None
    for trial in study.get_trials(deepcopy=False, states=states):
        rows.add_row(*map(Text, row(trial)))
    return rows


def row(trial: FrozenTrial) -> tuple[str, str, str, str, str]:
    """A trial's number, state, value, duration and parameters, as text."""
    values = trial.values or list(trial.intermediate_values.values())[-1:]
    value = ", ".join(map(number, values)) or "-"
    retry = trial.user_attrs.get(attributes.RETRY_OF)
    reason = trial.user_attrs.get(attributes.ERROR) or trial.user_attrs.get(attributes.REASON)
    waiting = trial.state == TrialState.WAITING
    notes = (
        settings(fixed_params(trial) if waiting else trial.params),
        f"({reason})" if reason else "",
        f"(retry of #{retry})" if retry is not None else "",
    )
    time = "-" if trial.datetime_start is None else f"{seconds(trial):.1f}s"
    return f"#{trial.number}", trial.state.name, value, time, " ".join(filter(None, notes))


def overview(study: optuna.Study) -> list[str]:
    """Where a study stands, in a few lines."""
    trials = study.get_trials(deepcopy=False)
    counts = Counter(trial.state.name for trial in trials)
    done = sum(trial.state in FINISHED for trial in trials)
    bound = study.user_attrs.get(attributes.SPEC, {}).get("budget", {}).get("trials")
    states = ", ".join(f"{counts[state.name]} {state.name}" for state in TrialState
                       if counts[state.name])  # fmt: skip
    time = worked(trials, datetime.now()).total_seconds()
    lines = [f"finished  {done}{f' of {bound}' if bound else ''} trials in {clock(time)}"]
    if states:
        lines.append(f"states    {states}")
    if len(study.directions) > 1:
        return lines
    return lines + _highlights(study)


def clock(time: float) -> str:
    """Seconds as a person says them: ``1h02m``, ``3m07s`` or ``41s``."""
    hours, rest = divmod(round(time), 3600)
    minutes, left = divmod(rest, 60)
    if hours:
        return f"{hours}h{minutes:02d}m"
    return f"{minutes}m{left:02d}s" if minutes else f"{left}s"


def _highlights(study: optuna.Study) -> list[str]:
    top, quick = best(study), fastest_within(study)
    if top is None or quick is None:
        baseline = study.user_attrs.get(attributes.BASELINE)
        beside = (
            f"; the baseline is {metric_name(study)} {number(baseline)}"
            if baseline is not None
            else ""
        )
        return [f"best      no trial is COMPLETE yet{beside}"]
    return [
        f"best      #{top.number}  {score(study, top)}",
        f"fastest   #{quick.trial.number}  {metric_name(study)} {number(_value(quick.trial))}, "
        f"{quick.measure} {quick.seconds:.3g} s, within {NEARLY:g} of the best",
    ]


def _value(trial: FrozenTrial) -> float:
    assert trial.value is not None  # every COMPLETE trial has one
    return trial.value
