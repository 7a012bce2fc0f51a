"""The objective ``image_classification``: trains an image model with fastai in two phases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import fastai.callback.schedule  # noqa: F401  # adds fit_one_cycle to Learner
import optuna
import pandas as pd
import torch
from fastai.data.block import CategoryBlock, DataBlock
from fastai.data.core import DataLoaders
from fastai.data.transforms import parent_label
from fastai.learner import Learner
from fastai.vision.augment import Normalize, Resize, ResizeMethod
from PIL import Image

from hpo_job.data.image_file import Levels, decodes
from hpo_job.data.images import LabelledFiles
from hpo_job.errors import DataError, SpecError
from hpo_job.objectives import learner_file, saved
from hpo_job.objectives.balance import loss
from hpo_job.objectives.context import Context
from hpo_job.objectives.finder import Curve, find_lr
from hpo_job.objectives.images.loaders import image_loaders
from hpo_job.objectives.images.models import build, check_known, stats
from hpo_job.objectives.images.opening import image_block
from hpo_job.objectives.images.trying import try_step
from hpo_job.objectives.images.weights import find, obtain
from hpo_job.objectives.parameters import ImageClassification
from hpo_job.objectives.training import check_precision, finish, fit, prepare, start_afresh
from hpo_job.trial import attributes
from hpo_job.trial.phases import Phase

HEAD, UNFROZEN = "head", "unfrozen"


def check(
    candidates: Mapping[str, Sequence[object]], weights: Path, cache: Path | None = None
) -> None:
    """Check, before the first trial, that each model trains a step at its extreme image sizes.

    Args:
        candidates: the values that each parameter can have.
        weights: folder of pre-trained weights; they are downloaded where a trial may be
            ``pre_trained`` and this machine has none.
        cache: folder in which this machine notes what it has tried; None tries again.

    Raises:
        SpecError: a trial could not start.
    """
    check_precision(candidates["precision"])
    models = [str(name) for name in candidates["model"]]
    for name in models:
        check_known(name)
    for name in models:
        file = obtain(name, weights) if True in candidates["pre_trained"] else None
        for size in sorted({int(str(size)) for size in candidates["image_size"]}):
            try_step(name, file, size, cache)


def train(trial: optuna.Trial, context: Context) -> float | tuple[float, ...]:
    """Train one model; returns the study's metrics on the validation set.

    First ``epochs`` epochs of one-cycle at ``learning_rate``, in which a pre-trained body is
    frozen except for its batch norms, as in fastai; then ``unfrozen_epochs`` epochs of everything
    at ``unfrozen_learning_rate``. Each epoch is reported.

    Raises:
        optuna.TrialPruned: the pruner stopped it.
    """
    learn, parameters = _start(context)
    _fit_head(learn, context, parameters)
    if parameters.unfrozen_epochs:
        _fit_unfrozen(learn, context, parameters)
    context.keep = partial(save, learn, parameters, _levels(context))
    return finish(learn, context)


def lr_find(context: Context, names: Sequence[str]) -> dict[str, Curve]:
    """The learning-rate finder's curve for each of these parameters, in its own phase."""
    learn, parameters = _start(context)
    curves = {}
    if "learning_rate" in names:
        curves["learning_rate"] = find_lr(learn)
    if "unfrozen_learning_rate" in names:
        _fit_head(learn, context, parameters)
        learn.unfreeze()
        curves["unfrozen_learning_rate"] = find_lr(learn)
    return curves


def save(learn: Learner, parameters: ImageClassification, levels: Levels, folder: Path) -> None:
    """Write what `rebuild` needs into ``folder``; for ``levels`` see `open_image`."""
    saved.write(
        folder,
        learn.model,
        {
            "objective": "image_classification",
            "model": parameters.model,
            "image_size": parameters.image_size,
            "classes": list(learn.dls.vocab),
            "levels": dict(levels),
        },
    )


def rebuild(folder: Path) -> Learner:
    """The learner that `save` wrote, without its data, for export and predictions."""
    record = learner_file.read(folder)
    classes, size, levels = record["classes"], record["image_size"], record.get("levels", {})
    with TemporaryDirectory() as images:
        block = DataBlock(
            blocks=(image_block(levels), CategoryBlock(vocab=classes, sort=False)),
            get_y=parent_label,
            item_tfms=Resize(size, method=ResizeMethod.Squish),
            batch_tfms=Normalize.from_stats(*stats(record["model"]), cuda=False),
        )
        # fastai needs items to make loaders; the export contains none of them
        items = [Path(images) / classes[0] / f"{number}.png" for number in range(4)]
        for item in items:
            item.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (size, size)).save(item)
        dls = block.dataloaders(items, bs=2, num_workers=0, device=torch.device("cpu"))
    model, splitter = build(record["model"], len(classes), None, size)
    saved.load(folder, model)
    return prepare(Learner(dls, model, splitter=splitter), None)


def predict(learn: Learner, files: Sequence[Path]) -> pd.DataFrame:
    """The class of each image file, and the probability of every class: a row for each file."""
    loader = learn.dls.test_dl(list(files), num_workers=0)
    try:
        probabilities = learn.get_preds(dl=loader)[0].double().numpy()
    except Exception as error:  # whatever a damaged file leads Pillow to
        unreadable = ", ".join(str(file) for file in files if not decodes(file))
        if not unreadable:
            raise
        raise DataError(f"{unreadable}: cannot be read as an image") from error
    items = pd.DataFrame({"file": [str(file) for file in files]})
    return learner_file.predictions(items, list(learn.dls.vocab), probabilities)


def _start(context: Context) -> tuple[Learner, ImageClassification]:
    """A new learner on the study's data."""
    parameters = ImageClassification.model_validate(context.params)
    start_afresh(context)
    with context.timings.measure(attributes.DATA_TIME):
        data = context.data
        assert isinstance(data, LabelledFiles)
        dls = image_loaders(data, context, parameters)
    return _learner(dls, context, parameters), parameters


def _levels(context: Context) -> Levels:
    assert isinstance(context.data, LabelledFiles)
    return context.data.levels


def _fit_head(learn: Learner, context: Context, parameters: ImageClassification) -> None:
    fit(
        learn,
        context,
        _phase(context, HEAD, parameters.epochs, final=not parameters.unfrozen_epochs),
        lambda: learn.fit_one_cycle(parameters.epochs, parameters.learning_rate),
    )


def _fit_unfrozen(learn: Learner, context: Context, parameters: ImageClassification) -> None:
    epochs = parameters.unfrozen_epochs
    learn.unfreeze()
    fit(
        learn,
        context,
        _phase(context, UNFROZEN, epochs, final=True),
        lambda: learn.fit_one_cycle(epochs, parameters.unfrozen_learning_rate),
    )


def _phase(context: Context, name: str, epochs: int, *, final: bool) -> Phase:
    """A phase of training, scored by the study's own metric."""
    metric = context.scored
    return Phase(name, epochs, metric.name, metric.direction, final)


def _learner(dls: DataLoaders, context: Context, parameters: ImageClassification) -> Learner:
    file = find(parameters.model, context.weights) if parameters.pre_trained else None
    if parameters.pre_trained and file is None:  # `check` has seen them
        raise SpecError(
            f"model {parameters.model!r}: its weights are no longer in {context.weights}"
        )
    model, splitter = build(parameters.model, len(dls.vocab), file, parameters.image_size)
    assert context.data is not None
    learn = prepare(
        Learner(dls, model, loss(parameters.balance, context.data), splitter=splitter),
        context,
        parameters.precision,
        channels_last=parameters.channels_last,
        compiled=parameters.compile,
    )
    if parameters.pre_trained:
        learn.freeze()
    return learn
