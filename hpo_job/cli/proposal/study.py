"""The study that is proposed for data: metric, budget, sampler, pruner and search space."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from hpo_job.cli.proposal.document import Table, document
from hpo_job.cli.proposal.look import SEED, Look
from hpo_job.data.images import LabelledFiles
from hpo_job.data.language import language_of
from hpo_job.data.language_models import ENGLISH, LanguageModel
from hpo_job.data.tables import LabelledRows
from hpo_job.objectives.downloads import (
    PACKAGES,
    SUFFIXES,
    find_language_model,
    packaged,
    places,
)
from hpo_job.objectives.parameters import ImageClassification

UNEVEN = 1.5  # how many times the rarest class the most frequent one has, from which F1 is better
TAIL = 5.0  # how many times the quartile's distance the ends are away, from which mae is better
STEPS = 20  # training steps of an epoch, at least, unless the data is very little
TRIALS = 40  # without a budget of the user's
TIMES = {"lunch": "1h", "overnight": "10h", "weekend": "60h"}
SAMPLED = 200  # images whose sizes are read
MANY_TEXTS = 3000  # from which a first study is quicker on a sample
SIDES = (224, 192, 160, 128, 96, 64, 32)  # of square images, the largest first
CPU_SIDE = 128  # the largest one where no GPU helps
LIKELY = ("resnet18", "resnet34", "resnet50")  # whose weights may lie in the weights' folder


@dataclass(frozen=True)
class Surroundings:
    """What this machine has: whether a GPU, and the folder of pre-trained weights."""

    has_gpu: bool
    weights: Path


@dataclass(frozen=True)
class Limits:
    """How long the study may take, as the user said it: ``--trials``, ``--time``, or neither."""

    trials: int | None = None
    time: str | None = None

    def table(self) -> Table:
        """The [budget]."""
        budget = Table("[budget]")
        trials = self.trials or (None if self.time else TRIALS)
        why = "this many end COMPLETE or PRUNED"
        if trials:
            budget.add("trials", trials, why)
        else:
            budget.add("trials", TRIALS, "also end after so many trials", suggested=True)
        if self.time:
            text = "no trial starts after so much working time"
            budget.add("timeout", TIMES.get(self.time, self.time), text)
        else:
            budget.add("timeout", TIMES["overnight"], "also end after so much time", suggested=True)
        budget.add("failures", 3, "a worker gives up after so many failed trials in a row")
        return budget


def propose(look: Look, name: str, path: str, limits: Limits, here: Surroundings) -> str:
    """The text of a study.toml for this data.

    Args:
        look: the data.
        name: of the study.
        path: of the data, as [data] path has it.
        limits: how long the study may take.
        here: what the machine has that will probably run it.
    """
    space, enqueued = _SPACES[look.objective](look, here)
    head = (
        f"Written by `hpo-job init` for {path}: each line says what it is, and each may be "
        f"changed. `hpo-job check` says what will run, `hpo-job run` runs it."
    )
    return document(
        head,
        [
            _study(look, name),
            _data(look, path),
            limits.table(),
            *_search(look, limits),
            space,
            enqueued,
        ],
    )


def is_uneven(look: Look) -> bool:
    """Whether some classes have many more items than others."""
    counts = list(look.data.counts.values())
    return bool(counts) and counts[0] > UNEVEN * counts[-1]


def metric_for(look: Look) -> tuple[str, str, str]:
    """The metric that suits the data: its name, its direction, and why it suits."""
    if look.objective == "image_multilabel":
        return "f1_macro", "maximize", "mean of the labels' F1: rare labels count as much"
    if not look.data.classes:
        targets = look.data.targets.astype(np.float64)
        low, first, third, high = np.quantile(targets, [0, 0.25, 0.75, 1])
        if max(high - third, first - low) > TAIL * (third - first):
            return "mae", "minimize", "mean absolute error: a few numbers are far from all others"
        return "rmse", "minimize", "root of the mean squared error, in the label's own unit"
    if is_uneven(look):
        return "f1_macro", "maximize", "mean of the classes' F1: rare classes count as much"
    return "accuracy", "maximize", "share of right answers; the classes are about as large"


def sides(data: LabelledFiles) -> np.ndarray[Any, Any]:
    """Width and height of some of the images, shape (images, 2); only their headers are read."""
    sizes = []
    for name in data.files[:: max(1, -(-len(data.files) // SAMPLED))]:
        try:
            with Image.open(data.root / name) as image:
                sizes.append(image.size)
        except Exception:  # Pillow's decoders raise whatever a broken file makes them trip over
            continue
    return np.array(sizes, dtype=np.int64).reshape(-1, 2)


def _study(look: Look, name: str) -> Table:
    table = Table("")
    metric, direction, why = metric_for(look)
    table.add("name", name, "of the study; lower-case letters, digits and dashes")
    table.add("objective", look.objective, "what a trial trains")
    table.add("metric", metric, why)
    table.add("direction", direction, "which way is better")
    table.add("seed", SEED, "of sampler and training: a trial can be repeated")
    return table


def _data(look: Look, path: str) -> Table:
    table = Table("[data]")
    images = isinstance(look.data, LabelledFiles) and look.data.table is None
    texts = isinstance(look.data, LabelledRows) and bool(look.data.names)
    kind = "a folder of images per class" if images else "the table"
    kind = "a folder of texts per class" if texts else kind
    table.add("path", path, f"{kind}, relative to this file")
    whys = {
        "valid_pct": "share of validation, the same in every trial",
        "labels": "classes of one item can be neither learnt nor scored: they are one class here",
    }
    for key, value in look.settings.items():
        if key == "valid_pct" and look.data.source:
            continue
        table.add(key, value, look.reasons.get(key) or whys[key])
    for name in look.groups:
        why = "rows that agree in this column are all in training or all in validation"
        table.add("group", name, why, suggested=True)
    if look.objective == "text_classification" and len(look.data) > MANY_TEXTS:
        why = f"so many of the {len(look.data)} rows, for a first study that is quick"
        table.add("sample", MANY_TEXTS, why, suggested=True)
    table.add("seed", SEED, "of that draw")
    return table


def _search(look: Look, limits: Limits) -> list[Table]:
    sampler = Table("[sampler]")
    sampler.add("name", "TPESampler", "any of Optuna's; this one learns from trials")
    startup = min(10, max(2, (limits.trials or TRIALS) // 3))
    sampler.add("n_startup_trials", startup, "trials drawn at random before it learns")
    pruner = Table("[pruner]")
    if look.objective == "text_classification":
        pruner.add("name", "SuccessiveHalvingPruner", "ends trials that fall behind, by phase")
        pruner.add("min_resource", 2, "epochs of a phase before the first decision")
        pruner.add("reduction_factor", 2, "about one of so many trials goes on")
        return [sampler, pruner]
    pruner.add("name", "MedianPruner", "ends trials that are worse than half of those before")
    pruner.add("n_startup_trials", 5, "none of the first trials is ended")
    pruner.add("n_warmup_steps", 1, "nor is any in its first epochs")
    return [sampler, pruner]


def _images(look: Look, here: Surroundings) -> tuple[Table, Table]:
    assert isinstance(look.data, LabelledFiles)
    shorter = np.median(sides(look.data).min(axis=1)) if len(sides(look.data)) else CPU_SIDE
    largest = SIDES[0] if here.has_gpu else CPU_SIDE
    side = next((s for s in SIDES if s <= min(shorter, largest)), SIDES[-1])
    model, why = _image_model(here)
    space = Table(
        "[search_space]", "A plain value is the same in every trial; a table is searched."
    )
    space.add("model", model, why)
    space.add("pre_trained", True, "from ImageNet weights; false: from random ones")
    space.add("image_size", side, f"pixels; a typical image's shorter side has {shorter:.0f}")
    batch = _batch_size(look, 32 if here.has_gpu else 16)
    space.add("batch_size", batch, "images in a training step")
    space.add("epochs", _int(1, 6 if here.has_gpu else 4), "of the new last layers alone")
    rate = "highest learning rate of that phase"
    space.add("learning_rate", _float(1e-4, 1e-1), rate)
    space.add("unfrozen_epochs", _int(0, 6 if here.has_gpu else 3), "then of all layers")
    space.add("unfrozen_learning_rate", _float(1e-6, 1e-2), rate)
    space.add("apply_tfms", _choice(True, False), "change training images at random?")
    turned = {**_float(0.0, 45.0, log=False), "when": {"apply_tfms": True}}
    space.add("max_rotate", turned, "degrees; searched only where apply_tfms is true")
    if look.objective == "image_multilabel":
        space.add("threshold", _float(0.2, 0.7, log=False), "labels above it are predicted")
        choices = _choice("none", "class_weights")
        space.add("balance", choices, "make rare labels count as much in training?")
    else:
        _add_balance(space, look)
    enqueued = _first(ImageClassification().learning_rate)
    enqueued.add("apply_tfms", False, "the plain images first")
    return space, enqueued


def _batch_size(look: Look, largest: int) -> int:
    """A batch size with which an epoch of little data has some training steps."""
    items = len(look.data.train)
    return next((size for size in (32, 16) if size <= largest and items >= STEPS * size), 8)


def _image_model(here: Surroundings) -> tuple[str, str]:
    """A model whose pre-trained weights are on this machine, or the usual one."""
    for model in LIKELY:
        files = (place / (model + end) for place in places(here.weights) for end in SUFFIXES)
        if any(file.is_file() for file in files):
            return model, "any of torchvision or timm; its weights are here"
    for model in PACKAGES:
        if packaged(model):
            return model, "any of torchvision or timm; its weights are here"
    return LIKELY[0], "any of torchvision or timm; downloaded once"


def _table(look: Look, here: Surroundings) -> tuple[Table, Table]:
    rows = len(look.data.train)
    space = Table(
        "[search_space]", "A plain value is the same in every trial; a table is searched."
    )
    batch = next((size for size in (256, 64, 32, 16) if rows >= 40 * size), 8)
    space.add("batch_size", batch, "rows in a training step")
    space.add("epochs", _int(2, 20), "passes over the training rows")
    space.add("learning_rate", _float(1e-4, 1e-1), "highest learning rate of the one-cycle")
    space.add("layers", _int(1, 3), "hidden layers")
    space.add("units", _choice(16, 64, 256), "units of the first one; each next one has half")
    space.add("ps", _float(0.0, 0.5, log=False), "dropout after each hidden layer")
    space.add("weight_decay", _float(1e-4, 1.0), "weight decay of every layer")
    _add_balance(space, look)
    return space, _first(1e-2)


def _text(look: Look, here: Surroundings) -> tuple[Table, Table]:
    assert isinstance(look.data, LabelledRows)
    texts = look.data.frame[look.data.text]
    language = language_of(texts)
    code = look.settings.get("language") or (language.code if language else None)
    model = LanguageModel(code) if code else None
    pre_trained = model is not None and find_language_model(here.weights, model) is not None
    space = Table(
        "[search_space]", "A plain value is the same in every trial; a table is searched."
    )
    space.add(
        "pre_trained",
        pre_trained,
        _language_model(model),
    )
    if not pre_trained:
        space.add("emb_sz", 64, "size of a token's embedding; small enough for CPUs")
        space.add("n_hid", 128, "width of the hidden layers")
        space.add("n_layers", 2, "LSTM layers")
        space.add("max_vocab", 5000, "tokens in the vocabulary")
    words = int(np.quantile(texts.str.count(r"\S+"), 0.9))
    tokens = int(min(1000, max(50, words * 5 // 4)))
    space.add("max_tokens", tokens, f"tokens read of each text; 9 of 10 have up to {words} words")
    space.add("bptt", min(72, tokens), "tokens per step of back-propagation")
    space.add("batch_size", _batch_size(look, 32), "texts in a training step")
    space.add("head_epochs", _int(1, 4), "the language model on these texts, first phase")
    rate = "highest learning rate of that phase"
    space.add("learning_rate_frozen", _float(1e-4, 1e-1), rate)
    space.add("lm_body_epochs", _int(1, 4), "the language model, second phase")
    space.add("learning_rate_unfrozen", _float(1e-6, 1e-1), rate)
    space.add("classifier_epochs", _int(3, 8), "the classifier that takes the model over")
    space.add("learning_rate_classifier", _float(1e-4, 1e-1), rate)
    space.add("gradual_unfreezing", _choice(True, False), "one layer more in each epoch?")
    _add_balance(space, look)
    return space, _first(5e-3, "learning_rate_frozen")


def _language_model(model: LanguageModel | None) -> str:
    """Where a pre-trained language model of this language is from."""
    sizes = "the sizes below have to be those of the model then"
    if model is not None and model.language != ENGLISH:
        return (
            f"start from a language model of this language, in fastai's format: in {model.name} "
            f"among the weights, or as [data] language_model; {sizes}"
        )
    return (
        "start from a language model of English Wikipedia; hpo-job weights wt103-fwd downloads it, "
        "and the sizes below have to be left out then"
    )


def _add_balance(space: Table, look: Look) -> None:
    if is_uneven(look):
        choices = _choice("none", "class_weights", "sampler")
        space.add("balance", choices, "make rare classes count as much in training?")


def _first(rate: float, name: str = "learning_rate") -> Table:
    why = "A trial to begin with; the sampler suggests what is left out."
    enqueued = Table("[[enqueue]]", why)
    enqueued.add(name, rate, "a usual value")
    return enqueued


def _int(low: int, high: int) -> dict[str, Any]:
    return {"type": "int", "low": low, "high": high}


def _float(low: float, high: float, *, log: bool = True) -> dict[str, Any]:
    return {"type": "float", "low": low, "high": high, **({"log": True} if log else {})}


def _choice(*choices: Any) -> dict[str, Any]:
    return {"type": "categorical", "choices": list(choices)}


_SPACES: dict[str, Callable[[Look, Surroundings], tuple[Table, Table]]] = {
    "image_classification": _images,
    "image_multilabel": _images,
    "image_regression": _images,
    "tabular_classification": _table,
    "tabular_regression": _table,
    "text_classification": _text,
}
