"""What the trials of any study can be asked, also of one that was not created by hpo-job."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from hpo_job.errors import StudyError, plural
from hpo_job.trial import attributes
from hpo_job.trial.clock import running_time
from hpo_job.trial.counting import counted, infeasible
from hpo_job.trial.phases import measured_value


def trials_of(study: optuna.Study, states: Iterable[TrialState] | None = None) -> list[FrozenTrial]:
    """The trials in some states, or all, by their numbers; not copied, so not to be changed."""
    trials: list[FrozenTrial] = study.get_trials(
        deepcopy=False, states=None if states is None else tuple(states)
    )
    return trials


def trial_of(study: optuna.Study, number: int) -> FrozenTrial:
    """The trial with this number.

    Raises:
        StudyError: there is none.
    """
    trials = trials_of(study)
    if not 0 <= number < len(trials):
        raise StudyError(
            f"study {study.study_name!r}: no trial {number}; it has {plural(len(trials), 'trial')}"
        )
    return trials[number]


def finite(study: optuna.Study, objective: int = 0) -> list[FrozenTrial]:
    """The trials that count and whose value can be drawn or averaged."""
    return [trial for trial in counted(study) if math.isfinite(value(trial, objective))]


def broken_constraints(trial: FrozenTrial) -> str:
    """Which constraints an infeasible trial breaks, and by how much: ``infeasible: size 0.25``."""
    broken = (f"{name} {each:.3g}" for name, each in trial.constraints.items() if not each <= 0)
    return f"infeasible: {', '.join(broken)}"


def none_counts(study: optuna.Study) -> str:
    """Why there is no best trial yet, for a sentence."""
    broken = sum(map(infeasible, trials_of(study)))
    if broken:
        return f"no trial counts yet: {broken} COMPLETE but infeasible"
    return "no trial is COMPLETE yet"


def spec_of(study: optuna.Study) -> dict[str, Any]:
    """The spec as it is kept with the study; empty where hpo-job did not create it."""
    spec = study.user_attrs.get(attributes.SPEC)
    return spec if isinstance(spec, dict) and "objective" in spec else {}


def metric_names(study: optuna.Study) -> tuple[str, ...]:
    """What the study's values are called, one name for each objective."""
    count = len(study.directions)
    named = spec_of(study).get("metric") or study.metric_names
    if isinstance(named, str):
        named = [named]
    if isinstance(named, list | tuple) and len(named) == count:
        return tuple(map(str, named))
    return ("value",) if count == 1 else tuple(f"values_{i}" for i in range(count))


def metric_name(study: optuna.Study) -> str:
    """What the study's values are called; of several objectives all names."""
    return ", ".join(metric_names(study))


def baselines(study: optuna.Study) -> tuple[float | None, ...]:
    """What always giving the same answer scores, for each objective; None where not known."""
    count = len(study.directions)
    stored = study.user_attrs.get(attributes.BASELINE)
    listed = stored if isinstance(stored, list | tuple) else [stored]
    if len(listed) != count:
        return (None,) * count
    return tuple(numeric(value) for value in listed)


def baseline(study: optuna.Study) -> float | None:
    """The baseline of the first objective, or None."""
    return baselines(study)[0]


def maximizes(study: optuna.Study, objective: int = 0) -> bool:
    """Whether more is better."""
    return bool(study.directions[objective] == StudyDirection.MAXIMIZE)


def is_multi_objective(study: optuna.Study) -> bool:
    """Whether the study has several objectives, so that no one trial need be the best."""
    return len(study.directions) > 1


def value(trial: FrozenTrial, objective: int = 0) -> float:
    """The value of a trial that counts, which has one; see `counting.counts`."""
    assert trial.values is not None
    return float(trial.values[objective])


def unmeasured(trial: FrozenTrial) -> bool:
    """Whether ``trial`` was pruned before it had a value of the study's metric.

    What Optuna keeps as its value is then its last report, of another metric.
    """
    pruned = trial.state == TrialState.PRUNED and bool(trial.intermediate_values)
    return pruned and measured_value(trial) is None


def numeric(stored: Any) -> float | None:
    """A number as it was stored, or None for anything else: attributes may be of any kind."""
    if isinstance(stored, bool) or not isinstance(stored, int | float) or math.isnan(stored):
        return None
    return float(stored)


def attribute(trial: FrozenTrial, name: str) -> float | None:
    """A trial's user attribute where it is a number."""
    return numeric(trial.user_attrs.get(name))


def seconds(trial: FrozenTrial) -> float:
    """How long ``trial`` has run, or had run when it ended."""
    return running_time(trial)


def parameters(study: optuna.Study, trial: FrozenTrial) -> dict[str, Any]:
    """All parameters of ``trial``: those it was suggested and those the study fixes."""
    space = spec_of(study).get("search_space", {})
    fixed = {name: entry for name, entry in space.items() if not isinstance(entry, dict)}
    both = {**fixed, **trial.params}
    return {name: both[name] for name in (*space, *trial.params) if name in both}


def measure(trial: FrozenTrial, trials: Iterable[FrozenTrial]) -> tuple[float, str]:
    """How fast ``trial`` is, and by what: ``execute_time`` where any of ``trials`` measured it."""
    if any(attribute(each, attributes.EXECUTE_TIME) is not None for each in trials):
        time = attribute(trial, attributes.EXECUTE_TIME)
        return (math.inf if time is None else time), attributes.EXECUTE_TIME
    return seconds(trial), "duration"


def interval(trial: FrozenTrial) -> tuple[float, float] | None:
    """The bootstrap interval of a trial's value over its validation items, if it was stored."""
    stored = trial.user_attrs.get(attributes.INTERVAL)
    if not isinstance(stored, list | tuple) or len(stored) != 2:
        return None
    low, high = (numeric(each) for each in stored)
    return None if low is None or high is None else (low, high)


def worker_name(trial: FrozenTrial) -> str | None:
    """The worker that ran ``trial`` as people say it: ``host:pid``, or its pod."""
    pod = trial.user_attrs.get("pod")
    worker = trial.user_attrs.get(attributes.WORKER)
    if isinstance(pod, str) and pod:
        return pod
    if isinstance(worker, dict):
        host = str(worker.get("host", "?")).split("/")[0]  # without what tells containers apart
        return f"{host}:{worker.get('pid', '?')}"
    return str(worker) if worker else None
