"""The objective ``image_classification``: trains an image model with fastai in two phases."""

from __future__ import annotations

import gc
from collections.abc import Collection
from pathlib import Path
from time import perf_counter

import fastai.callback.schedule  # noqa: F401  # adds fit_one_cycle to Learner
import optuna
import torch
from fastai.callback.progress import ProgressCallback
from fastai.data.block import CategoryBlock, DataBlock
from fastai.data.core import DataLoaders
from fastai.learner import Learner
from fastai.torch_core import set_seed
from fastai.vision.augment import Normalize, Resize, ResizeMethod
from fastai.vision.data import ImageBlock

from hpo_job import attributes
from hpo_job.data import LabelledFiles
from hpo_job.errors import SpecError
from hpo_job.objectives.context import Context
from hpo_job.objectives.models import build, check_known, stats
from hpo_job.objectives.parameters import ImageClassification
from hpo_job.objectives.training import EpochScores
from hpo_job.objectives.weights import find, obtain

LOADER_PROCESSES = 8  # per worker at most; more only wait for each other


def check(models: Collection[str], pre_trained: bool, weights: Path) -> None:
    """Raise SpecError, once and before the first trial, where a trial could not start.

    Builds each of ``models``, the candidates of the study; where any trial may be
    ``pre_trained``, with its weights, which are downloaded into the folder ``weights`` if this
    machine has none.
    """
    for name in models:
        check_known(name)
    for name in models:
        build(name, 2, obtain(name, weights) if pre_trained else None)


def train(trial: optuna.Trial, context: Context) -> float:
    """Train one model and return the study's metric on the validation set after the last epoch.

    First ``epochs`` epochs of one-cycle at ``learning_rate``, in which a pre-trained body is
    frozen but for its batch norms, as is fastai's way; then ``unfrozen_epochs`` epochs at
    ``unfrozen_learning_rate`` of everything. Each epoch is reported. Stores how long the
    loaders, the fits, and one pass over the validation set took. Raises optuna.TrialPruned.
    """
    parameters = ImageClassification.model_validate(context.params)
    _start_afresh(context)
    started = perf_counter()
    dls = _load(context, parameters)
    trial.set_user_attr(attributes.DATA_TIME, perf_counter() - started)
    learn = _learner(dls, context, parameters)

    started = perf_counter()
    scores = _fit(learn, context, parameters)
    trial.set_user_attr(attributes.TRAIN_TIME, perf_counter() - started)
    trial.set_user_attr(attributes.EXECUTE_TIME, _execute_time(learn))
    if scores.pruned:
        raise optuna.TrialPruned(f"pruned after epoch {len(scores.values)} of {scores.epochs}")
    return scores.values[-1]


def _start_afresh(context: Context) -> None:
    """Free what the last trial left, however it ended, and repeat its random numbers."""
    gc.collect()  # a learner and its callbacks refer to each other
    if context.device == "cuda":
        torch.cuda.empty_cache()
    torch.set_num_threads(context.threads)
    set_seed(context.seed, reproducible=True)


def _load(context: Context, parameters: ImageClassification) -> DataLoaders:
    """The loaders over the study's split; the validation items stay in its order."""
    data = context.data
    assert isinstance(data, LabelledFiles)
    # fastai leaves out the last, smaller batch: of few items nothing would be left.
    batch_size = min(parameters.batch_size, len(data.train))
    processes = min(context.threads, LOADER_PROCESSES) if context.device == "cuda" else 0
    return _block(data, parameters).dataloaders(
        range(len(data.files)),
        bs=batch_size,
        num_workers=processes,
        device=torch.device(context.device),
    )


def _block(data: LabelledFiles, parameters: ImageClassification) -> DataBlock:
    return DataBlock(
        blocks=(ImageBlock, CategoryBlock(vocab=list(data.classes), sort=False)),
        splitter=lambda _: (data.train.tolist(), data.valid.tolist()),
        get_x=lambda item: data.root / data.files[item],
        get_y=lambda item: data.labels[item],
        # Of the whole image: fastai would crop, which cuts subjects off, and at random in training.
        item_tfms=Resize(parameters.image_size, method=ResizeMethod.Squish),
        batch_tfms=Normalize.from_stats(*stats(parameters.model)),
    )


def _learner(dls: DataLoaders, context: Context, parameters: ImageClassification) -> Learner:
    file = find(parameters.model, context.weights) if parameters.pre_trained else None
    if parameters.pre_trained and file is None:  # `check` has seen them
        raise SpecError(f"model {parameters.model!r}: its weights are gone from {context.weights}")
    model, splitter = build(parameters.model, len(dls.vocab), file)
    if context.device == "cpu":
        model.to(memory_format=torch.channels_last)  # a third off the time of mobile models
    learn = Learner(dls, model, splitter=splitter)
    learn.remove_cb(ProgressCallback)
    learn.logger = lambda _: None
    if parameters.pre_trained:
        learn.freeze()
    return learn


def _fit(learn: Learner, context: Context, parameters: ImageClassification) -> EpochScores:
    """Both phases, the second only if the first was not pruned."""
    scores = EpochScores(context, parameters.epochs + parameters.unfrozen_epochs)
    learn.fit_one_cycle(parameters.epochs, parameters.learning_rate, cbs=scores)
    if parameters.unfrozen_epochs and not scores.pruned:
        learn.unfreeze()
        learn.fit_one_cycle(
            parameters.unfrozen_epochs, parameters.unfrozen_learning_rate, cbs=scores
        )
    return scores


def _execute_time(learn: Learner) -> float:
    """Seconds for one pass over the validation set, reading the images included.

    The validation of the epoch before was the warm-up: same loader, same shapes.
    """
    _synchronise(learn.dls.device)
    started = perf_counter()
    learn.get_preds()
    _synchronise(learn.dls.device)
    return perf_counter() - started


def _synchronise(device: torch.device) -> None:
    """Wait for a device that computes behind Python's back."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
