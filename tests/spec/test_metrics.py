"""Metrics, against values worked out by hand and scikit-learn's own; baselines; cautions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from numpy.typing import NDArray
from sklearn import metrics as theirs

from hpo_job.data.tables import read_table
from hpo_job.spec.baselines import baseline, caution, left_out, undefined
from hpo_job.spec.metrics import METRICS, names
from hpo_job.spec.study_toml import Data
from tests import SHARED_DATA

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
# Of the probability itself: the second class of two, its probability beside each item
SECOND = np.array([0, 0, 1, 0, 1, 1])
SURE = np.array([0.1, 0.2, 0.3, 0.4, 0.6, 0.8])
OF_PROBABILITIES = {
    "roc_auc": 8 / 9,  # pairs of a first and a second in the right order
    "average_precision": (1 / 1 + 2 / 2 + 3 / 4) / 3,  # precision at each second, best first
    "log_loss": -np.log([0.9, 0.8, 0.3, 0.6, 0.6, 0.8]).mean(),
}
# Of numbers: 3, 1, 5 and 7 for 1, 2, 5 and 4
OF_NUMBERS = {"rmse": np.sqrt((4 + 1 + 0 + 9) / 4), "mae": 6 / 4, "r2": 1 - 14 / 10}


def probabilities(predicted: NDArray[np.int64], classes: int) -> NDArray[np.float64]:
    """Any probabilities whose largest is the predicted class."""
    drawn = np.random.default_rng(0).uniform(0.0, 0.3, (len(predicted), classes))
    drawn[np.arange(len(predicted)), predicted] += 0.5
    return np.asarray(drawn / drawn.sum(axis=1, keepdims=True))


def test_every_metric_is_worked_out_here() -> None:
    assert set(METRICS) == set(BY_HAND) | set(OF_PROBABILITIES) | set(OF_NUMBERS)
    assert set(names("regression")) == set(OF_NUMBERS) == set(BASELINES_OF_NUMBERS)
    assert set(names("classification")) == set(BASELINES)


@pytest.mark.parametrize("name", sorted(BY_HAND))
def test_metric(name: str) -> None:
    assert METRICS[name].name == name
    score = METRICS[name].score(TRUE, probabilities(PREDICTED, 3))
    assert type(score) is float
    assert score == pytest.approx(BY_HAND[name])


def two(second: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.stack([1 - second, second], axis=1)


@pytest.mark.parametrize("name", sorted(OF_PROBABILITIES))
def test_metric_of_probabilities(name: str) -> None:
    score = METRICS[name].score(SECOND, two(SURE))
    assert type(score) is float
    assert score == pytest.approx(OF_PROBABILITIES[name])


@pytest.mark.parametrize("shape", [(4,), (4, 1)])
@pytest.mark.parametrize("name", sorted(OF_NUMBERS))
def test_metric_of_numbers(name: str, shape: tuple[int, ...]) -> None:
    predicted = np.array([3.0, 1.0, 5.0, 7.0]).reshape(shape)
    score = METRICS[name].score(np.array([1.0, 2.0, 5.0, 4.0]), predicted)
    assert type(score) is float
    assert score == pytest.approx(OF_NUMBERS[name])


def test_of_more_classes_each_is_scored_against_the_rest() -> None:
    rng = np.random.default_rng(2)
    true, drawn = rng.integers(0, 4, 200), rng.uniform(0, 1, (200, 4))
    drawn[np.arange(200), true] += 0.3
    drawn /= drawn.sum(axis=1, keepdims=True)
    one_hot = np.eye(4)[true]
    assert METRICS["roc_auc"].score(true, drawn) == pytest.approx(
        theirs.roc_auc_score(true, drawn, multi_class="ovr", average="macro")
    )
    assert METRICS["average_precision"].score(true, drawn) == pytest.approx(
        theirs.average_precision_score(one_hot, drawn, average="macro")
    )
    assert METRICS["log_loss"].score(true, drawn) == pytest.approx(theirs.log_loss(true, drawn))


def test_single_precision_is_no_reason_to_warn() -> None:
    """Warnings are errors here: the rows of what a network says do not sum to one exactly."""
    rng = np.random.default_rng(2)
    drawn = rng.dirichlet(np.ones(3), 50).astype(np.float32).astype(np.float64)
    for name in names("classification"):
        assert np.isfinite(METRICS[name].score(rng.integers(0, 3, 50), drawn))


@pytest.mark.parametrize("name", names("classification"))
def test_classes_that_no_target_has(name: str) -> None:
    """Of four classes, only two are in the validation set; the others are answered as well."""
    true = np.array([1, 1, 1, 3, 3])
    perfect = METRICS[name].score(true, np.eye(4)[true] * 0.9 + 0.025)
    best = 1.0 if METRICS[name].direction == "maximize" else 0.0
    assert perfect == pytest.approx(best, abs=0.1)
    other = METRICS[name].score(true, np.eye(4)[[0, 1, 1, 3, 2]] * 0.9 + 0.025)
    assert abs(other - best) > abs(perfect - best)


@pytest.mark.parametrize("name", sorted(METRICS))
def test_a_model_that_diverged_scores_badly(name: str) -> None:
    """Its answers are no numbers: the trial is to end with a bad value, not with an error."""
    metric = METRICS[name]
    if metric.task == "regression":
        worst = np.inf if metric.direction == "minimize" else -np.inf
        assert metric.score(np.array([1.0, 2.0]), np.full(2, np.nan)) == worst
    else:
        answers = np.full((100, 2), np.nan)
        score = metric.score(TARGETS, answers)
        assert np.isfinite(score)
        better = score > baseline(metric, TARGETS, TARGETS)
        assert not (better if metric.direction == "maximize" else score < 0.1)


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
    scores = {n: METRICS[n].score(true, probabilities(predicted, 4)) for n in expected}
    assert scores == pytest.approx(expected)


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
    "roc_auc": 0.5,
    "average_precision": 0.16,  # the share of the second class
    "log_loss": -(0.84 * np.log(0.84) + 0.16 * np.log(0.16)),
}
# The mean (4) and the median (2) of 1, 2 and 9, for 0 and 4
BASELINES_OF_NUMBERS = {
    "rmse": 4 / np.sqrt(2),
    "mae": 2.0,
    "r2": 1 - 16 / 8,
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


@pytest.mark.parametrize("name", sorted(BASELINES_OF_NUMBERS))
def test_baseline_of_numbers(name: str) -> None:
    """The mean is the best constant for rmse, and the median for mae; both of training."""
    train, valid = np.array([1.0, 2.0, 9.0]), np.array([0.0, 4.0])
    assert baseline(METRICS[name], train, valid) == pytest.approx(BASELINES_OF_NUMBERS[name])


def test_baseline_of_log_loss_is_of_the_shares_in_training() -> None:
    train, valid = np.array([0, 0, 0, 1]), np.array([0, 1])
    expected = -(np.log(0.75) + np.log(0.25)) / 2
    assert baseline(METRICS["log_loss"], train, valid) == pytest.approx(expected)


# Where the metric barely moves


BALANCED = np.array([0] * 50 + [1] * 50)
CLASSES = ("theft", "other")
# Metrics that always answering the frequent class brings within 0.25 of their best
LITTLE = {"accuracy", "error_rate", "f1_weighted"}


@pytest.mark.parametrize("name", sorted(METRICS))
def test_caution_where_one_class_is_84_percent(name: str) -> None:
    warning = caution(METRICS[name], TARGETS, TARGETS, CLASSES)
    assert (warning is not None) == (name in LITTLE)


def test_caution_names_what_would_do() -> None:
    assert caution(METRICS["f1_weighted"], TARGETS, TARGETS, CLASSES) == (
        "f1_weighted says little about the rarer classes: always answering 'theft' (84%) scores "
        "0.77, a perfect answer 1; with f1_macro it is 0.46 and 1"
    )
    errors = caution(METRICS["error_rate"], TARGETS, TARGETS, CLASSES)
    assert errors and "scores 0.16, a perfect answer 0;" in errors


@pytest.mark.parametrize("name", sorted(METRICS))
def test_no_caution_on_balanced_data(name: str) -> None:
    assert caution(METRICS[name], BALANCED, BALANCED, CLASSES) is None


def test_average_precision_of_the_frequent_class_barely_moves() -> None:
    """Of two classes it is that of the second; here that one is the frequent one."""
    assert caution(METRICS["average_precision"], 1 - TARGETS, 1 - TARGETS, CLASSES)


OLD_BAILEY = SHARED_DATA / "old-bailey" / "1730s.csv.gz"


@pytest.mark.needs("old-bailey")
def test_caution_on_the_old_baileys_1730s() -> None:
    data = read_table(OLD_BAILEY, Data(path="-", label="broad", valid_pct=0.3, text="text"), 42)
    train, valid = data.targets[data.train], data.targets[data.valid]
    warning = caution(METRICS["f1_weighted"], train, valid, data.classes)
    assert warning and "always answering 'theft' (84%) scores 0.77, a perfect answer 1" in warning
    for name in ("f1_macro", "balanced_accuracy", "cohen_kappa", "roc_auc"):
        assert caution(METRICS[name], train, valid, data.classes) is None


def test_a_validation_set_of_one_class_is_no_measure() -> None:
    assert undefined(np.array([1, 1]), CLASSES) == (
        "all 2 validation items are of class 'other', so no metric can be computed; set a larger "
        "valid_pct, or add items of the other classes"
    )
    assert undefined(np.array([1, 0]), CLASSES) is None
    assert undefined(np.array([1.0, 1.0]), ()) is None


def test_classes_that_no_trial_is_scored_on_are_named() -> None:
    assert left_out(np.array([0, 1]), CLASSES) is None
    warning = left_out(np.array([0, 2]), ("a", "b", "c", "d"))
    assert warning and "no validation item is of class 'b', 'd'" in warning


def test_check_and_create_warn_of_it(
    image_job: Callable[..., Path],
    images: Callable[..., Path],
    cli: Callable[..., Result],
    caplog: pytest.LogCaptureFixture,
) -> None:
    folder = images({"theft": 84, "other": 16}, "trials")
    job = image_job(metric="f1_weighted", data={"path": str(folder), "valid_pct": 0.25})
    lines = cli("check", job).stdout.splitlines()
    assert all(len(line) <= 80 for line in lines if "caution" in line)
    printed = " ".join(" ".join(lines).split())
    assert "caution f1_weighted says little about the rarer classes: " in printed
    assert "always answering 'theft' (84%) scores 0.77, a perfect answer 1" in printed
    assert cli("create", job).exit_code == 0
    assert "says little about the rarer classes" in caplog.text
    assert "rarer classes" not in cli("check", image_job(metric="f1_macro")).stdout


def test_a_metric_of_numbers_for_classes(
    image_job: Callable[..., Path], refused: Callable[..., str]
) -> None:
    line = refused("check", image_job(metric="rmse", direction="minimize"))
    assert "metric: rmse is for regression; classification has accuracy, " in line
