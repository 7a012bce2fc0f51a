"""The metrics a study can be scored by, and what always answering one class would score."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Direction = Literal["maximize", "minimize"]
Task = Literal["classification", "regression"]
Targets = NDArray[np.int64] | NDArray[np.float64]
Probabilities = NDArray[np.float64]


@dataclass(frozen=True)
class Metric:
    """A score of predictions: its name, which way is better, and how it is computed.

    ``score`` takes the true classes, shape (items,), and the predicted probabilities,
    shape (items, classes).
    """

    name: str
    direction: Direction
    score: Callable[[Targets, Probabilities], float]


def _of_classes(name: str, **options: object) -> Callable[[Targets, Probabilities], float]:
    """A scikit-learn metric of (true classes, predicted classes)."""

    def score(targets: Targets, probabilities: Probabilities) -> float:
        from sklearn import metrics  # costs half a second, and only scoring needs it

        return float(getattr(metrics, name)(targets, probabilities.argmax(axis=1), **options))

    return score


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("accuracy", "maximize", _of_classes("accuracy_score")),
        Metric("balanced_accuracy", "maximize", _of_classes("balanced_accuracy_score")),
        Metric("f1_weighted", "maximize", _of_classes("f1_score", average="weighted")),
        Metric("f1_macro", "maximize", _of_classes("f1_score", average="macro")),
        Metric("cohen_kappa", "maximize", _of_classes("cohen_kappa_score")),
        Metric("error_rate", "minimize", _of_classes("zero_one_loss")),
    )
}


def baseline(metric: Metric, train: Targets, valid: Targets) -> float:
    """The metric of always answering the class that is most frequent in ``train``.

    Scored on ``valid``, as every trial is: a study whose best value is no better has learnt
    nothing, however good the number looks on unbalanced data.
    """
    classes = int(max(train.max(), valid.max())) + 1
    answer = np.bincount(train.astype(np.int64), minlength=classes).argmax()
    probabilities = np.zeros((len(valid), classes))
    probabilities[:, answer] = 1.0
    return metric.score(valid, probabilities)
