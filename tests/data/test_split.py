"""How rows are held out: reproducibly, in the classes' proportions, a group never in two parts."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from hpo_job.data.split import sample, split
from hpo_job.errors import DataError

LABELS = ["a"] * 80 + ["b"] * 40 + ["c"] * 20
# 35 groups of 4 rows, each of one class, as the pages of a book are
GROUPS = [f"g{row // 4}" for row in range(len(LABELS))]


@pytest.mark.parametrize("groups", [None, GROUPS], ids=["plain", "grouped"])
@pytest.mark.parametrize("labels", [None, LABELS], ids=["numbers", "classes"])
@pytest.mark.parametrize("valid_pct", [0.1, 0.25, 0.5])
def test_parts_are_disjoint_cover_all_and_are_as_large_as_asked(
    labels: list[str] | None, groups: list[str] | None, valid_pct: float
) -> None:
    train, valid = split(140, valid_pct, 1, labels, groups)
    assert sorted([*train.tolist(), *valid.tolist()]) == list(range(140))
    assert train.tolist() == sorted(train.tolist()) and valid.tolist() == sorted(valid.tolist())
    assert len(valid) == pytest.approx(140 * valid_pct, abs=4)


@pytest.mark.parametrize("seed", range(5))
def test_a_group_is_never_in_both_parts(seed: int) -> None:
    train, valid = split(140, 0.3, seed, LABELS, GROUPS)
    assert not {GROUPS[row] for row in train} & {GROUPS[row] for row in valid}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("groups", [None, GROUPS], ids=["plain", "grouped"])
def test_classes_are_shared_out_alike(groups: list[str] | None, seed: int) -> None:
    _, valid = split(140, 0.25, seed, LABELS, groups)
    held_out = Counter(LABELS[row] for row in valid)
    slack = 0 if groups is None else 4  # a group is whole
    assert all(abs(held_out[name] - 0.25 * LABELS.count(name)) <= slack for name in "abc")


@pytest.mark.parametrize("seed", range(5))
def test_items_of_a_group_count_once_whatever_labels_they_have(seed: int) -> None:
    """Half of the patients are healthy, so that their images have no label; others have four."""
    sets = [() if n // 5 % 2 else ("a", "b", "c", "d")[: 1 + n % 4] for n in range(200)]
    patients = [f"p{n // 5}" for n in range(200)]
    train, valid = split(200, 0.2, seed, sets, patients)
    assert len(valid) == 40  # all patients have five images
    assert not {patients[n] for n in train} & {patients[n] for n in valid}


def test_groups_of_unlike_sizes() -> None:
    """One group holds half of the rows: it cannot be held out as a quarter of them."""
    groups = ["big"] * 70 + [f"g{row}" for row in range(70)]
    _, valid = split(140, 0.25, 1, None, groups)
    assert len(valid) == pytest.approx(35, abs=5)


@pytest.mark.parametrize("groups", [None, GROUPS], ids=["plain", "grouped"])
def test_split_is_the_seeds(groups: list[str] | None) -> None:
    first, again, other = (split(140, 0.3, seed, LABELS, groups)[1] for seed in (1, 1, 2))
    np.random.seed(3)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize(
    ("labels", "groups", "problem"),
    [
        (["a", "a", "b", "b"], ["x", "x", "y", "z"], "all rows of class 'a' are of one group"),
        (["a", "b", "a", "b"], ["x"] * 4, "only one group, 'x'"),
        (None, ["x"] * 4, "only one group, 'x'"),
        # the classes' groups are the same two, three times over: one part lacks a class
        (["a", "b", "c"] * 2, ["x", "x", "y", "y", "z", "z"], "every class into both parts"),
    ],
)
def test_groups_that_cannot_be_split(
    labels: list[str] | None, groups: list[str], problem: str
) -> None:
    with pytest.raises(DataError, match=problem):
        split(len(groups), 0.5, 1, labels, groups)


@pytest.mark.parametrize("size", [6, 20, 50, 139])
def test_a_sample_has_the_classes_shares(size: int) -> None:
    drawn = sample(140, 1, LABELS, size)
    assert len(drawn) == size == len(set(drawn.tolist()))
    assert drawn.tolist() == sorted(drawn.tolist())
    counts = Counter(LABELS[row] for row in drawn)
    for name in "abc":  # two of each first, then in proportion
        assert counts[name] == pytest.approx(size * LABELS.count(name) / 140, abs=2)
        assert counts[name] >= 2


def test_a_sample_keeps_two_of_a_rare_class() -> None:
    labels = ["many"] * 1000 + ["rare"] * 2
    assert Counter(labels[row] for row in sample(1002, 1, labels, 20)) == {"many": 18, "rare": 2}


def test_a_sample_is_the_seeds() -> None:
    first, again, other = (sample(140, seed, LABELS, 30) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_sample_of_more_than_there_is_is_all() -> None:
    assert sample(140, 1, LABELS, 1000).tolist() == list(range(140))
    assert sample(140, 1, None, 140).tolist() == list(range(140))


def test_a_sample_of_numbers() -> None:
    drawn = sample(140, 1, None, 33)
    assert len(set(drawn.tolist())) == 33


def test_a_sample_that_lacks_a_class() -> None:
    with pytest.raises(
        DataError, match="sample = 5 is too small for two rows of each of the 3 classes"
    ):
        sample(140, 1, LABELS, 5)
