"""How a validation part is drawn: once, by a seed, stratified, and with groups kept whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hpo_job.data.split_label_sets import split_label_sets
from hpo_job.errors import DataError

Positions = NDArray[np.int64]
# Of each item its class, or its labels where it may have several or none
Labels = Sequence[str] | Sequence[tuple[str, ...]]
DRAWS = 200  # of groups, of which the one that is most like the whole is taken


def split(
    count: int,
    valid_pct: float,
    seed: int,
    labels: Labels | None = None,
    groups: Sequence[str] | None = None,
) -> tuple[Positions, Positions]:
    """The positions of the training and of the validation part, ascending.

    Args:
        count: how many items there are.
        valid_pct: the share of them that is held out, between 0 and 1.
        seed: the draw depends on nothing but the arguments.
        labels: the class of each item, or its labels: each has the same share in both parts, as
            far as there is such a split.
        groups: the group of each item: all items of a group are in the same part.

    Returns:
        ``train, valid``.

    Raises:
        DataError: there is no such split. The text names the problem, but not the data.
    """
    if groups is None and labels is not None and has_several(labels):
        return split_label_sets(*membership(labels), valid_pct, seed)
    if groups is None:
        return _plain(count, valid_pct, seed, labels)
    return _grouped(groups, valid_pct, seed, labels)


def sample(count: int, seed: int, labels: Sequence[str] | None, size: int) -> Positions:
    """``size`` of ``count`` positions, ascending; all where there are no more.

    With ``labels``, two of every class and of the others as many as keep the classes' shares.

    Raises:
        DataError: ``size`` does not hold two of every class.
    """
    rng = np.random.default_rng(seed)
    if count <= size:
        return np.arange(count)
    if labels is None:
        return np.sort(rng.permutation(count)[:size])
    classes, numbers = np.unique(np.asarray(labels, dtype=object).astype(str), return_inverse=True)
    total = np.bincount(numbers)
    least = np.minimum(total, 2)
    if size < least.sum():
        raise DataError(
            f"sample = {size} is too small for two rows of each of the {len(classes)} classes; "
            f"at least "
            f"{least.sum()} are needed"
        )
    share = (size - least.sum()) * (total - least) / max(1, (total - least).sum())
    quota = least + np.floor(share).astype(int)
    rest = np.argsort(np.floor(share) - share, kind="stable")[: size - quota.sum()]
    quota[rest] += 1
    drawn = rng.permutation(count)
    rank = np.empty(count, dtype=int)
    for number in range(len(classes)):
        mine = numbers[drawn] == number
        rank[drawn[mine]] = np.arange(mine.sum())
    return np.flatnonzero(rank < quota[numbers])


def require_classes(labels: Sequence[str], item: str) -> None:
    """Raise DataError, naming the problem, unless there are two classes of two items each."""
    counts = Counter(labels)
    if len(counts) < 2:
        raise DataError(f"only one class, {labels[0]!r}; at least two are needed")
    rarest, count = counts.most_common()[-1]
    if count < 2:
        raise DataError(f"class {rarest!r} has one {item}; at least two are needed")


def has_several(labels: Labels) -> bool:
    """Whether items have a tuple of labels each, rather than one class."""
    return len(labels) > 0 and isinstance(labels[0], tuple)


def membership(labels: Labels) -> tuple[list[str], NDArray[np.bool_]]:
    """The names of classes or labels, sorted, and which item has which, (items, names)."""
    sets = [label if isinstance(label, tuple) else (label,) for label in labels]
    names = sorted({name for each in sets for name in each})
    number = {name: position for position, name in enumerate(names)}
    members = np.zeros((len(sets), len(names)), dtype=np.bool_)
    for position, each in enumerate(sets):
        members[position, [number[name] for name in each]] = True
    return names, members


def _plain(
    count: int, valid_pct: float, seed: int, labels: Labels | None
) -> tuple[Positions, Positions]:
    from sklearn.model_selection import train_test_split

    try:
        train, valid = train_test_split(
            np.arange(count), test_size=valid_pct, random_state=seed, stratify=labels
        )
    except ValueError as error:
        raise DataError(f"cannot be split with valid_pct = {valid_pct}: {error}") from error
    return np.sort(train), np.sort(valid)


def _grouped(
    groups: Sequence[str], valid_pct: float, seed: int, labels: Labels | None
) -> tuple[Positions, Positions]:
    """Of many draws of groups, the one whose classes are most nearly shared out as asked."""
    names, group = np.unique(np.asarray(groups, dtype=object).astype(str), return_inverse=True)
    if len(names) < 2:
        raise DataError(f"only one group, {groups[0]!r}; at least two are needed")
    classes, counts = _counts(group, labels)
    if labels is not None and (lonely := np.flatnonzero((counts > 0).sum(axis=0) < 2)).size:
        raise DataError(
            f"all rows of class {classes[lonely[0]]!r} are of one group, so that it can only be "
            "learnt or only be scored; at least two are needed"
        )
    asked = valid_pct * counts.sum(axis=0)
    sizes = np.bincount(group, minlength=len(names))  # items, whether they have labels or not
    whole = valid_pct * sizes.sum()
    rng = np.random.default_rng(seed)

    def draw() -> Positions:
        """Groups in a random order, cut off where they hold most nearly as many items as asked."""
        order = rng.permutation(len(names))
        held_out = np.cumsum(sizes[order])[:-1]
        return order[: int(np.abs(held_out - whole).argmin()) + 1]

    def misfit(drawn: Positions) -> tuple[int, float]:
        held_out = counts[drawn].sum(axis=0)
        lacking = int((held_out == 0).sum() + (held_out == counts.sum(axis=0)).sum())
        off = float(np.abs(held_out - asked).sum())
        if labels is not None and has_several(labels):
            off += abs(float(sizes[drawn].sum()) - whole)
        return lacking, off

    best = min((draw() for _ in range(DRAWS)), key=misfit)
    if misfit(best)[0] and labels is not None:
        raise DataError(
            f"none of {DRAWS} draws of the {len(names)} groups with valid_pct = {valid_pct} puts "
            "every class into both parts; use more groups, or another valid_pct"
        )
    held_out = np.isin(group, best)
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


def _counts(group: Positions, labels: Labels | None) -> tuple[list[str], NDArray[np.int64]]:
    """The classes, and the items of each group and class, shape (groups, classes).

    Of one class without labels. Items with several labels count once for each of them.
    """
    names, members = membership([""] * len(group) if labels is None else labels)
    counts = np.zeros((int(group.max()) + 1, len(names)), dtype=np.int64)
    np.add.at(counts, group, members.astype(np.int64))
    return names, counts
