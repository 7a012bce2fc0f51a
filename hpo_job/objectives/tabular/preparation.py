"""What is learnt of a table's columns before training, and how rows become numbers by it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from fastai.tabular.core import cont_cat_split

from hpo_job.data.columns import as_text
from hpo_job.data.tables import LabelledRows
from hpo_job.errors import DataError

MISSING = " is missing"  # ends the name of a column that says whether a number was


@dataclass(frozen=True)
class Number:
    """A column of numbers: what stands in for a missing one, and how it is scaled.

    ``flagged``: some were missing in training, so that it is told as well where one was.
    """

    fill: float
    mean: float
    std: float
    flagged: bool


@dataclass(frozen=True)
class Preparation:
    """How the feature columns become numbers, learnt of the training rows alone.

    categories: of each column of categories, those that training has, as text, sorted. A row's
        is told by its position from 1; 0 is a missing one, or one that training did not have.
    numbers: how each column of numbers is filled and scaled.
    verbatim: those of the categories that are read as text, though they may look like numbers.
    """

    categories: dict[str, tuple[str, ...]]
    numbers: dict[str, Number]
    verbatim: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """The feature columns."""
        return (*self.categories, *self.numbers)

    @property
    def category_names(self) -> list[str]:
        """The columns of `encode` that hold categories: the features', and what was missing."""
        flags = [name + MISSING for name, number in self.numbers.items() if number.flagged]
        return [*self.categories, *flags]

    @property
    def number_names(self) -> list[str]:
        """The columns of `encode` that hold numbers."""
        return list(self.numbers)

    @property
    def sizes(self) -> list[int]:
        """How many values each of ``category_names`` can have, 0 included."""
        known = [len(categories) + 1 for categories in self.categories.values()]
        return known + [2] * (len(self.category_names) - len(known))

    def encode(self, rows: pd.DataFrame) -> pd.DataFrame:
        """The rows as numbers: ``category_names`` as int64, ``number_names`` as float32.

        Raises DataError, naming it, for a column that is missing or holds no numbers.
        """
        lacking = [name for name in self.columns if name not in rows]
        if lacking:
            raise DataError(
                f"no column {', '.join(map(repr, lacking))}; the model was trained on "
                f"{', '.join(self.columns)}"
            )
        encoded: dict[str, Any] = {}
        for name, categories in self.categories.items():
            place = {category: position for position, category in enumerate(categories, 1)}
            encoded[name] = as_text(rows[name]).map(place).fillna(0).astype(np.int64)
        numbers = {name: as_numbers(rows[name]) for name in self.numbers}
        for name, number in self.numbers.items():
            if number.flagged:
                encoded[name + MISSING] = numbers[name].isna().astype(np.int64)
        for name, number in self.numbers.items():
            scaled = (numbers[name].fillna(number.fill) - number.mean) / number.std
            encoded[name] = scaled.astype(np.float32)
        return pd.DataFrame(encoded, index=rows.index)

    def stored(self) -> dict[str, Any]:
        """Plain JSON values that `restore` takes."""
        return asdict(self)


def restore(stored: dict[str, Any]) -> Preparation:
    """The preparation that `Preparation.stored` wrote."""
    return Preparation(
        {name: tuple(categories) for name, categories in stored["categories"].items()},
        {name: Number(**number) for name, number in stored["numbers"].items()},
        tuple(stored["verbatim"]),
    )


def learn(data: LabelledRows) -> Preparation:
    """The preparation of the features, from the training rows alone.

    Which columns hold numbers is read off all rows, as fastai does: floats, and integers of more
    than 20 values; the rest are categories, and so are those that were said to be.
    """
    known = data.frame[list(data.features)]
    numbers, categories = cont_cat_split(known)
    trained = known.iloc[data.train]
    return Preparation(
        {name: tuple(sorted(set(as_text(trained[name]).dropna()))) for name in categories},
        {name: _number(as_numbers(trained[name])) for name in numbers},
        data.categorical,
    )


def as_numbers(column: pd.Series[Any]) -> pd.Series[Any]:
    """Numbers as float64, the missing ones, and those that are infinite, as NaN."""
    numbers = pd.to_numeric(column, errors="coerce").astype("float64")
    odd = np.flatnonzero(numbers.isna() & column.notna())
    if odd.size:
        raise DataError(f"column {column.name!r}: {column.iloc[odd[0]]!r} is no number")
    return numbers.where(np.isfinite(numbers))


def _number(column: pd.Series[Any]) -> Number:
    flagged = bool(column.isna().any())
    fill = 0.0 if column.isna().all() else float(column.median())
    filled = column.fillna(fill)
    # A column that never changes in training: whatever it is later, it is not blown up. (Its
    # computed spread need not be 0, as the mean is rounded.)
    std = float(filled.std(ddof=0)) if filled.nunique() > 1 else 1.0
    return Number(fill, float(filled.mean()), std or 1.0, flagged)
