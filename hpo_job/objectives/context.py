"""What an objective is given besides the trial: its parameters, data, seed and `report`."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import optuna

from hpo_job.data import Labelled
from hpo_job.metrics import Metric


@dataclass
class Context:
    """One trial's surroundings, handed to the objective as ``train(trial, context)``.

    params: the value of every parameter in ``[search_space]``, suggested or fixed, over the
        objective's defaults; empty for a function that suggests for itself.
    path: the data, ``[data] path`` resolved against the job folder, or None.
    data: the labelled files or rows and their split, for the shipped objectives, or None.
    metric: how the study is scored, or None where the objective returns its own value.
    seed: for everything random in training; the same in every trial of a study.
    threads: CPU threads this worker may use.
    weights: the local folder of pre-trained weights.
    """

    trial: optuna.Trial
    params: dict[str, Any]
    path: Path | None
    seed: int
    threads: int
    weights: Path
    data: Labelled | None = None
    metric: Metric | None = None
    _step: int = field(default=0, init=False)

    @cached_property
    def device(self) -> str:
        """``"cuda"``, ``"mps"`` or ``"cpu"``: the best that torch can use; without torch, cpu."""
        try:
            import torch  # seconds, which a function that does not ask is spared
        except ImportError:
            return "cpu"
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"

    def report(self, value: float) -> None:
        """Report the metric after an epoch (or whatever a step is), and prune a bad trial.

        Counts the steps itself, over all phases of the trial. Raises optuna.TrialPruned where
        the study's pruner says so: let it pass, the worker records the trial as PRUNED.
        """
        if self.should_stop_after(value):
            raise optuna.TrialPruned(f"pruned at step {self._step - 1}")

    def should_stop_after(self, value: float, *, last: bool = False) -> bool:
        """Report ``value`` as the next step; True where the trial should be pruned.

        For training loops that must unwind before they may raise. The pruner is asked exactly
        once a step, since other workers can change its answer; and not at all on the ``last``
        one, after which pruning would save nothing.
        """
        self.trial.report(value, self._step)
        self._step += 1
        return not last and self.trial.should_prune()
