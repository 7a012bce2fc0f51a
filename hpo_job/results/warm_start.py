"""A study's best trials enqueued in another one, with what does not fit named."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import optuna

from hpo_job import objectives
from hpo_job.results import leading, parameters
from hpo_job.results.trials import spec_of, trials_of
from hpo_job.spec.study_toml import StudySpec, restore


@dataclass(frozen=True)
class Start:
    """Parameters to try first, from which trial they are, and what had to be left out, and why."""

    trial: int
    parameters: dict[str, Any]
    left_out: dict[str, str] = field(default_factory=dict)


def starts(
    study: optuna.Study, other: optuna.Study, top: int, overrides: Mapping[str, Any] | None = None
) -> list[Start]:
    """The parameters of the ``top`` best trials of ``other`` as ``study`` can try them.

    Those that do not fit are left out, and suggested instead. Trials that come to the same
    parameters count once.

    Args:
        study: the study that will try them.
        other: the study whose trials are looked at.
        top: how many.
        overrides: parameters that are set in all of them.
    """
    stored = spec_of(study)
    spec = restore(stored) if stored else None
    chosen: list[Start] = []
    for trial in leading(other, len(trials_of(other))):
        if len(chosen) == top:
            break
        values = {**parameters(other, trial), **(overrides or {})}
        left_out = {
            name: why for name, value in values.items() if (why := _misfit(spec, name, value))
        }
        kept = {name: value for name, value in values.items() if name not in left_out}
        if kept and kept not in [start.parameters for start in chosen]:
            chosen.append(Start(trial.number, kept, left_out))
    return chosen


def _misfit(spec: StudySpec | None, name: str, value: Any) -> str | None:
    if spec is None:
        return None
    problem = objectives.misfit(spec, {name: value})
    return problem[1] if problem else None
