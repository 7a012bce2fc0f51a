"""What kept models get wrong: confusion, the worst items, calibration, and tests between models.

Everything is computed from the stored predictions for the validation items.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from hpo_job.objectives.predictions import Predictions

BINS = 10  # of the probability of the predicted class, for the calibration


@dataclass(frozen=True)
class Item:
    """One validation item and what a model made of it.

    Args:
        name: a file, or ``row 17``.
        text: what it says, shortened; empty for images.
        target: the true class, labels, or number.
        answer: the predicted one.
        probability: of the predicted class; None for several labels and for regression.
        loss: see `Predictions.losses`.
    """

    name: str
    text: str
    target: str
    answer: str
    probability: float | None
    loss: float


def confusion(predictions: Predictions) -> pd.DataFrame:
    """How many items of each true class (rows) were predicted as each class (columns).

    Only where each item has one class.
    """
    count = len(predictions.classes)
    cells = np.zeros((count, count), dtype=np.int64)
    np.add.at(cells, (predictions.targets, predictions.answers), 1)
    return pd.DataFrame(cells, index=predictions.classes, columns=predictions.classes)


def by_class(predictions: Predictions) -> pd.DataFrame:
    """Of each class the number of items, precision, recall and F1; 0 where it is never right.

    Of several labels an item, of each label.
    """
    if predictions.has_label_sets:
        right = (predictions.targets & predictions.answers).sum(axis=0)
        items, answers = predictions.targets.sum(axis=0), predictions.answers.sum(axis=0)
    else:
        cells = confusion(predictions).to_numpy()
        right, items, answers = cells.diagonal(), cells.sum(axis=1), cells.sum(axis=0)
    precision = right / np.maximum(answers, 1)
    recall = right / np.maximum(items, 1)
    f1 = 2 * right / np.maximum(items + answers, 1)
    columns = {"items": items, "precision": precision, "recall": recall, "f1": f1}
    name = "label" if predictions.has_label_sets else "class"
    return pd.DataFrame(columns, index=pd.Index(predictions.classes, name=name))


def worst(predictions: Predictions, count: int) -> list[Item]:
    """The items with the largest loss; of a classifier, of those that it gets wrong."""
    order = np.argsort(-predictions.losses, kind="stable")
    if predictions.classes:
        order = order[predictions.wrong[order]]
    return [_item(predictions, int(position)) for position in order[:count]]


def wrong_in_all(models: Sequence[Predictions]) -> list[Item]:
    """The items that every model gets wrong with the same answer, the surest first.

    Their labels are worth a look: good models agree on another class. Empty with fewer than two
    models, for regression, and where the models have other validation items.

    Args:
        models: the predictions of several models of one study, the best first.
    """
    if len(models) < 2 or not models[0].classes:
        return []
    first = models[0]
    if any(other.items != first.items or other.classes != first.classes for other in models):
        return []
    answers = np.array([each.answers for each in models])
    same = (answers == answers[0]).all(axis=0)
    agreed = first.wrong & (same.all(axis=1) if first.has_label_sets else same)
    sure = np.array([each.sureness for each in models]).mean(axis=0)
    positions = np.flatnonzero(agreed)
    ordered = positions[np.argsort(-sure[positions], kind="stable")]
    return [_item(first, int(position)) for position in ordered]


@dataclass(frozen=True)
class Calibration:
    """Whether probabilities mean what they say.

    Args:
        bins: a row for each range of the predicted class's probability: ``items``, their mean
            ``probability`` and ``accuracy``. Of several labels, every label of every item counts,
            and ``accuracy`` is the share that has it.
        probability: the mean of all probabilities.
        accuracy: the share of all that is right, or that has the label.
        error: the mean distance of the two, weighted by items: the expected calibration error.
    """

    bins: pd.DataFrame
    probability: float
    accuracy: float
    error: float


def calibration(predictions: Predictions) -> Calibration:
    """The calibration of a classifier, in `BINS` equal ranges of probability."""
    if predictions.has_label_sets:
        sure, right = predictions.outputs.ravel(), predictions.targets.ravel() == 1
    else:
        sure, right = predictions.outputs.max(axis=1), ~predictions.wrong
    numbers = np.minimum((sure * BINS).astype(int), BINS - 1)
    table = pd.DataFrame({"bin": numbers, "probability": sure, "right": right, "items": 1})
    bins = table.groupby("bin").agg(
        items=("items", "sum"), probability=("probability", "mean"), accuracy=("right", "mean")
    )
    distance = (bins["probability"] - bins["accuracy"]).abs()
    error = float((distance * bins["items"]).sum() / len(table))
    return Calibration(bins, float(sure.mean()), float(right.mean()), error)


@dataclass(frozen=True)
class McNemar:
    """McNemar's exact test of two classifiers on the same items.

    Args:
        items: how many validation items both have.
        only_first: items that only the first one gets right.
        only_second: items that only the second one gets right.
        p: the probability of so uneven a split, or a more uneven one, between equal classifiers.
    """

    items: int
    only_first: int
    only_second: int
    p: float


def mcnemar(first: Predictions, second: Predictions) -> McNemar | None:
    """The test on the items that both models predicted; None where there are none.

    Items are matched by their names. Source: McNemar 1947; the exact test is binomial.
    """
    if not (first.classes and second.classes):
        return None
    other = dict(zip(second.items, ~second.wrong, strict=True))
    pairs = Counter(
        (bool(right), bool(other[name]))
        for name, right in zip(first.items, ~first.wrong, strict=True)
        if name in other
    )
    if not pairs:
        return None
    only_first, only_second = pairs[True, False], pairs[False, True]
    uneven = only_first + only_second
    tail = sum(math.comb(uneven, k) for k in range(min(only_first, only_second) + 1))
    return McNemar(sum(pairs.values()), only_first, only_second, min(1.0, 2 * tail / 2**uneven))


def _item(predictions: Predictions, position: int) -> Item:
    one_class = bool(predictions.classes) and not predictions.has_label_sets
    return Item(
        predictions.items[position],
        predictions.texts[position] if predictions.texts else "",
        _text(predictions.named(predictions.targets[position])),
        _text(predictions.named(predictions.answers[position])),
        float(predictions.outputs[position].max()) if one_class else None,
        float(predictions.losses[position]),
    )


def _text(name: object) -> str:
    """A class, labels or a number, for people."""
    if isinstance(name, list):
        return ", ".join(name) or "none"
    return name if isinstance(name, str) else f"{name:.6g}"
