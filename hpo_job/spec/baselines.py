"""What always giving the same answer scores, and warnings where perfection is hardly better."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hpo_job.spec import label_baselines
from hpo_job.spec.metrics import Metric, of_task
from hpo_job.spec.scores import Targets

LITTLE_HEADROOM = 0.25  # below it, a metric says little about the rarer classes


def baseline(metric: Metric, train: Targets, valid: Targets) -> float:
    """The score of always giving the same answer: see `metrics.ANSWERS`.

    The answer is determined from ``train`` and scored on ``valid``, as every trial is. A study
    whose best value is no better has learnt nothing, however good the number looks on unbalanced
    data.
    """
    if metric.task == "multilabel":
        return label_baselines.baseline(metric, train, valid)
    if metric.task == "regression":
        answer = np.median(train) if metric.answer == "median" else np.mean(train)
        return metric.score(valid, np.full(len(valid), float(answer)))
    counts = np.bincount(train.astype(np.int64), minlength=int(max(train.max(), valid.max())) + 1)
    if metric.answer == "shares":
        row = counts / counts.sum()
    else:
        row = np.eye(len(counts))[counts.argmax()]
    return metric.score(valid, np.tile(row, (len(valid), 1)))


def caution(
    metric: Metric,
    train: Targets,
    valid: Targets,
    classes: Sequence[str],
    constant: float | None = None,
) -> str | None:
    """A warning if the headroom is less than `LITTLE_HEADROOM`; None if it is more.

    Then even a perfect score is hardly better than that of always answering the most frequent
    class.

    Args:
        metric: what trials are scored by.
        train: the targets that models learn from.
        valid: those that they are scored on.
        classes: the names of the classes or labels.
        constant: the metric's `baseline`, where it has been computed already.
    """
    if metric.task == "regression" or not metric.bounded:
        return None
    if constant is None:
        constant = baseline(metric, train, valid)
    distance = abs((metric.direction == "maximize") - constant)
    if distance >= LITTLE_HEADROOM:
        return None
    other = baseline(of_task(metric.task)["f1_macro"], train, valid)
    if metric.task == "multilabel":
        return label_baselines.caution(metric, train, classes, constant, other)
    best = 1 if metric.direction == "maximize" else 0
    majority = int(np.bincount(train.astype(np.int64)).argmax())
    share = float((valid == majority).mean())
    return (
        f"{metric.name} says little about the rarer classes: always answering "
        f"{classes[majority]!r} ({share:.0%}) scores {abs(best - distance):.2f}, a perfect answer "
        f"{best}; with f1_macro it is {other:.2f} and 1"
    )


def undefined(valid: Targets, classes: Sequence[str]) -> str | None:
    """An error if all validation items are of one class, or have no label; None if not."""
    if valid.ndim == 2:
        return label_baselines.undefined(valid, classes)
    present = np.unique(valid).astype(np.int64)
    if not classes or len(present) > 1:
        return None
    return (
        f"all {len(valid)} validation items are of class {classes[present[0]]!r}, so no metric can "
        "be computed; set a larger valid_pct, or add items of the other classes"
    )


def left_out(valid: Targets, classes: Sequence[str]) -> str | None:
    """A warning if classes have no validation item, so that no trial is scored on them."""
    if valid.ndim == 2:
        lacking, verb = [classes[n] for n in label_baselines.without_items(valid)], "has label"
    else:
        lacking = [name for number, name in enumerate(classes) if not (valid == number).any()]
        verb = "is of class"
    if not lacking:
        return None
    named = ", ".join(repr(name) for name in lacking[:5]) + (", ..." if len(lacking) > 5 else "")
    return (
        f"no validation item {verb} {named}, so no trial is scored on it; set a larger "
        "valid_pct, or add items of it"
    )
