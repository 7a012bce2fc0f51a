"""Phases of a trial, and the pruner that compares trials only within one and the same phase.

A trial that is fine-tuned goes through phases of different length, some with a metric of their
own. Optuna's pruners compare values at the same step, so over phases they would hold a language
model's accuracy against a classifier's F1. Here each phase is shown to a pruner of its own as a
whole study: its steps counted from 0, its values, its direction.
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

    final: the trial ends with it, so that nobody asks whether to prune after its last epoch.
    of_study: its metric is the study's, so that what it reports is a value of the trial.
    """

    name: str
    epochs: int
    metric: str
    direction: Direction
    final: bool = False
    of_study: bool = True

    def stored(self, start: int) -> dict[str, Any]:
        """How the phase is noted with its trial; ``start`` is its first step."""
        return {
            "name": self.name,
            "start": start,
            "metric": self.metric,
            "direction": self.direction,
            "of_study": self.of_study,
        }


def measured_value(trial: FrozenTrial) -> float | None:
    """The study's first metric as ``trial`` last had it; None where it never was measured.

    That is the value of a COMPLETE trial, and the last report of any other: but not where it came
    to no phase that has the study's metric. Optuna keeps a PRUNED trial's last report as its
    value, whatever it measured: a language model's perplexity, say, in a study of F1.
    """
    if trial.state == TrialState.COMPLETE:
        return float(trial.values[0])
    if not trial.intermediate_values:
        return None
    last = max(trial.intermediate_values)
    phases = trial.user_attrs.get(attributes.PHASES)  # of a study not made here, anything
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
