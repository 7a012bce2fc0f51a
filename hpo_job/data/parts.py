"""Training, validation and test part: as the data itself says, or as they are drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hpo_job.data.split import split
from hpo_job.errors import DataError

Part = Literal["train", "valid", "test"]
NAMES: dict[str, Part] = {
    **dict.fromkeys(("train", "training", "trn"), "train"),
    **dict.fromkeys(("valid", "val", "validation", "dev", "eval"), "valid"),
    **dict.fromkeys(("test", "testing", "tst", "holdout", "held_out"), "test"),
}
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
        train: Those that models learn from.
        valid: Those that every trial is scored on.
        test: Those that no trial sees.
        source: Where the data says so: "column 'split'"; empty where the parts were drawn.
    """

    train: NDArray[np.int64]
    valid: NDArray[np.int64]
    test: NDArray[np.int64]
    source: str = ""

    def described(self, item: str, group: str | None = None) -> str:
        """One line for a person; ``item`` is the word for several items."""
        kept = f", {group} kept whole" if group and not self.source else ""
        source = f", by {self.source}" if self.source else ""
        test = f"; {len(self.test)} {item} are held out: no trial sees them" * bool(len(self.test))
        return f"{len(self.valid)} {item}, the same in every trial{kept}{source}{test}"


def part_named(name: str) -> Part | None:
    """The part that a folder or a cell of this name means; None where it means none."""
    return NAMES.get(name.strip().casefold())


def read_parts(column: str, cells: Sequence[str]) -> list[Part] | str:
    """The part of each row, of the cells of ``column``; or the first cell that names none.

    Where a column is called is_valid, or nothing but yes and no is in it, yes is validation.
    """
    table = NAMES
    words = {cell.strip().casefold() for cell in cells}
    if column.casefold() == YES_OR_NO or words <= IS_VALID.keys():
        table = IS_VALID
    try:
        return [table[cell.strip().casefold()] for cell in cells]
    except KeyError:
        return next(cell for cell in cells if cell.strip().casefold() not in table)


def divide(
    parts: Sequence[Part] | None,
    source: str,
    count: int,
    valid_pct: float,
    seed: int,
    labels: Sequence[str] | None = None,
    groups: Sequence[str] | None = None,
) -> Parts:
    """The parts of ``count`` items, as ``parts`` says.

    Where it names no validation part, that is drawn from the training part: see `split`.

    Raises:
        DataError: There is no such division.
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
            None if labels is None else [labels[position] for position in train.tolist()],
            None if groups is None else [groups[position] for position in train.tolist()],
        )
        train, valid = train[drawn[0]], train[drawn[1]]
    return Parts(train, valid, test, source)
