"""Scores of predictions as plain functions: of classes, of several labels an item, of numbers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Targets = NDArray[np.int64] | NDArray[np.float64]
Predictions = NDArray[np.float64]
Probabilities = Predictions  # of classes
Score = Callable[..., float]  # of (targets, predictions); some take a threshold


def of_classes(
    targets: Targets, probabilities: Probabilities, *, name: str, **options: object
) -> float:
    """A scikit-learn metric of (true classes, predicted classes)."""
    from sklearn import metrics  # costs half a second, and only scoring needs it

    return float(getattr(metrics, name)(targets, probabilities.argmax(axis=1), **options))


def balanced_accuracy(targets: Targets, probabilities: Probabilities) -> float:
    """The mean recall of the classes that items have.

    scikit-learn's own function warns if other classes were predicted.
    """
    from sklearn.metrics import recall_score

    return float(
        recall_score(
            targets, probabilities.argmax(axis=1), labels=np.unique(targets), average="macro"
        )
    )


def of_each_class(targets: Targets, probabilities: Probabilities, *, name: str) -> float:
    """A scikit-learn metric of (whether an item is of a class, the predicted probability of it).

    With two classes it is computed for the second one; with more, for each class against the
    rest, and averaged over the classes that items have. A probability that is NaN is taken for 0.
    """
    from sklearn import metrics

    probabilities = np.nan_to_num(probabilities)
    present = np.unique(targets).astype(np.int64)
    if len(present) < 2:
        return math.nan
    classes = [1] if probabilities.shape[1] == 2 else present.tolist()
    of_one = getattr(metrics, name)
    return float(np.mean([of_one(targets == c, probabilities[:, c]) for c in classes]))


def log_loss(targets: Targets, probabilities: Probabilities) -> float:
    """Like scikit-learn's, which warns of single precision; at most 36 for an item."""
    of_true_class = probabilities[np.arange(len(targets)), targets.astype(np.int64)]
    clipped = np.clip(np.nan_to_num(of_true_class), np.finfo(np.float64).eps, 1)
    return float(-np.log(clipped).mean())


def of_labels(
    targets: Targets,
    probabilities: Probabilities,
    *,
    name: str,
    threshold: float = 0.5,
    **options: Any,
) -> float:
    """A scikit-learn metric of (the labels of each item, those predicted above ``threshold``).

    A mean over the labels (macro, weighted) leaves out labels that no item has. An item without
    labels for which none is predicted is right, so its F1 is 1 in the mean over the items.

    Args:
        targets: 1 where an item has a label, else 0; shape (items, labels).
        probabilities: of each label; shape (items, labels). NaN is below every threshold.
        name: of scikit-learn's function.
        threshold: labels above it are predicted.
        options: of scikit-learn's function.
    """
    from sklearn import metrics

    predicted = probabilities > threshold
    if options.get("average") in ("macro", "weighted"):
        present = targets.any(axis=0)
        targets, predicted = targets[:, present], predicted[:, present]
    if options.get("average") == "samples":
        options["zero_division"] = 1.0
    elif "average" in options:
        options["zero_division"] = 0.0
    return float(getattr(metrics, name)(targets, predicted.astype(np.int64), **options))


def of_each_label(targets: Targets, probabilities: Probabilities, *, name: str) -> float:
    """A scikit-learn metric of (whether an item has a label, its probability), averaged.

    The mean is over the labels that some items have and some have not. NaN is taken for 0.
    """
    from sklearn import metrics

    probabilities = np.nan_to_num(probabilities)
    share = targets.mean(axis=0)
    known = np.flatnonzero((share > 0) & (share < 1))
    if not len(known):
        return math.nan
    of_one = getattr(metrics, name)
    return float(np.mean([of_one(targets[:, n], probabilities[:, n]) for n in known]))


def rmse(targets: Targets, predictions: Predictions) -> float:
    """The root of the mean squared error; infinite if a prediction is not finite."""
    error = float(np.square(targets - predictions.reshape(len(targets))).mean())
    return math.sqrt(error) if math.isfinite(error) else math.inf


def mae(targets: Targets, predictions: Predictions) -> float:
    """The mean absolute error; infinite if a prediction is not finite."""
    error = float(np.abs(targets - predictions.reshape(len(targets))).mean())
    return error if math.isfinite(error) else math.inf


def r2(targets: Targets, predictions: Predictions) -> float:
    """The share of the targets' variance that is explained; minus infinity if not finite.

    As scikit-learn has it for targets that are all the same: 1 if all are right, otherwise 0.
    """
    error = float(np.square(targets - predictions.reshape(len(targets))).sum())
    if not math.isfinite(error):
        return -math.inf
    spread = float(np.square(targets - targets.mean()).sum())
    return 1 - error / spread if spread else float(error == 0)
