"""Phases of a trial: stretches of its steps, each with one metric.

A trial that is fine-tuned goes through phases of different length, and some have another metric
than the study. Optuna's pruners compare values at the same step, so over phases they would
compare a language model's accuracy with a classifier's F1; `study.phase_pruner` keeps them apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from optuna.trial import FrozenTrial, TrialState

from hpo_job.trial import attributes

Direction = Literal["maximize", "minimize"]


@dataclass(frozen=True)
class Phase:
    """A stretch of a trial's steps with one metric.

    Attributes:
        name: the phase; a pruner compares trials in phases of the same name.
        epochs: how many steps it has.
        metric: what its steps report.
        direction: which way that is better.
        final: whether the trial ends with it, so that its last epoch need not be pruned.
        of_study: whether its metric is the study's, so that its reports are values of the trial.
    """

    name: str
    epochs: int
    metric: str
    direction: Direction
    final: bool = False
    of_study: bool = True

    def stored(self, start: int) -> dict[str, Any]:
        """The phase as it is stored with its trial; ``start`` is its first step."""
        return {
            "name": self.name,
            "start": start,
            "epochs": self.epochs,
            "metric": self.metric,
            "direction": self.direction,
            "of_study": self.of_study,
        }


def step_text(trial: FrozenTrial) -> str:
    """How far a running trial is: ``unfrozen epoch 2 of 3``; ``step 5`` of an unknown number.

    The epoch is the one that is trained now.
    """
    done = len(trial.intermediate_values)
    phases = trial.user_attrs.get(attributes.PHASES)  # anything, in a study of another tool
    match phases:
        case [*_, {"name": str(name), "start": int(start), "epochs": int(epochs)}] if epochs > 0:
            return f"{name} epoch {min(max(done - start, 0) + 1, epochs)} of {epochs}"
    return f"step {done}"


def measured_values(trial: FrozenTrial) -> list[float | None]:
    """The values of a COMPLETE trial; of any other what `measured_value` says of the first."""
    if trial.state == TrialState.COMPLETE:
        return list(trial.values or ())
    return [measured_value(trial)]


def measured_value(trial: FrozenTrial) -> float | None:
    """The last value that ``trial`` had of the study's first metric; None if it never had one.

    That is the value of a COMPLETE trial, and the last report of one that runs or was pruned. A
    trial that FAILed has none, however far it came. A trial that was pruned in a phase with
    another metric has none either: Optuna takes its last report for its value, say a language
    model's perplexity in a study of F1.
    """
    if trial.state == TrialState.COMPLETE:
        return float(trial.values[0])
    if trial.state == TrialState.FAIL or not trial.intermediate_values:
        return None
    last = max(trial.intermediate_values)
    phases = trial.user_attrs.get(attributes.PHASES)  # anything, in a study of another tool
    begun = [
        phase
        for phase in (phases if isinstance(phases, list) else ())
        if isinstance(phase, dict)
        and isinstance(start := phase.get("start"), int)
        and start <= last
    ]
    if begun and not begun[-1].get("of_study", True):
        return None
    return float(trial.intermediate_values[last])
