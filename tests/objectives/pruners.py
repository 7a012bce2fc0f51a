"""A pruner that prunes when it is told to."""

from __future__ import annotations

import optuna


class PrunesAt(optuna.pruners.BasePruner):
    """Prunes at one step, and notes at which it was asked."""

    def __init__(self, step: int | None = None) -> None:
        self.step = step
        self.asked: list[int | None] = []

    def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
        self.asked.append(trial.last_step)
        return trial.last_step == self.step
