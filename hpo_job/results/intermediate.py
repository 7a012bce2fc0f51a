"""Intermediate values phase by phase: the steps of a trial go on growing over its phases."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from optuna.trial import FrozenTrial

from hpo_job.trial import attributes

ONLY = ""  # the name of the one phase of a trial that has no others


@dataclass(frozen=True)
class Phase:
    """A part of a trial's training: its first step, and what is reported in it."""

    name: str
    start: int
    metric: str | None = None


def phases_of(trial: FrozenTrial) -> tuple[Phase, ...]:
    """The phases of a trial, by their first steps; a single one where it names none."""
    named = trial.user_attrs.get(attributes.PHASES)
    phases = [
        Phase(str(each["name"]), each["start"], each.get("metric"))
        for each in (named if isinstance(named, list) else ())
        if isinstance(each, dict) and "name" in each and isinstance(each.get("start"), int)
    ]
    return tuple(sorted(phases, key=lambda phase: phase.start)) or (Phase(ONLY, 0),)


def segments(trial: FrozenTrial) -> dict[str, list[tuple[int, float]]]:
    """The intermediate values by phase, as (step within it from 1 on, value).

    Steps of a study that was not created by hpo-job are as they are.
    """
    phases = phases_of(trial)
    parts: dict[str, list[tuple[int, float]]] = {}
    for step, value in sorted(trial.intermediate_values.items()):
        phase = max(
            (each for each in phases if each.start <= step),
            default=phases[0],
            key=lambda each: each.start,
        )
        count = step if phase.name == ONLY else step - phase.start + 1
        parts.setdefault(phase.name, []).append((count, value))
    return parts


def phases_in(trials: Iterable[FrozenTrial]) -> dict[str, Phase]:
    """All phases that any of the trials reported in, by name, in the order they are run."""
    phases: dict[str, Phase] = {}
    for trial in trials:
        for phase in phases_of(trial):
            if phase.name not in phases or phase.start < phases[phase.name].start:
                phases[phase.name] = phase
    return dict(sorted(phases.items(), key=lambda item: item[1].start))
