"""Items with several labels each: in one cell, in several rows, or in columns of 0 and 1."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from hpo_job.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

DELIMITERS = (";", "|", ",")  # of labels in a cell; the first that a cell has is taken
YES, NO = ("1", "1.0", "true", "yes", "x"), ("0", "0.0", "false", "no", "")
LabelSet = tuple[str, ...]


def delimiter_of(cells: Sequence[str]) -> str:
    """What divides the labels of a cell: the first of `DELIMITERS` that is in any of the cells."""
    return next((each for each in DELIMITERS if any(each in cell for cell in cells)), DELIMITERS[0])


def split_cells(cells: Sequence[str], delimiter: str) -> list[LabelSet]:
    """The labels in each cell, each once, sorted; none in an empty cell."""
    return [sorted_set(label.strip() for label in cell.split(delimiter)) for cell in cells]


def of_columns(frame: pd.DataFrame, names: Sequence[str]) -> list[LabelSet]:
    """The labels of each row, of columns of 0 and 1: those in whose column it says yes.

    Raises:
        DataError: a cell is neither yes nor no.
    """
    rows: list[list[str]] = [[] for _ in range(len(frame))]
    for name in names:
        for row, cell in enumerate(frame[name]):
            text = str(cell).strip().casefold()
            if text in YES:
                rows[row].append(name)
            elif text not in NO:
                raise DataError(
                    f"column {name!r}: {cell!r} in row {row + 1} below the header; expected 1 "
                    "where an item has this label, or else 0"
                )
    return [sorted_set(row) for row in rows]


def sorted_set(labels: object) -> LabelSet:
    """Labels, each once, sorted, empty ones left out."""
    return tuple(sorted({label for label in labels if label}))  # type: ignore[attr-defined]


def require_label_sets(sets: Sequence[LabelSet]) -> None:
    """Raise DataError, naming the problem, unless there are two labels of two items each."""
    counts = Counter(label for each in sets for label in each)
    if len(counts) < 2:
        only = f"only one label, {min(counts)!r}" if counts else "no labels"
        raise DataError(f"{only}; at least two are needed")
    rarest, count = counts.most_common()[-1]
    if count < 2:
        raise DataError(
            f"only one image has label {rarest!r}; at least two are needed; to leave it out: "
            f'[data] labels = {{ "{rarest}" = "" }}'
        )
