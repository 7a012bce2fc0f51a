"""Metrics, against values worked out by hand and scikit-learn's own; and the baseline."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn import metrics as theirs

from hpo_job.metrics import METRICS, baseline

# true:      0 0 0 0 0 0 1 1 1 2
# predicted: 0 0 0 0 1 2 1 1 0 2
TRUE = np.array([0, 0, 0, 0, 0, 0, 1, 1, 1, 2])
PREDICTED = np.array([0, 0, 0, 0, 1, 2, 1, 1, 0, 2])
F1 = (2 * 4 / (5 + 6), 2 * 2 / (3 + 3), 2 * 1 / (2 + 1))  # 2 TP / (predicted + true)
CHANCE = (5 * 6 + 3 * 3 + 2 * 1) / 100
BY_HAND = {
    "accuracy": 7 / 10,
    "balanced_accuracy": (4 / 6 + 2 / 3 + 1) / 3,
    "f1_weighted": (6 * F1[0] + 3 * F1[1] + 1 * F1[2]) / 10,
    "f1_macro": sum(F1) / 3,
    "cohen_kappa": (0.7 - CHANCE) / (1 - CHANCE),
    "error_rate": 3 / 10,
}


def probabilities(predicted: NDArray[np.int64], classes: int) -> NDArray[np.float64]:
    """Any probabilities whose largest is the predicted class."""
    drawn = np.random.default_rng(0).uniform(0.0, 0.3, (len(predicted), classes))
    drawn[np.arange(len(predicted)), predicted] += 0.5
    return np.asarray(drawn / drawn.sum(axis=1, keepdims=True))


def test_every_metric_is_worked_out_here() -> None:
    assert set(METRICS) == set(BY_HAND)


@pytest.mark.parametrize("name", sorted(BY_HAND))
def test_metric(name: str) -> None:
    assert METRICS[name].name == name
    score = METRICS[name].score(TRUE, probabilities(PREDICTED, 3))
    assert type(score) is float
    assert score == pytest.approx(BY_HAND[name])


def test_against_scikit_learn() -> None:
    rng = np.random.default_rng(1)
    true, predicted = rng.integers(0, 4, (2, 200))
    expected = {
        "accuracy": theirs.accuracy_score(true, predicted),
        "balanced_accuracy": theirs.balanced_accuracy_score(true, predicted),
        "f1_weighted": theirs.f1_score(true, predicted, average="weighted"),
        "f1_macro": theirs.f1_score(true, predicted, average="macro"),
        "cohen_kappa": theirs.cohen_kappa_score(true, predicted),
        "error_rate": 1 - theirs.accuracy_score(true, predicted),
    }
    found = {n: m.score(true, probabilities(predicted, 4)) for n, m in METRICS.items()}
    assert found == pytest.approx(expected)


@pytest.mark.parametrize("name", sorted(BY_HAND))
def test_direction_says_which_way_is_better(name: str) -> None:
    metric = METRICS[name]
    perfect = metric.score(TRUE, probabilities(TRUE, 3))
    worse = metric.score(TRUE, probabilities(PREDICTED, 3))
    assert perfect == pytest.approx(1.0 if metric.direction == "maximize" else 0.0)
    assert (perfect > worse) == (metric.direction == "maximize")


# 84% of one class, as in the reference study
TARGETS = np.array([0] * 84 + [1] * 16)
BASELINES = {
    "accuracy": 0.84,
    "balanced_accuracy": 0.5,
    "f1_weighted": 0.84 * (2 * 84 / (100 + 84)),
    "f1_macro": (2 * 84 / (100 + 84)) / 2,
    "cohen_kappa": 0.0,
    "error_rate": 0.16,
}


@pytest.mark.parametrize("name", sorted(BASELINES))
def test_baseline_on_unbalanced_data(name: str) -> None:
    assert baseline(METRICS[name], TARGETS, TARGETS) == pytest.approx(BASELINES[name])


def test_always_theft_scores_what_the_field_notes_say() -> None:
    assert baseline(METRICS["f1_weighted"], TARGETS, TARGETS) == pytest.approx(0.77, abs=0.005)


def test_baseline_answers_what_is_frequent_in_training_not_in_validation() -> None:
    train, valid = np.array([1, 1, 1, 0]), np.array([0, 0, 0, 1])
    assert baseline(METRICS["accuracy"], train, valid) == pytest.approx(0.25)


def test_baseline_of_a_class_that_only_one_part_has() -> None:
    assert baseline(METRICS["accuracy"], np.array([0, 0, 1]), np.array([0, 2])) == 0.5
    assert baseline(METRICS["accuracy"], np.array([2, 2, 1]), np.array([0, 2])) == 0.5
