"""Rare classes in training: weighted in the loss, or drawn more often."""

from __future__ import annotations

from types import MethodType
from typing import TYPE_CHECKING

import numpy as np
import torch
from fastai.data.load import DataLoader
from fastai.losses import BCEWithLogitsLossFlat, CrossEntropyLossFlat
from numpy.typing import NDArray

from hpo_job.objectives.parameters import Balance

if TYPE_CHECKING:
    from hpo_job.data.from_spec import Labelled

SORTED = 50  # batches within which items are sorted by length, as fastai does


def class_weights(data: Labelled) -> NDArray[np.float64]:
    """The weight of every class, shape (classes,): inverse to its frequency in training.

    The mean over the training items is 1, so losses and learning rates stay comparable. A class
    without training items has weight 1.
    """
    counts = np.bincount(data.targets[data.train].astype(np.int64), minlength=len(data.classes))
    present = counts > 0
    weights = np.ones(len(counts))
    weights[present] = counts.sum() / (present.sum() * counts[present])
    return weights


def loss(balance: Balance, data: Labelled) -> CrossEntropyLossFlat:
    """The cross-entropy to train with: weighted by class where ``balance`` is "class_weights".

    The learner moves it to its device, weights included.
    """
    if balance != "class_weights":
        return CrossEntropyLossFlat()
    return CrossEntropyLossFlat(weight=torch.tensor(class_weights(data), dtype=torch.float32))


def label_weights(data: Labelled) -> NDArray[np.float64]:
    """The weight of having each label, shape (labels,): items without it by items with it.

    So both count as much in the loss of a label. A label that no training item has, or every one,
    has weight 1.
    """
    having = data.targets[data.train].sum(axis=0)
    lacking = len(data.train) - having
    known = (having > 0) & (lacking > 0)
    return np.where(known, lacking / np.maximum(having, 1), 1.0)


def loss_of_labels(balance: Balance, data: Labelled, threshold: float) -> BCEWithLogitsLossFlat:
    """The binary cross-entropy of every label, weighted where ``balance`` is "class_weights"."""
    if balance != "class_weights":
        return BCEWithLogitsLossFlat(thresh=threshold)
    weights = torch.tensor(label_weights(data), dtype=torch.float32)
    return BCEWithLogitsLossFlat(thresh=threshold, pos_weight=weights)


def sample(balance: Balance, loader: DataLoader, data: Labelled) -> None:
    """Make a training loader draw all classes equally often where ``balance`` is "sampler".

    An epoch keeps its length. Its items are drawn with replacement: items of a rare class come
    several times, and some of a frequent class not at all. A loader that sorts its items by
    length still groups items of similar length into batches.

    Args:
        balance: the parameter.
        loader: a fastai loader that shuffles, over the training items in the order of
            ``data.train``.
        data: the labelled items.
    """
    if balance != "sampler":
        return
    chances = class_weights(data)[data.targets[data.train].astype(np.int64)]
    chances /= chances.sum()

    def draw(self: DataLoader) -> list[int]:
        # The generator that fastai shuffles with: it follows the trial's seed.
        rng = np.random.default_rng(self.rng.getrandbits(64))
        drawn = rng.choice(len(chances), len(chances), p=chances)
        lengths = getattr(self, "res", None)
        if lengths is not None:
            drawn = _alike(drawn, np.asarray(lengths), self.bs, rng)
        return [int(position) for position in drawn]

    # A method of this instance only: fastai copies loaders for predictions, which need each item
    # once.
    loader.get_idxs = MethodType(draw, loader)


def _alike(
    drawn: NDArray[np.int64], lengths: NDArray[np.int64], size: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """The drawn items, those of similar length in one batch; batches in random order."""
    batches = [
        chunk[start : start + size]
        for first in range(0, len(drawn), size * SORTED)
        for chunk in [drawn[first : first + size * SORTED]]
        for chunk in [chunk[np.argsort(-lengths[chunk], kind="stable")]]
        for start in range(0, len(chunk), size)
    ]
    whole = [batch for batch in batches if len(batch) == size]
    rest = [batch for batch in batches if len(batch) < size]
    order = rng.permutation(len(whole))
    return np.concatenate([*(whole[number] for number in order), *rest])
