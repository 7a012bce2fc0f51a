"""How every fastai objective trains: in phases that are reported, pruned and timed."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import optuna
import torch
from fastai.callback.core import Callback
from fastai.callback.progress import ProgressCallback
from fastai.learner import Learner
from fastai.torch_core import set_seed
from numpy.typing import NDArray

from hpo_job.objectives.batches import close_pools
from hpo_job.objectives.checkpoint import resume, resumed_phase
from hpo_job.objectives.context import Context
from hpo_job.objectives.epochs import Epochs, Score
from hpo_job.objectives.optimiser import FusedAdam, wait_less
from hpo_job.objectives.precision import full_precision, set_precision
from hpo_job.objectives.predictions import FILE, Predictions, of_validation
from hpo_job.objectives.tensors import as_array, synchronise
from hpo_job.trial import attributes
from hpo_job.trial.phases import Phase

log = logging.getLogger(__name__)
MIB = 2**20
CUDA_ITSELF = 600 * MIB  # bytes of a GPU that CUDA takes in each process, next to all tensors


def start_afresh(context: Context) -> None:
    """Free the memory of the previous trial, seed all random numbers, look for a saved state."""
    close_pools()
    gc.collect()  # a learner and its callbacks refer to each other
    torch.set_num_threads(context.threads)
    set_seed(context.seed, reproducible=True)
    if context.device == "cuda":
        torch.cuda.empty_cache()
        if context.gpu_share < 1:
            total = torch.cuda.mem_get_info()[1]
            torch.cuda.set_per_process_memory_fraction(memory_fraction(context.gpu_share, total))
        if attributes.PEAK_GPU_MEMORY_MIB not in context.timings.values():  # no repeat of a trial
            torch.cuda.reset_peak_memory_stats()
        context.timings.gauge(
            attributes.PEAK_GPU_MEMORY_MIB, lambda: torch.cuda.max_memory_allocated() / MIB
        )
    resume(context)


def memory_fraction(share: float, total: int) -> float:
    """The part of a GPU's memory that tensors may take in a process that has a share of the GPU.

    A trial that needs more fails by itself; the other workers of the GPU do not notice.

    Args:
        share: of the process, below 1.
        total: bytes that the GPU has.
    """
    return max(share / 2, share - CUDA_ITSELF / total)


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
        precision: "auto", "fp32", "fp16" or "bf16"; see
            `hpo_job.objectives.precision.resolved`.
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
    set_precision(learn, precision, context.device)
    if compiled:
        torch.compiler.reset()  # it gives up on code that it has compiled for eight models
        learn.model.compile()
    return learn


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
        predictions = as_array(learn.get_preds()[0])
    _forget_training(learn)
    _keep_predictions(context, targets, predictions)
    values = tuple(
        context.timings.values()[attributes.EXECUTE_TIME]
        if metric.name == attributes.EXECUTE_TIME
        else metric.score(targets, predictions)
        for metric in context.metrics
    )
    return values if len(values) > 1 else values[0]  # type: ignore[return-value]


def _forget_training(learn: Learner) -> None:
    """Drop gradients and the optimiser: three times the weights, while repeats wait to be kept."""
    learn.opt = None
    learn.model.zero_grad(set_to_none=True)


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
            _write(stored, folder / FILE)

    context.keep = keep


def _write(predictions: Predictions, file: Path) -> None:
    """Write them, or say why they are missing: the model is kept without them as well."""
    try:
        predictions.write(file)
    except ImportError:
        log.warning(
            "models are kept without their predictions for the validation items, which need "
            "pyarrow: pip install 'hpo-job[fastai]'"
        )


def validate(learn: Learner, context: Context) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """(targets, predictions) of one timed pass over the validation set, reading included.

    Sets ``execute_time``; with repeats, that of the last one counts.

    Returns:
        Targets of shape (items,); predictions of shape (items, classes), or (items,) in
        regression.
    """
    synchronise(learn.dls.device)
    started = perf_counter()
    predictions, targets = learn.get_preds()
    synchronise(learn.dls.device)
    seconds = perf_counter() - started
    context.timings.put(attributes.EXECUTE_TIME, seconds)
    context.timings.put(attributes.ITEM_TIME_MS, 1000 * seconds / len(targets))
    return as_array(targets), as_array(predictions)


class Batches(Callback):  # type: ignore[misc]
    """Notes progress at the start of each fit, and after each batch of training and validation."""

    def __init__(self, progress: Callable[[], None]) -> None:
        self.progress = progress

    def before_fit(self) -> None:
        self.progress()

    def after_batch(self) -> None:
        self.progress()
