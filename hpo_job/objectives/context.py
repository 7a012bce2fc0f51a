"""The second argument of an objective: parameters, data, seed; and report, save and resume."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import optuna

from hpo_job import machine
from hpo_job.spec.metrics import Metric
from hpo_job.trial import attributes
from hpo_job.trial.checkpoint_file import State
from hpo_job.trial.phases import Phase
from hpo_job.trial.timings import Timings

if TYPE_CHECKING:
    from hpo_job.data.from_spec import Labelled

log = logging.getLogger(__name__)
Misfit = Callable[[State], str | None]  # why a state cannot be continued; None if it can


class Checkpoints(Protocol):
    """Where a trial's states are kept; implemented above this package."""

    @property
    def due(self) -> bool:
        """Whether a state should be written now. Cheap, so that it can be asked at every batch."""

    def write(self, tree: State, *, wait: bool = False) -> bool:
        """Keep ``tree``; whether it could be written. Ends the trial if it was asked to end.

        Args:
            tree: what is kept.
            wait: whether to return only when it is in the store.
        """

    def load(self, misfit: Misfit) -> State | None:
        """The newest tree that an attempt before this one kept, and that fits; None if none."""

    def resumed(self, steps: int) -> None:
        """Store with the trial that it continues what `load` returned last, after ``steps``."""


@dataclass
class History:
    """What a trial has reported so far; shared by all repeats of the trial.

    Attributes:
        values: the reports, one for each step.
        phases: as they are stored with the trial.
        inherited: the names of those that had begun before the state that was resumed; None
            where nothing was.
        pausing: whether the trial pauses as soon as it saves its state.
        paused_at: after how many steps it has paused.
    """

    values: list[float] = field(default_factory=list)
    phases: list[dict[str, Any]] = field(default_factory=list)
    inherited: frozenset[str] | None = None
    pausing: bool = False
    paused_at: int | None = None


@dataclass
class Context:
    """One trial's surroundings, passed to the objective as ``train(trial, context)``.

    Attributes:
        params: the value of every parameter in ``[search_space]``, suggested or fixed, over the
            objective's defaults; empty for a function that suggests for itself.
        path: the data, ``[data] path`` resolved against the job folder, or None.
        data: the labelled items and their split, for the shipped objectives, or None.
        metrics: how the study is scored; empty where the objective returns its own value.
        seed: for everything random in training; the same in every trial of a study, but for
            repeats.
        threads: CPU threads that this worker may use.
        weights: the local folder of pre-trained weights.
        cache: a local folder for what the trials and workers of this machine share.
        cache_size: GiB that decoded images may take in it; 0 for none.
        loader_workers: processes that read the batches; None lets the objective choose.
        gpu_share: the part of its GPU's memory that the trial may use, as other workers use it as
            well.
        timings: what the trial measures; stored with it, however it ends.
        quiet: whether reports are dropped, as in every repeat but the first: nothing prunes those.
        keep: set by the objective: a function that writes the trained model into an empty folder.
        progress: call it now and then in a long training that reports nothing: a worker without
            progress is restarted on Kubernetes, as docs/kubernetes.md says. `report` and `save`
            call it, and so does every batch of a fastai learner.
        checkpoints: where `save` writes and `resume` reads; None where nothing is saved.
        repeat: which of a trial's repeats this is.
        resumable: whether an earlier attempt may have been in this repeat when it saved a state.
        repeated: the part of a saved state that holds the repeats before this one.
        history: what the trial has reported.
        pauses: whether a trial that the pruner stops saves its state first, and may be promoted
            later.
        resumed: the state that a shipped objective goes on from, until it has.
        pruned: whether the pruner has stopped the trial; it ends PRUNED then, whatever the
            objective returns or raises.
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
    gpu_share: float = 1.0
    data: Labelled | None = None
    metrics: tuple[Metric, ...] = ()
    timings: Timings = field(default_factory=Timings)
    quiet: bool = False
    keep: Callable[[Path], None] | None = None
    progress: Callable[[], None] = lambda: None
    checkpoints: Checkpoints | None = None
    repeat: int = 0
    resumable: bool = True
    repeated: Callable[[], State] = dict
    history: History = field(default_factory=History)
    pauses: bool = False
    resumed: State | None = field(default=None, init=False)
    pruned: bool = field(default=False, init=False)

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
        """The name of the GPU that torch uses in this process, or else of the processor."""
        torch = sys.modules.get("torch")
        if torch is not None and torch.cuda.is_initialized():
            return str(torch.cuda.get_device_name())
        on_mps = torch is not None and torch.backends.mps.is_available()
        return "mps" if on_mps else machine.cpu_name()

    @property
    def gpu(self) -> str | None:
        """Which GPU of its machine the trial runs on; None where it has none, or may use several.

        Of several a shipped objective uses the first. CUDA is not started to know that: a function
        of the user's own could not fork processes any more that use it.
        """
        visible = machine.visible_gpus()
        if visible is not None and len(visible) < 2:
            return visible[0] if visible else None
        torch = sys.modules.get("torch")
        if torch is None or not torch.cuda.is_initialized():
            return None
        if self.data is None and torch.cuda.device_count() > 1:
            return None
        used = torch.cuda.current_device()
        return visible[used] if visible else str(used)

    def save_model(self, path: Path | str) -> None:
        """Offer a file or folder as the model of this trial; the last one counts.

        It is copied at once. If the trial ends among the study's best, the copy is kept, as
        ``[artifacts] keep`` says, and `hpo-job export` writes it out.

        Args:
            path: what the function has written: relative to the folder it runs in, or absolute.

        Raises:
            DataError: there is nothing, or it cannot be read.
        """
        from hpo_job.objectives.saved_files import SavedFiles

        self.keep = SavedFiles(Path(path))

    def begin(self, phase: Phase) -> None:
        """Start a phase: later reports are compared with the same phase of other trials.

        A phase that had begun before the state that was resumed is not started again.
        """
        if self._silent or phase.name in (self.history.inherited or ()):
            return
        self.history.phases.append(phase.stored(len(self.history.values)))
        with self.timings.measure(attributes.STORAGE_TIME):
            self.trial.set_user_attr(attributes.PHASES, self.history.phases)

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
            raise optuna.TrialPruned(f"pruned at step {len(self.history.values) - 1}")

    def should_stop_after(self, value: float, *, last: bool = False) -> bool:
        """Report ``value`` as the next step; True where the trial should be pruned.

        For training loops that have to return before they may raise. The pruner is asked exactly
        once a step, because its answer changes with other workers' reports, and never at the
        ``last`` step, when pruning would save nothing.
        """
        self.progress()
        if self._silent or self.pruned:
            return self.pruned
        with self.timings.measure(attributes.STORAGE_TIME):
            self.trial.report(value, len(self.history.values))
            self.history.values.append(float(value))
            stops = not last and self.trial.should_prune()
        log.info("trial %d step %d: %.6g", self.trial.number, len(self.history.values) - 1, value)
        self.pruned = stops and not self._pauses_at_next_save()
        return self.pruned

    def save(self, state: State | Callable[[], State]) -> bool:
        """Save the state of training, if it is time to: `[checkpoint] every`, or the end is near.

        Call it wherever training could be continued from, after each epoch or each batch; it
        returns at once unless a save is due. When the worker was asked to stop (Ctrl-C, SIGTERM),
        the state is written at once, and the trial ends in this call.

        Args:
            state: dictionaries with string keys, lists, str, int, float, bool, None, bytes and
                numpy arrays; or a function that returns it, called only when it is written. What
                was reported so far, the phases and the timings are saved with it.

        Returns:
            Whether it was saved. A store that cannot be written to is logged, and training goes on.

        Raises:
            TypeError: the state holds something else.
            optuna.TrialPruned: the trial has reached a PromotionPruner's rung, and pauses here.
        """
        self.progress()
        if self.checkpoints is None or not (self.checkpoints.due or self.history.pausing):
            return False
        tree = {
            "objective": state() if callable(state) else state,
            "repeat": self.repeat,
            "repeated": self.repeated(),
            "values": self.history.values,
            "phases": self.history.phases,
            "timings": self.timings.values(),
            "pausing": self.history.pausing,
        }
        if not self.history.pausing:
            return self.checkpoints.write(tree)
        self.checkpoints.write(tree, wait=True)
        raise self._paused()

    def resume(self, misfit: Misfit = lambda state: None) -> State | None:
        """The newest state that an earlier attempt at these parameters has saved; None if none.

        Call it once, before training. Continue from the state that it returns: what had been
        reported until then, the phases and the timings are restored already.

        Args:
            misfit: says in a few words why a state cannot be continued, or returns None if it can.
                A state that cannot is logged and skipped for the one before.

        Raises:
            optuna.TrialPruned: the attempt before had paused there, but was killed before that was
                recorded.
        """
        if self.checkpoints is None or not self.resumable:
            return None
        tree = self.checkpoints.load(lambda tree: misfit(tree["objective"]))
        if tree is None or tree["repeat"] != self.repeat:
            return None
        self.inherit(tree)
        state: State = tree["objective"]
        return state

    def inherit(self, tree: State) -> None:
        """Take over, once, what `save` stored with an objective's state: reports, phases, times."""
        history = self.history
        if self.checkpoints is None or history.inherited is not None:
            return
        history.values[:], history.phases[:] = tree["values"], tree["phases"]
        history.inherited = frozenset(str(phase["name"]) for phase in history.phases)
        self.timings.inherit(tree["timings"])
        with self.timings.measure(attributes.STORAGE_TIME):
            for step, value in enumerate(history.values):
                self.trial.report(value, step)
            if history.phases:
                self.trial.set_user_attr(attributes.PHASES, history.phases)
            epochs = tree["timings"].get(attributes.EPOCH_TIMES, history.values)
            self.checkpoints.resumed(len(epochs))
        # A promoted trial goes on from the same state, but its rung is a later one
        if self.pauses and tree.get("pausing") and self.trial.should_prune():
            raise self._paused()

    def _paused(self) -> optuna.TrialPruned:
        """What ends the trial at its rung."""
        self.pruned, self.history.paused_at = True, len(self.history.values)
        return optuna.TrialPruned(f"paused after step {self.history.paused_at - 1}")

    def _pauses_at_next_save(self) -> bool:
        """Whether a trial that the pruner stops goes on until its state is saved.

        It is stopped at its next step, if no state was saved by then; it begins anew if promoted.
        """
        history = self.history
        if not self.pauses:
            return False
        if self.checkpoints is not None and not history.pausing:
            history.pausing = True
            return True
        history.paused_at = len(history.values)
        return False

    @property
    def _silent(self) -> bool:
        # Optuna refuses reports in a study with several objectives
        return self.quiet or len(self.trial.study.directions) > 1
