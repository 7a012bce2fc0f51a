"""Training, validation and test part: as the data itself says, or as they are drawn."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hpo_job.data.split import Labels, split
from hpo_job.errors import DataError, plural

Part = Literal["train", "valid", "test"]
NAMES: dict[str, Part] = {
    **dict.fromkeys(("train", "training", "trainings", "trn", "learn", "learning"), "train"),
    **dict.fromkeys(("valid", "val", "validation", "validate", "dev", "development"), "valid"),
    **dict.fromkeys(("eval", "evaluate", "evaluation"), "valid"),
    **dict.fromkeys(("test", "testing", "tests", "tst", "holdout", "heldout"), "test"),
}
# What names of parts are joined with: train_set, TestData, 01-train-images, val2017
FILLERS = (
    *("dataset", "data", "daten", "subset", "set", "split", "part", "images", "imgs", "image"),
    *("img", "files", "samples", "photos", "pictures", "texts"),
)
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
IS_VALID: dict[str, Part] = {
    **dict.fromkeys(("true", "1", "yes"), "valid"),
    **dict.fromkeys(("false", "0", "no"), "train"),
}
YES_OR_NO = "is_valid"  # fastai's name for a column that says so
COLUMNS = (YES_OR_NO, "split")  # names of columns that are taken for it without being named


@dataclass(frozen=True)
class Parts:
    """Positions of the items of each part, ascending.

    Attributes:
        train: those that models learn from.
        valid: those that every trial is scored on.
        test: those that no trial sees.
        source: where the data says so: "column 'split'"; empty where the parts were drawn.
    """

    train: NDArray[np.int64]
    valid: NDArray[np.int64]
    test: NDArray[np.int64]
    source: str = ""

    def described(self, item: str, group: str | None = None) -> str:
        """One line for a person; ``item`` is the word for one item."""
        kept = f", {group} kept whole" if group and not self.source else ""
        source = f", by {self.source}" if self.source else ""
        held = plural(len(self.test), f"{item} is held out: no", f"{item}s are held out: no")
        test = f"; {held} trial sees {'it' if len(self.test) == 1 else 'them'}" * bool(
            len(self.test)
        )
        return f"{plural(len(self.valid), item)}, the same in every trial{kept}{source}{test}"


def part_named(name: str) -> Part | None:
    """The part that a folder or a cell of this name means; None where it means none.

    In any case, with or without a number and a word such as set, data or images.
    """
    words = [word.casefold() for word in _WORD.findall(name)]
    words = [_without_filler(word) for word in words if word not in FILLERS]
    joined = "".join(words).replace("holdout", "heldout")
    return NAMES.get(joined) if not re.search(r"[^\W\d_]", _WORD.sub("", name)) else None


def _without_filler(word: str) -> str:
    return next((word.removesuffix(each) for each in FILLERS if word.endswith(each)), word)


def read_parts(column: str, cells: Sequence[str]) -> list[Part] | str:
    """The part of each row, of the cells of ``column``; or the first cell that names none.

    Where a column is called is_valid, or nothing but yes and no is in it, yes is validation.
    """
    words = {cell.strip().casefold() for cell in cells}
    parts: dict[str, Part | None] = {cell: part_named(cell) for cell in set(cells)}
    if column.casefold() == YES_OR_NO or words <= IS_VALID.keys():
        parts = {cell: IS_VALID.get(cell.strip().casefold()) for cell in parts}
    odd = next((cell for cell in cells if parts[cell] is None), None)
    return odd if odd is not None else [part for cell in cells if (part := parts[cell])]


def divide(
    parts: Sequence[Part] | None,
    source: str,
    count: int,
    valid_pct: float,
    seed: int,
    labels: Labels | None = None,
    groups: Sequence[str] | None = None,
) -> Parts:
    """The parts of ``count`` items, as ``parts`` says.

    Where it names no validation part, that is drawn from the training part: see `split`.

    Args:
        parts: of each item; None to draw them.
        source: where the data says so, for errors and for people.
        count: how many items there are.
        valid_pct: the share of validation, where that is drawn.
        seed: of the draw.
        labels: the class of each item, or its labels.
        groups: the group of each item.

    Raises:
        DataError: there is no such division.
    """
    if parts is None:
        train, valid = split(count, valid_pct, seed, labels, groups)
        return Parts(train, valid, np.empty(0, np.int64))
    train, valid, test = (
        np.flatnonzero([each == part for each in parts]) for part in ("train", "valid", "test")
    )
    if not len(train):
        raise DataError(f"{source}: no item is in the training part")
    if not len(valid):
        drawn = split(
            len(train),
            valid_pct,
            seed,
            None if labels is None else _picked(labels, train),
            None if groups is None else [groups[position] for position in train.tolist()],
        )
        train, valid = train[drawn[0]], train[drawn[1]]
    return Parts(train, valid, test, source)


def _picked(labels: Labels, positions: NDArray[np.int64]) -> Labels:
    return [labels[position] for position in positions.tolist()]
