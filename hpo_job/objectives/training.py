"""How every fastai objective trains: in phases that are reported, pruned and timed."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import optuna
import torch
from fastai.callback.core import Callback, CancelEpochException, CancelFitException
from fastai.callback.fp16 import MixedPrecision
from fastai.callback.progress import ProgressCallback
from fastai.learner import Learner
from fastai.torch_core import set_seed
from numpy.typing import NDArray

from hpo_job import machine
from hpo_job.errors import MachineError
from hpo_job.objectives.batches import close_pools
from hpo_job.objectives.context import Context
from hpo_job.objectives.optimiser import FusedAdam, wait_less
from hpo_job.objectives.predictions import FILE, of_validation
from hpo_job.objectives.resuming import (
    capture,
    random_numbers,
    restore,
    restore_hidden,
    restore_random_numbers,
    resume,
    resumed_phase,
)
from hpo_job.trial import attributes
from hpo_job.trial.phases import Phase
from hpo_job.trial.state_file import State

Score = Callable[[NDArray[Any], NDArray[np.float64]], float]
MIB = 2**20


def start_afresh(context: Context) -> None:
    """Free the memory of the previous trial, seed all random numbers, look for a saved state."""
    close_pools()
    gc.collect()  # a learner and its callbacks refer to each other
    torch.set_num_threads(context.threads)
    set_seed(context.seed, reproducible=True)
    if context.device == "cuda":
        torch.cuda.empty_cache()
        if attributes.PEAK_GPU_MEMORY_MIB not in context.timings.values():  # no repeat of a trial
            torch.cuda.reset_peak_memory_stats()
        context.timings.gauge(
            attributes.PEAK_GPU_MEMORY_MIB, lambda: torch.cuda.max_memory_allocated() / MIB
        )
    resume(context)


def prepare(
    learn: Learner,
    context: Context | None,
    precision: str = "auto",
    *,
    channels_last: bool = False,
    compiled: bool = False,
) -> Learner:
    """Silence ``learn`` and set its precision and memory format.

    Args:
        learn: a new learner.
        context: the trial; None where nothing is trained: then float32, as the weights are.
        precision: "auto", "fp32", "fp16" or "bf16"; see `resolved`.
        channels_last: for image models: the memory format in which convolutions are fastest.
        compiled: let torch.compile generate the model's code, which takes up to a minute.
    """
    learn.remove_cb(ProgressCallback)
    learn.logger = lambda _: None
    if channels_last:
        learn.model.to(memory_format=torch.channels_last)
    if context is None:
        return learn
    learn.add_cb(Batches(context.progress))
    learn.opt_func = FusedAdam
    wait_less(learn.recorder)
    kind = resolved(precision, context.device)
    if kind == "fp16":
        learn.add_cb(MixedPrecision())
    elif kind == "bf16":
        # Around the model only: fastai's callback supports CUDA only, and leaves autocast switched
        # on for the following trials when a batch raises.
        autocast = torch.autocast(context.device, dtype=torch.bfloat16)
        learn.model.forward = autocast(learn.model.forward)
        learn.add_cb(Float32Predictions())
    if compiled:
        learn.model.compile()
    return learn


def resolved(precision: str, device: str) -> str:
    """The precision to train in.

    "auto" is bf16 where the hardware has it, else fp16 on CUDA and fp32 on a CPU: without bf16
    instructions a CPU is slower in bf16 than in float32.

    Raises:
        ValueError: fp16 without a CUDA GPU, where gradients would underflow unscaled.
    """
    if precision == "fp16" and device != "cuda":
        raise ValueError(f"precision: fp16 needs a CUDA GPU, found {device}; use bf16 or auto")
    if precision != "auto":
        return precision
    if device == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    return "bf16" if device == "cpu" and machine.has_bf16() else "fp32"


def check_precision(kinds: Sequence[object]) -> None:
    """Raise MachineError unless this machine can train in all of these precisions."""
    for kind in kinds:
        try:
            resolved(str(kind), "cuda" if torch.cuda.is_available() else "cpu")
        except ValueError as error:
            raise MachineError(str(error), "precision") from error


def fit(
    learn: Learner,
    context: Context,
    phase: Phase,
    run: Callable[[], None],
    score: Score | None = None,
    of_learner: Callable[[Learner], float] | None = None,
) -> None:
    """Run one phase of a trial: score, time and report each epoch, and save states.

    A phase that is complete in the state that the trial goes on from is left out; in the phase of
    that state, what was trained already is.

    Args:
        learn: the learner.
        context: the trial.
        phase: its name, epochs and metric.
        run: fits ``learn``, once or several times, for ``phase.epochs`` epochs in all.
        score: of (targets, predictions) on the validation set; None is the study's first metric.
        of_learner: computes the value of an epoch from the learner, in place of ``score``: for a
            language model, whose predictions are too many to be kept.

    Raises:
        optuna.TrialPruned: after the fit has returned, because fastai rewrites the message of
            an exception that a callback raises.
    """
    if resumed_phase(context) not in (None, phase.name):
        return
    context.begin(phase)
    epochs = Epochs(context, phase, score or context.scored.score, of_learner)
    times = (attributes.TRAIN_TIME, attributes.train_time(phase.name))
    with context.timings.measure(*times), learn.added_cbs(epochs):
        run()
    if epochs.pruned:
        final = score is None and of_learner is None
        if final:  # a pruned classifier has an execute_time too
            validate(learn, context)
        raise optuna.TrialPruned(
            f"pruned after epoch {len(epochs.values)} of {phase.epochs} of phase {phase.name}"
        )


def finish(learn: Learner, context: Context) -> float | tuple[float, ...]:
    """The values of the trained model: one for each metric, in their order; of one, a float.

    Measures ``execute_time``; the validation pass of the last epoch was the warm-up. A model
    trained in half precision is scored once more in float32, in which its weights are kept.
    """
    targets, predictions = validate(learn, context)
    if full_precision(learn):
        predictions = _array(learn.get_preds()[0])
    _keep_predictions(context, targets, predictions)
    values = tuple(
        context.timings.values()[attributes.EXECUTE_TIME]
        if metric.name == attributes.EXECUTE_TIME
        else metric.score(targets, predictions)
        for metric in context.metrics
    )
    return values if len(values) > 1 else values[0]  # type: ignore[return-value]


def _keep_predictions(
    context: Context, targets: NDArray[Any], predictions: NDArray[np.float64]
) -> None:
    """Let what keeps the model keep its predictions for the validation items as well."""
    save = context.keep
    if save is None:
        return

    def keep(folder: Path) -> None:
        save(folder)
        stored = of_validation(context, targets, predictions)
        if stored is not None:
            stored.write(folder / FILE)

    context.keep = keep


def full_precision(learn: Learner) -> bool:
    """Make ``learn`` compute in float32 from now on; returns whether it did not before."""
    half = [cb for cb in learn.cbs if isinstance(cb, MixedPrecision | Float32Predictions)]
    learn.remove_cbs(half)
    vars(learn.model).pop("forward", None)  # set by `prepare`
    learn.model._compiled_call_impl = None  # of the model with that forward
    return bool(half)


def validate(learn: Learner, context: Context) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """(targets, predictions) of one timed pass over the validation set, reading included.

    Sets ``execute_time``; with repeats, that of the last one counts.

    Returns:
        Targets of shape (items,); predictions of shape (items, classes), or (items,) in
        regression.
    """
    _synchronise(learn.dls.device)
    started = perf_counter()
    predictions, targets = learn.get_preds()
    _synchronise(learn.dls.device)
    seconds = perf_counter() - started
    context.timings.put(attributes.EXECUTE_TIME, seconds)
    context.timings.put(attributes.ITEM_TIME_MS, 1000 * seconds / len(targets))
    return _array(targets), _array(predictions)


class Epochs(Callback):  # type: ignore[misc]  # fastai is untyped
    """Scores, times, reports and saves each epoch of a phase, and ends it when it is pruned.

    ``values`` are the scores so far. Once ``pruned`` is True, further fits of the phase end
    before they begin. The predictions are those of fastai's own validation pass.

    Where the trial goes on from a saved state, the fits, epochs and batches before it are left out.
    """

    order = 60  # after Recorder and all others, which an exception would skip

    def __init__(
        self,
        context: Context,
        phase: Phase,
        score: Score,
        of_learner: Callable[[Learner], float] | None = None,
    ) -> None:
        self.context, self.phase, self.score, self.of_learner = context, phase, score, of_learner
        self.state, context.resumed = context.resumed, None
        self.values: list[float] = list(self.state["values"]) if self.state else []
        self.fits = 0  # how many of the phase have begun
        self.pruned = self.left_out = False

    def before_fit(self) -> None:
        self.fits += 1
        first = self.state["position"]["fit"] if self.state else 0
        if self.pruned or self.fits < first:
            raise CancelFitException
        if self.fits > first:  # the state was at the end of the fit before
            self.state = None
        if self.state:
            restore(self.learn, self.state)
            began = self.state["position"]["began"]
            restore_random_numbers(self.learn, began or self.state["random"])

    def before_epoch(self) -> None:
        self.started = perf_counter()
        self.left_out = self.state is not None and self.epoch < self.state["position"]["epoch"]
        if self.left_out:
            raise CancelEpochException

    def before_train(self) -> None:
        self.batch = 0
        self.began = random_numbers(self.learn)
        state, self.state = self.state, None
        if state and state["position"]["batch"]:
            position = state["position"]
            self.batch = position["batch"]
            self.learn.train_iter, self.learn.pct_train = position["iteration"], position["share"]
            self.started -= position["seconds"]
            restore_hidden(self.learn, state)
            self.dls.train.skip(
                self.batch, lambda: restore_random_numbers(self.learn, state["random"])
            )

    def after_batch(self) -> None:
        if self.training:
            self.batch += 1
            self._save(self.epoch, self.batch, self.began)

    def before_validate(self) -> None:
        self.predictions: list[torch.Tensor] = []
        self.targets: list[torch.Tensor] = []
        _synchronise(self.dls.device)
        self.validating = perf_counter()

    def after_pred(self) -> None:
        if self.training or self.of_learner:
            return
        predictions = getattr(self.loss_func, "activation", lambda x: x)(self.pred.detach())
        self.predictions.append(predictions)  # on the device: a copy to the CPU would wait for it
        self.targets.append(self.yb[0])

    def after_validate(self) -> None:
        _synchronise(self.dls.device)
        self.context.timings.add(attributes.VALIDATION_TIME, perf_counter() - self.validating)

    def after_epoch(self) -> None:
        if self.left_out:
            return
        if self.of_learner:
            value = self.of_learner(self.learn)
        else:
            value = self.score(_array(torch.cat(self.targets)), _array(torch.cat(self.predictions)))
        self.context.timings.epoch(perf_counter() - self.started)
        self.values.append(value)
        last = self.phase.final and len(self.values) == self.phase.epochs
        if self.context.should_stop_after(value, last=last):
            self.pruned = True
            raise CancelFitException
        self._save(self.epoch + 1, 0, None)

    def _save(self, epoch: int, batch: int, began: State | None) -> None:
        """Offer the state of training; the next epoch and batch are these."""

        def state() -> State:
            position = {
                "fit": self.fits,
                "epoch": epoch,
                "batch": batch,
                "iteration": int(self.train_iter),
                "share": float(self.pct_train),
                "seconds": perf_counter() - self.started,
                "began": began,
            }
            return capture(self.learn, self.context, self.phase.name, self.values, position)

        try:
            self.context.save(state)
        except optuna.TrialPruned:  # it pauses here; `fit` raises it anew
            self.pruned = True
            raise CancelFitException from None


class Batches(Callback):  # type: ignore[misc]
    """Notes progress at the start of each fit, and after each batch of training and validation."""

    def __init__(self, progress: Callable[[], None]) -> None:
        self.progress = progress

    def before_fit(self) -> None:
        self.progress()

    def after_batch(self) -> None:
        self.progress()


class Float32Predictions(Callback):  # type: ignore[misc]
    """Converts predictions to float32 for losses and scores."""

    order = 10

    def after_pred(self) -> None:
        self.learn.pred = _to_float32(self.pred)


def _to_float32(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.float() if value.is_floating_point() else value
    if isinstance(value, list | tuple):
        return type(value)(map(_to_float32, value))
    return value


def _array(tensor: torch.Tensor) -> NDArray[Any]:
    """As a numpy array: integers as int64, all else as float64; (items, 1) becomes (items,)."""
    whole = not tensor.is_floating_point()
    array = tensor.detach().cpu().to(torch.int64 if whole else torch.float64).numpy()
    return np.asarray(array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array)


def _synchronise(device: torch.device) -> None:
    """Wait until an asynchronous device has finished."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
