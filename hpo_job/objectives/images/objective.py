"""The common part of the image objectives: an image model with fastai, trained in two phases."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import fastai.callback.schedule  # noqa: F401  # adds fit_one_cycle to Learner
import pandas as pd
import torch
from fastai.data.block import DataBlock
from fastai.data.core import DataLoaders
from fastai.learner import Learner
from fastai.vision.augment import Normalize, Resize, ResizeMethod
from PIL import Image

from hpo_job.data.image_file import decodes
from hpo_job.data.images import LabelledFiles
from hpo_job.errors import DataError, SpecError
from hpo_job.objectives import learner_file, saved
from hpo_job.objectives.candidates import Candidates
from hpo_job.objectives.context import Context
from hpo_job.objectives.finder import Curve, find_lr
from hpo_job.objectives.images.heads import Head
from hpo_job.objectives.images.loaders import image_loaders
from hpo_job.objectives.images.models import build, check_known, stats
from hpo_job.objectives.images.opening import image_block
from hpo_job.objectives.images.trying import try_step
from hpo_job.objectives.images.weights import find, obtain
from hpo_job.objectives.parameters import ImageModel, ImageMultilabel
from hpo_job.objectives.precision import check_precision
from hpo_job.objectives.training import finish, fit, prepare, start_afresh
from hpo_job.trial import attributes
from hpo_job.trial.phases import Phase

HEAD, UNFROZEN = "head", "unfrozen"


def check(candidates: Candidates) -> None:
    """Check, before the first trial, that each model trains a step at its extreme image sizes.

    Raises:
        SpecError: a trial could not start.
    """
    values = candidates.values
    check_precision(values["precision"])
    models = [str(name) for name in values["model"]]
    for name in models:
        check_known(name)
    for name in models:
        file = obtain(name, candidates.weights) if True in values["pre_trained"] else None
        for size in sorted({int(str(size)) for size in values["image_size"]}):
            try_step(name, file, size, candidates.cache)


def train(head: Head, context: Context) -> float | tuple[float, ...]:
    """Train one model; returns the study's metrics on the validation set.

    First ``epochs`` epochs of one-cycle at ``learning_rate``, in which a pre-trained body is
    frozen except for its batch norms, as in fastai; then ``unfrozen_epochs`` epochs of everything
    at ``unfrozen_learning_rate``. Each epoch is reported.

    Raises:
        optuna.TrialPruned: the pruner stopped it.
    """
    learn, parameters = start(head, context)
    fit_head(learn, context, parameters)
    if parameters.unfrozen_epochs:
        fit_unfrozen(learn, context, parameters)
    context.keep = partial(save, head, learn, parameters, images_of(context))
    return finish(learn, context)


def lr_find(head: Head, context: Context, names: Sequence[str]) -> dict[str, Curve]:
    """The learning-rate finder's curve for each of these parameters, in its own phase."""
    learn, parameters = start(head, context)
    curves = {}
    if "learning_rate" in names:
        curves["learning_rate"] = find_lr(learn)
    if "unfrozen_learning_rate" in names:
        fit_head(learn, context, parameters)
        learn.unfreeze()
        curves["unfrozen_learning_rate"] = find_lr(learn)
    return curves


def save(
    head: Head, learn: Learner, parameters: ImageModel, data: LabelledFiles, folder: Path
) -> None:
    """Write what `rebuild` needs into ``folder``."""
    record = {
        "objective": head.objective,
        "model": parameters.model,
        "image_size": parameters.image_size,
        "levels": dict(data.levels),
        **head.record(data, parameters),
    }
    saved.write(folder, learn.model, record)


class Constant:
    """The same target for every item; a class, so that an export can be pickled."""

    def __init__(self, target: object) -> None:
        self.target = target

    def __call__(self, item: object) -> object:
        """The target."""
        return self.target


def rebuild(head: Head, folder: Path) -> Learner:
    """The learner that `save` wrote, without its data, for export and predictions."""
    record = learner_file.read(folder)
    size = record["image_size"]
    target_block, target = head.block(record)
    with TemporaryDirectory() as images:
        block = DataBlock(
            blocks=(image_block(record.get("levels", {})), target_block),
            get_y=Constant(target),
            item_tfms=Resize(size, method=ResizeMethod.Squish),
            batch_tfms=Normalize.from_stats(*stats(record["model"]), cuda=False),
        )
        # fastai needs items to make loaders; the export contains none of them
        items = [Path(images) / f"{number}.png" for number in range(4)]
        for item in items:
            Image.new("RGB", (size, size)).save(item)
        dls = block.dataloaders(items, bs=2, num_workers=0, device=torch.device("cpu"))
    model, splitter = build(record["model"], head.outputs(record), None, size)
    model = head.finished(model, record)
    saved.load(folder, model)
    learn = Learner(dls, model, head.loss_of_export(record), splitter=splitter)
    learn.record = record
    return prepare(learn, None)


def predict(head: Head, learn: Learner, files: Sequence[Path]) -> pd.DataFrame:
    """The prediction for each image file, and the probability of every class: a row each.

    Raises:
        DataError: a file is no image that can be read.
    """
    loader = learn.dls.test_dl(list(files), num_workers=0)
    try:
        answers = learn.get_preds(dl=loader)[0].double().numpy()
    except Exception as error:  # whatever a damaged file leads Pillow to
        unreadable = ", ".join(str(file) for file in files if not decodes(file))
        if not unreadable:
            raise
        raise DataError(f"{unreadable}: cannot be read as an image") from error
    items = pd.DataFrame({"file": [str(file) for file in files]})
    return head.table(items, answers, learn.record)


def start(head: Head, context: Context) -> tuple[Learner, ImageModel]:
    """A new learner on the study's data."""
    parameters = head.parameters.model_validate(context.params)
    if isinstance(parameters, ImageMultilabel):
        context.metrics = tuple(metric.at(parameters.threshold) for metric in context.metrics)
    start_afresh(context)
    with context.timings.measure(attributes.DATA_TIME):
        dls = image_loaders(images_of(context), context, parameters, head.typed)
    return make_learner(head, dls, context, parameters), parameters


def images_of(context: Context) -> LabelledFiles:
    """The study's data."""
    assert isinstance(context.data, LabelledFiles)
    return context.data


def fit_head(learn: Learner, context: Context, parameters: ImageModel) -> None:
    """Run the first phase."""
    fit(
        learn,
        context,
        _phase(context, HEAD, parameters.epochs, final=not parameters.unfrozen_epochs),
        lambda: learn.fit_one_cycle(parameters.epochs, parameters.learning_rate),
    )


def fit_unfrozen(learn: Learner, context: Context, parameters: ImageModel) -> None:
    """Run the second phase, which trains every layer."""
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


def make_learner(head: Head, dls: DataLoaders, context: Context, parameters: ImageModel) -> Learner:
    """A learner with a new head on a pre-trained or a random body.

    Raises:
        SpecError: its weights have gone since the study was checked.
    """
    file = find(parameters.model, context.weights) if parameters.pre_trained else None
    if parameters.pre_trained and file is None:  # `check` has seen them
        raise SpecError(
            f"model {parameters.model!r}: its weights are no longer in {context.weights}"
        )
    data = images_of(context)
    record = head.record(data, parameters)
    model, splitter = build(parameters.model, head.outputs(record), file, parameters.image_size)
    learn = prepare(
        Learner(
            dls,
            head.finished(model, record),
            head.loss(data, parameters),
            splitter=splitter,
        ),
        context,
        parameters.precision,
        channels_last=parameters.channels_last,
        compiled=parameters.compile,
    )
    if parameters.pre_trained:
        learn.freeze()
    return learn
