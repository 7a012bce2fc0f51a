"""The metrics that a study can be scored by, and what always giving the same answer scores."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hpo_job.trial.phases import Direction

Task = Literal["classification", "regression"]
Targets = NDArray[np.int64] | NDArray[np.float64]
Predictions = NDArray[np.float64]
Probabilities = Predictions  # of classes
Score = Callable[[Targets, Predictions], float]
# The answer, always the same, that a metric's baseline is the score of
ANSWERS = {
    "class": "always answering the most frequent class",
    "shares": "always answering with the classes' shares in training",
    "mean": "always answering the mean of training",
    "median": "always answering the median of training",
}
LITTLE_HEADROOM = 0.25  # below it, a metric says little about the rarer classes


@dataclass(frozen=True)
class Metric:
    """A score of predictions.

    Attributes:
        name: as study.toml names it.
        direction: which way is better.
        score: computes it. For classification from the true classes, shape (items,), and the
            predicted probabilities, shape (items, classes), of which some may have no item; for
            regression from the true numbers, (items,), and the predicted ones, (items,) or
            (items, 1).
        task: what it is for.
        answer: the key of `ANSWERS` whose score is the baseline.
    """

    name: str
    direction: Direction
    score: Score
    task: Task = "classification"
    answer: Literal["class", "shares", "mean", "median"] = "class"

    @property
    def bounded(self) -> bool:
        """Whether the score lies between 0 and 1 for any answer no worse than chance."""
        return self.answer == "class"


def _of_classes(
    targets: Targets, probabilities: Probabilities, *, name: str, **options: object
) -> float:
    """A scikit-learn metric of (true classes, predicted classes)."""
    from sklearn import metrics  # costs half a second, and only scoring needs it

    return float(getattr(metrics, name)(targets, probabilities.argmax(axis=1), **options))


def _balanced_accuracy(targets: Targets, probabilities: Probabilities) -> float:
    """The mean recall of the classes that items have.

    scikit-learn's own function warns if other classes were predicted.
    """
    from sklearn.metrics import recall_score

    return float(
        recall_score(
            targets, probabilities.argmax(axis=1), labels=np.unique(targets), average="macro"
        )
    )


def _of_each_class(targets: Targets, probabilities: Probabilities, *, name: str) -> float:
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


def _log_loss(targets: Targets, probabilities: Probabilities) -> float:
    """Like scikit-learn's, which warns of single precision; at most 36 for an item."""
    of_true_class = probabilities[np.arange(len(targets)), targets.astype(np.int64)]
    clipped = np.clip(np.nan_to_num(of_true_class), np.finfo(np.float64).eps, 1)
    return float(-np.log(clipped).mean())


def _rmse(targets: Targets, predictions: Predictions) -> float:
    """The root of the mean squared error; infinite if a prediction is not finite."""
    error = float(np.square(targets - predictions.reshape(len(targets))).mean())
    return math.sqrt(error) if math.isfinite(error) else math.inf


def _mae(targets: Targets, predictions: Predictions) -> float:
    """The mean absolute error; infinite if a prediction is not finite."""
    error = float(np.abs(targets - predictions.reshape(len(targets))).mean())
    return error if math.isfinite(error) else math.inf


def _f1(average: str) -> Score:
    return partial(_of_classes, name="f1_score", average=average)


# A study's metrics are sent to its workers, so scores are functions that can be pickled
_average_precision = partial(_of_each_class, name="average_precision_score")
METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("accuracy", "maximize", partial(_of_classes, name="accuracy_score")),
        Metric("balanced_accuracy", "maximize", _balanced_accuracy),
        Metric(
            "f1_weighted", "maximize", partial(_of_classes, name="f1_score", average="weighted")
        ),
        Metric("f1_macro", "maximize", partial(_of_classes, name="f1_score", average="macro")),
        Metric("cohen_kappa", "maximize", partial(_of_classes, name="cohen_kappa_score")),
        Metric("roc_auc", "maximize", partial(_of_each_class, name="roc_auc_score")),
        Metric("average_precision", "maximize", _average_precision),
        Metric("log_loss", "minimize", _log_loss, answer="shares"),
        Metric("error_rate", "minimize", partial(_of_classes, name="zero_one_loss")),
        Metric("rmse", "minimize", _rmse, task="regression", answer="mean"),
        Metric("mae", "minimize", _mae, task="regression", answer="median"),
    )
}


def names(task: Task) -> list[str]:
    """The metrics that a task can be scored by."""
    return [metric.name for metric in METRICS.values() if metric.task == task]


def baseline(metric: Metric, train: Targets, valid: Targets) -> float:
    """The score of always giving the same answer: see `ANSWERS`.

    The answer is determined from ``train`` and scored on ``valid``, as every trial is. A study
    whose best value is no better has learnt nothing, however good the number looks on unbalanced
    data.
    """
    if metric.task == "regression":
        answer = np.mean(train) if metric.answer == "mean" else np.median(train)
        return metric.score(valid, np.full(len(valid), float(answer)))
    counts = np.bincount(train.astype(np.int64), minlength=int(max(train.max(), valid.max())) + 1)
    if metric.answer == "shares":
        row = counts / counts.sum()
    else:
        row = np.eye(len(counts))[counts.argmax()]
    return metric.score(valid, np.tile(row, (len(valid), 1)))


def headroom(metric: Metric, train: Targets, valid: Targets) -> float:
    """Distance between a perfect score and the majority-class baseline."""
    return abs((metric.direction == "maximize") - baseline(metric, train, valid))


def caution(metric: Metric, train: Targets, valid: Targets, classes: Sequence[str]) -> str | None:
    """A warning if the headroom is less than `LITTLE_HEADROOM`; None if it is more.

    Then even a perfect score is hardly better than that of always answering the most frequent
    class.
    """
    if metric.task == "regression" or not metric.bounded:
        return None
    distance = headroom(metric, train, valid)
    if distance >= LITTLE_HEADROOM:
        return None
    best = 1 if metric.direction == "maximize" else 0
    majority = int(np.bincount(train.astype(np.int64)).argmax())
    share = float((valid == majority).mean())
    other = baseline(METRICS["f1_macro"], train, valid)
    return (
        f"{metric.name} says little about the rarer classes: always answering "
        f"{classes[majority]!r} ({share:.0%}) scores {abs(best - distance):.2f}, a perfect answer "
        f"{best}; with f1_macro it is {other:.2f} and 1"
    )


def undefined(valid: Targets, classes: Sequence[str]) -> str | None:
    """An error if all validation items are of one class; None if not."""
    present = np.unique(valid).astype(np.int64)
    if not classes or len(present) > 1:
        return None
    return (
        f"all {len(valid)} validation items are of class {classes[present[0]]!r}, so no metric can "
        "be computed; set a larger valid_pct, or add items of the other classes"
    )


def left_out(valid: Targets, classes: Sequence[str]) -> str | None:
    """A warning if classes have no validation item, so that no trial is scored on them."""
    lacking = [name for number, name in enumerate(classes) if not (valid == number).any()]
    if not lacking:
        return None
    named = ", ".join(repr(name) for name in lacking[:5]) + (", ..." if len(lacking) > 5 else "")
    return (
        f"no validation item is of class {named}, so no trial is scored on it; set a larger "
        "valid_pct, or add items of it"
    )
