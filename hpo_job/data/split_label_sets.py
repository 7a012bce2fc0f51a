"""How items with several labels each are divided: every label on both sides, by its share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hpo_job.errors import DataError

Positions = NDArray[np.int64]
DRAWS = 50  # of which the first that has every label in both parts is taken


def split_label_sets(
    names: Sequence[str], members: NDArray[np.bool_], valid_pct: float, seed: int
) -> tuple[Positions, Positions]:
    """The positions of the training and of the validation part, ascending.

    Source: iterative stratification, Sechidis, Tsoumakas and Vlahavas 2011: the items of the
    rarest label are shared out first, each to the part that lacks most of it.

    Args:
        names: the labels.
        members: which item has which label, shape (items, labels).
        valid_pct: the share of the items that is held out.
        seed: of the order of the items.

    Raises:
        DataError: no draw has every label in both parts.
    """
    rng = np.random.default_rng(seed)
    for _ in range(DRAWS):
        held_out = _draw(members, valid_pct, rng)
        lacking = ~(members[held_out].any(axis=0) & members[~held_out].any(axis=0))
        if held_out.any() and not held_out.all() and not lacking.any():
            return np.flatnonzero(~held_out), np.flatnonzero(held_out)
    lost = ", ".join(repr(names[number]) for number in np.flatnonzero(lacking)[:3])
    raise DataError(
        f"none of {DRAWS} draws with valid_pct = {valid_pct} puts every label into both parts "
        f"({lost or 'too few items'}); add items, or use another valid_pct"
    )


def _draw(
    members: NDArray[np.bool_], valid_pct: float, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Whether each item is held out."""
    shares = np.array([1 - valid_pct, valid_pct])
    wanted = shares * len(members)  # items that each part still lacks
    # of each label, at least one in both parts; shape (labels, parts)
    of_label = np.maximum(1.0, members.sum(axis=0)[:, None] * shares)
    held_out = np.zeros(len(members), dtype=np.bool_)
    left = np.ones(len(members), dtype=np.bool_)

    def give(position: int, preference: NDArray[np.float64]) -> None:
        """Put an item into the part that lacks most of what is preferred, then of items."""
        part = max((0, 1), key=lambda each: (preference[each], wanted[each], rng.random()))
        held_out[position], left[position] = part == 1, False
        wanted[part] -= 1
        of_label[members[position], part] -= 1

    while (counts := members[left].sum(axis=0)).any():
        label = int(np.where(counts > 0, counts, len(members) + 1).argmin())
        for position in rng.permutation(np.flatnonzero(left & members[:, label])):
            give(int(position), of_label[label])
    for position in rng.permutation(np.flatnonzero(left)):
        give(int(position), wanted)
    return held_out
