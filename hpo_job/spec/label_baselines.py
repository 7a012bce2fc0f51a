"""Baselines and cautions for items that have several labels each, or none."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hpo_job.spec.metrics import Metric
from hpo_job.spec.scores import Predictions, Targets

NAMED = 5  # labels that a line lists
ROWS = 2000  # that candidates for the constant answer are scored on, at most


def constant_answer(metric: Metric, train: Targets) -> Predictions:
    """The answer, always the same, that scores best on ``train``: a probability for each label.

    It is one of: no label, the most frequent one, the two most frequent ones, and so on. For a
    metric of rankings it is the labels' shares. Of many items it is the one that scores best on
    `ROWS` of them, always the same: there is an answer to score for each label, in every worker.

    Args:
        metric: for several labels an item.
        train: shape (items, labels).
    """
    shares = train.mean(axis=0)
    if metric.answer == "label_shares":
        return np.asarray(shares)
    order = np.argsort(-shares, kind="stable")
    answers = [
        np.isin(np.arange(len(shares)), order[:n]).astype(float) for n in range(len(order) + 1)
    ]
    some = _some_of(train)
    scores = [metric.score(some, np.tile(answer, (len(some), 1))) for answer in answers]
    best = int(np.argmax(scores) if metric.direction == "maximize" else np.argmin(scores))
    return answers[best]


def _some_of(train: Targets) -> Targets:
    """At most `ROWS` rows. They are drawn, since labels may come in a rhythm that a step hits."""
    if len(train) <= ROWS:
        return train
    drawn = np.random.default_rng(0).choice(len(train), ROWS, replace=False)
    return train[np.sort(drawn)]


def baseline(metric: Metric, train: Targets, valid: Targets) -> float:
    """The score of `constant_answer` on the items of ``valid``."""
    return metric.score(valid, np.tile(constant_answer(metric, train), (len(valid), 1)))


def caution(
    metric: Metric, train: Targets, labels: Sequence[str], constant: float, other: float
) -> str:
    """A warning that a perfect score is hardly better than the baseline's.

    Args:
        metric: what trials are scored by.
        train: shape (items, labels).
        labels: their names.
        constant: the metric's baseline.
        other: the baseline of f1_macro.
    """
    answer = np.flatnonzero(constant_answer(metric, train) > 0.5)
    named = ", ".join(repr(labels[n]) for n in answer[:NAMED]) or "no label"
    best = 1 if metric.direction == "maximize" else 0
    return (
        f"{metric.name} says little about the rarer labels: always answering {named} scores "
        f"{constant:.2f}, a perfect answer {best}; with f1_macro it is "
        f"{other:.2f} and 1"
    )


def undefined(valid: Targets, labels: Sequence[str]) -> str | None:
    """An error if no validation item has a label; None if one has."""
    if valid.any():
        return None
    return (
        f"none of the {len(valid)} validation items has a label, so no metric can be computed; "
        "set a larger valid_pct, or add items with labels"
    )


def without_items(valid: Targets) -> NDArray[np.int64]:
    """The numbers of the labels that no validation item has."""
    return np.flatnonzero(~valid.any(axis=0))
