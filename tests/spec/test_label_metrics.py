"""Metrics of several labels an item: worked out by hand, as scikit-learn has them, baselines."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest
from sklearn import metrics as theirs

from hpo_job.spec.baselines import baseline, caution, left_out, undefined
from hpo_job.spec.label_baselines import constant_answer
from hpo_job.spec.metrics import MULTILABEL, Metric
from hpo_job.spec.scores import Predictions, Targets

TRUE = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 0], [0, 1, 1]])
SURE = np.array([[0.9, 0.6, 0.1], [0.4, 0.8, 0.2], [0.1, 0.2, 0.3], [0.2, 0.7, 0.6]])
BY_HAND = {  # predicted above 0.5: {0, 1}, {1}, {}, {1, 2}
    "f1_macro": (2 / 3 + 4 / 5 + 1) / 3,
    "f1_micro": 2 * 4 / (5 + 5),
    "f1_samples": (2 / 3 + 2 / 3 + 1 + 1) / 4,  # nothing was to be predicted, and nothing was
    "f1_weighted": (2 * 2 / 3 + 2 * 4 / 5 + 1) / 5,
    "average_precision": 1.0,
    "roc_auc": 1.0,
    "hamming_loss": 2 / 12,
    "accuracy": 2 / 4,
}
BASELINES = {
    "f1_macro": np.mean([2 / 3, 2 / 3, 2 / 5]),  # all labels, always
    "f1_micro": 2 * 4 / (5 + 8),  # the first two
    "f1_samples": (2 / 3 + 1 + 0 + 1 / 2) / 4,  # the first two
    "f1_weighted": (2 * 2 / 3 + 2 * 2 / 3 + 2 / 5) / 5,
    "hamming_loss": 5 / 12,  # none of them
    "average_precision": np.mean([2 / 4, 2 / 4, 1 / 4]),
    "roc_auc": 0.5,
    "accuracy": 1 / 4,
}
LABELS = ("map", "text", "seal")


def test_every_metric_is_worked_out_here() -> None:
    assert set(MULTILABEL) == set(BY_HAND) == set(BASELINES)


@pytest.mark.parametrize("name", sorted(MULTILABEL))
def test_metric(name: str) -> None:
    metric = MULTILABEL[name]
    assert (metric.name, metric.task) == (name, "multilabel")
    assert metric.score(TRUE, SURE) == pytest.approx(BY_HAND[name])


@pytest.mark.parametrize("name", sorted(MULTILABEL))
def test_metric_at_another_threshold(name: str) -> None:
    lower = pickle.loads(pickle.dumps(MULTILABEL[name].at(0.35)))
    ranks = name in ("average_precision", "roc_auc")
    better = {"accuracy": 0.75, "hamming_loss": 1 / 12}
    expected = BY_HAND[name] if ranks else better.get(name)
    score = lower.score(TRUE, SURE)
    assert score == pytest.approx(expected) if expected else score > BY_HAND[name]


def test_they_are_scikit_learns() -> None:
    rng = np.random.default_rng(3)
    true, sure = (rng.random((60, 5)) < 0.3).astype(int), rng.random((60, 5))
    predicted = (sure > 0.5).astype(int)
    for average in ("macro", "micro", "weighted"):
        expected = theirs.f1_score(true, predicted, average=average)
        assert MULTILABEL[f"f1_{average}"].score(true, sure) == pytest.approx(expected)
    expected = theirs.f1_score(true, predicted, average="samples", zero_division=1.0)
    assert MULTILABEL["f1_samples"].score(true, sure) == pytest.approx(expected)
    for name in ("average_precision", "roc_auc"):
        expected = getattr(theirs, f"{name}_score")(true, sure)
        assert MULTILABEL[name].score(true, sure) == pytest.approx(expected)


@pytest.mark.parametrize("name", sorted(MULTILABEL))
def test_a_label_that_no_item_has_is_left_out_without_a_warning(name: str) -> None:
    """Warnings are errors here."""
    true, sure = np.insert(TRUE, 1, 0, axis=1), np.insert(SURE, 1, 0.1, axis=1)
    score = MULTILABEL[name].score(true, sure)
    assert score == pytest.approx(2 / 16 if name == "hamming_loss" else BY_HAND[name])
    named = left_out(true, ("map", "wax", "text", "seal"))
    assert named is not None
    assert "no validation item has label 'wax'" in named


@pytest.mark.parametrize("name", sorted(MULTILABEL))
def test_a_model_that_diverged_scores_no_better_than_the_baseline(name: str) -> None:
    metric = MULTILABEL[name]
    score = metric.score(TRUE, np.full(TRUE.shape, np.nan))
    constant = baseline(metric, TRUE, TRUE)
    assert score <= constant if metric.direction == "maximize" else score >= constant


@pytest.mark.parametrize("name", sorted(BASELINES))
def test_baseline(name: str) -> None:
    assert baseline(MULTILABEL[name], TRUE, TRUE) == pytest.approx(BASELINES[name])


def test_a_metric_that_rare_labels_do_not_move_is_cautioned_against() -> None:
    rng = np.random.default_rng(1)
    rare = (rng.random((200, 3)) < 0.05).astype(int)
    line = caution(MULTILABEL["hamming_loss"], rare, rare, LABELS)
    assert line is not None
    assert line.startswith("hamming_loss says little about the rarer labels: always answering no")
    assert caution(MULTILABEL["f1_macro"], rare, rare, LABELS) is None


def counted(metric: Metric, rows: list[int]) -> Metric:
    """The metric, which notes of how many items each score is."""

    def score(targets: Targets, predictions: Predictions) -> float:
        rows.append(len(targets))
        return metric.score(targets, predictions)

    return replace(metric, score=score)


def test_the_constant_answer_of_many_items_is_chosen_on_some() -> None:
    rng = np.random.default_rng(1)
    # a rhythm: a step through the rows would see one label only
    many = np.tile(np.eye(10, dtype=int), (3000, 1)) * (rng.random((30000, 10)) < 0.9)
    many[:, :2] |= rng.random((30000, 2)) < 0.9
    rows: list[int] = []
    metric = counted(MULTILABEL["f1_micro"], rows)
    answer = constant_answer(metric, many)
    assert len(rows) == 11 and max(rows) <= 2000
    assert answer.tolist() == [1.0, 1.0, *[0.0] * 8]
    assert np.array_equal(answer, constant_answer(metric, many))


@pytest.mark.parametrize("name", ["f1_macro", "hamming_loss"])
def test_a_baseline_that_is_known_is_not_computed_again(name: str) -> None:
    rows: list[int] = []
    metric = counted(MULTILABEL[name], rows)
    assert caution(metric, TRUE, TRUE, LABELS, baseline(MULTILABEL[name], TRUE, TRUE)) is None
    assert rows == []


def test_without_any_label_nothing_can_be_scored() -> None:
    assert "none of the 4 validation items has a label" in str(undefined(TRUE * 0, LABELS))
    assert undefined(TRUE, LABELS) is None
