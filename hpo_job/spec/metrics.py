"""The metrics that a study can be scored by, and what their baselines are scores of."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

from hpo_job.spec import scores
from hpo_job.spec.scores import Score
from hpo_job.trial.phases import Direction

Task = Literal["classification", "multilabel", "regression"]
Answer = Literal["class", "shares", "labels", "label_shares", "mean", "median"]
# The answer, always the same, that a metric's baseline is the score of
ANSWERS: dict[Answer, str] = {
    "class": "always answering the most frequent class",
    "shares": "always answering with the classes' shares in training",
    "labels": "always answering the labels that score best in training",
    "label_shares": "always answering with the labels' shares in training",
    "mean": "always answering the mean of training",
    "median": "always answering the median of training",
}


@dataclass(frozen=True)
class Metric:
    """A score of predictions.

    Attributes:
        name: as study.toml names it.
        direction: which way is better.
        score: computes it. For classification from the true classes, shape (items,), and the
            predicted probabilities, shape (items, classes), of which some may have no item; for
            several labels an item from 0 and 1, shape (items, labels), and the probabilities,
            (items, labels); for regression from the true numbers, (items,), and the predicted
            ones, (items,) or (items, 1).
        task: what it is for.
        answer: the key of `ANSWERS` whose score is the baseline.
        has_threshold: whether it counts the labels whose probability is above a threshold.
    """

    name: str
    direction: Direction
    score: Score
    task: Task = "classification"
    answer: Answer = "class"
    has_threshold: bool = False

    @property
    def bounded(self) -> bool:
        """Whether the score lies between 0 and 1 for any answer no worse than chance."""
        return self.answer in ("class", "labels", "label_shares")

    def at(self, threshold: float) -> Metric:
        """The metric with labels predicted above ``threshold``; itself if it has none."""
        if not self.has_threshold:
            return self
        return replace(self, score=partial(self.score, threshold=threshold))


def _of_classes(name: str, direction: Direction, function: str, **options: Any) -> Metric:
    return Metric(name, direction, partial(scores.of_classes, name=function, **options))


def _of_each_class(name: str) -> Metric:
    return Metric(name, "maximize", partial(scores.of_each_class, name=f"{name}_score"))


def _of_labels(name: str, direction: Direction, function: str, **options: Any) -> Metric:
    score = partial(scores.of_labels, name=function, **options)
    return Metric(name, direction, score, "multilabel", "labels", has_threshold=True)


def _of_each_label(name: str) -> Metric:
    score = partial(scores.of_each_label, name=f"{name}_score")
    return Metric(name, "maximize", score, "multilabel", "label_shares")


def _by_name(*metrics: Metric) -> dict[str, Metric]:
    return {metric.name: metric for metric in metrics}


# A study's metrics are sent to its workers, so scores are functions that can be pickled
METRICS = _by_name(
    _of_classes("accuracy", "maximize", "accuracy_score"),
    Metric("balanced_accuracy", "maximize", scores.balanced_accuracy),
    _of_classes("f1_weighted", "maximize", "f1_score", average="weighted"),
    _of_classes("f1_macro", "maximize", "f1_score", average="macro"),
    _of_classes("cohen_kappa", "maximize", "cohen_kappa_score"),
    _of_each_class("roc_auc"),
    _of_each_class("average_precision"),
    Metric("log_loss", "minimize", scores.log_loss, answer="shares"),
    _of_classes("error_rate", "minimize", "zero_one_loss"),
    Metric("rmse", "minimize", scores.rmse, "regression", "mean"),
    Metric("mae", "minimize", scores.mae, "regression", "median"),
    Metric("r2", "maximize", scores.r2, "regression", "mean"),
)
# Of several labels an item; some have the name of a metric of classes, and another meaning
MULTILABEL = _by_name(
    _of_labels("f1_macro", "maximize", "f1_score", average="macro"),
    _of_labels("f1_micro", "maximize", "f1_score", average="micro"),
    _of_labels("f1_samples", "maximize", "f1_score", average="samples"),
    _of_labels("f1_weighted", "maximize", "f1_score", average="weighted"),
    _of_each_label("average_precision"),
    _of_each_label("roc_auc"),
    _of_labels("hamming_loss", "minimize", "hamming_loss"),
    _of_labels("accuracy", "maximize", "accuracy_score"),
)
NAMES = frozenset((*METRICS, *MULTILABEL))


def of_task(task: Task) -> dict[str, Metric]:
    """The metrics that a task can be scored by, by their names."""
    if task == "multilabel":
        return MULTILABEL
    return {name: metric for name, metric in METRICS.items() if metric.task == task}


def names(task: Task) -> list[str]:
    """The names of the metrics that a task can be scored by."""
    return list(of_task(task))
