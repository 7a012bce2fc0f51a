"""The second argument of an objective: a trial's parameters, data, seed, and `report`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import optuna

from hpo_job import machine
from hpo_job.data.from_spec import Labelled
from hpo_job.spec.metrics import Metric
from hpo_job.trial import attributes
from hpo_job.trial.phases import Phase
from hpo_job.trial.timings import Timings


@dataclass
class Context:
    """One trial's surroundings, passed to the objective as ``train(trial, context)``.

    params: the value of every parameter in ``[search_space]``, suggested or fixed, over the
        objective's defaults; empty for a function that suggests for itself.
    path: the data, ``[data] path`` resolved against the job folder, or None.
    data: the labelled items and their split, for the shipped objectives, or None.
    metrics: how the study is scored; empty where the objective returns its own value.
    seed: for everything random in training; the same in every trial of a study, but for repeats.
    threads: CPU threads that this worker may use.
    weights: the local folder of pre-trained weights.
    cache: a local folder for what the trials and workers of this machine share.
    cache_size: GiB that decoded images may take in it; 0 for none.
    loader_workers: processes that read the batches; None lets the objective choose.
    timings: what the trial measures; stored with it, however it ends.
    quiet: whether reports are dropped, as in every repeat but the first: nothing prunes those.
    keep: set by the objective: a function that writes the trained model into an empty folder.
    pruned: whether the pruner has stopped the trial; it ends PRUNED then, whatever the objective
        returns or raises.
    """

    trial: optuna.Trial
    params: dict[str, Any]
    path: Path | None
    seed: int
    threads: int
    weights: Path
    cache: Path = machine.CACHE
    cache_size: float = machine.CACHE_SIZE
    loader_workers: int | None = None
    data: Labelled | None = None
    metrics: tuple[Metric, ...] = ()
    timings: Timings = field(default_factory=Timings)
    quiet: bool = False
    keep: Callable[[Path], None] | None = None
    pruned: bool = field(default=False, init=False)
    _step: int = field(default=0, init=False)
    _phases: list[dict[str, Any]] = field(default_factory=list, init=False)

    @property
    def scored(self) -> Metric:
        """The metric of predictions that a shipped objective's epochs are compared by."""
        return next(m for m in self.metrics if m.name != attributes.EXECUTE_TIME)

    @cached_property
    def device(self) -> str:
        """``"cuda"``, ``"mps"`` or ``"cpu"``: the best that torch can use; without torch, cpu."""
        try:
            import torch  # takes seconds, so only for those who ask
        except ImportError:
            return "cpu"
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"

    @property
    def device_name(self) -> str:
        """The name of the GPU or processor; a function that never imports torch is a CPU's."""
        torch = sys.modules.get("torch")
        if torch is not None and self.device == "cuda":
            return str(torch.cuda.get_device_name())
        return machine.cpu_name() if torch is None or self.device == "cpu" else self.device

    @property
    def gpu(self) -> str | None:
        """Which GPU of its machine the trial runs on; None where it has none, or several."""
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        if visible:
            return None if visible == "-1" or "," in visible else visible
        on_gpu = visible is None and sys.modules.get("torch") is not None and self.device == "cuda"
        return "0" if on_gpu else None

    def begin(self, phase: Phase) -> None:
        """Start a phase: later reports are compared with the same phase of other trials."""
        if self._silent:
            return
        self._phases.append(phase.stored(self._step))
        with self.timings.measure(attributes.STORAGE_TIME):
            self.trial.set_user_attr(attributes.PHASES, self._phases)

    def report(self, value: float, *, last: bool = False) -> None:
        """Report the metric after an epoch (or whatever a step is), and prune a bad trial.

        Steps are counted here, over all phases of the trial.

        Args:
            value: the metric.
            last: nothing is left to prune after this step, so the pruner is not asked.

        Raises:
            optuna.TrialPruned: the pruner stops the trial. Do not catch it: the worker records
                the trial as PRUNED.
        """
        if self.should_stop_after(value, last=last):
            raise optuna.TrialPruned(f"pruned at step {self._step - 1}")

    def should_stop_after(self, value: float, *, last: bool = False) -> bool:
        """Report ``value`` as the next step; True where the trial should be pruned.

        For training loops that have to return before they may raise. The pruner is asked exactly
        once a step, because its answer changes with other workers' reports, and never at the
        ``last`` step, when pruning would save nothing.
        """
        if self._silent or self.pruned:
            return self.pruned
        with self.timings.measure(attributes.STORAGE_TIME):
            self.trial.report(value, self._step)
            self._step += 1
            self.pruned = not last and self.trial.should_prune()
        return self.pruned

    @property
    def _silent(self) -> bool:
        # Optuna refuses reports in a study with several objectives
        return self.quiet or len(self.trial.study.directions) > 1
