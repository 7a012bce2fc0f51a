"""How the rows of a table become numbers, learnt from the training rows."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from hpo_job.data.kinds import Format
from hpo_job.data.tables import LabelledRows
from hpo_job.errors import DataError

MISSING = " is missing"  # ends the name of a column that says whether a number was


@dataclass(frozen=True)
class Number:
    """A column of numbers: what replaces a missing one, and how it is scaled.

    ``flagged``: some were missing in training, so a further column says where one is.
    """

    fill: float
    mean: float
    std: float
    flagged: bool


@dataclass(frozen=True)
class Preparation:
    """How the feature columns become numbers, learnt from the training rows only.

    Attributes:
        categories: for each column of categories those of the training rows, as text, sorted. A
            category is encoded as its position from 1; 0 is a missing or an unknown one.
        numbers: how each column of numbers is filled and scaled.
        formats: how the cells of each column are read, as they were in training.
    """

    categories: dict[str, tuple[str, ...]]
    numbers: dict[str, Number]
    formats: dict[str, Format]

    @property
    def columns(self) -> tuple[str, ...]:
        """The feature columns."""
        return (*self.categories, *self.numbers)

    @property
    def category_names(self) -> list[str]:
        """The columns of `encode` that hold categories: features, and flags of missing numbers."""
        flags = [name + MISSING for name, number in self.numbers.items() if number.flagged]
        return [*self.categories, *flags]

    @property
    def number_names(self) -> list[str]:
        """The columns of `encode` that hold numbers."""
        return list(self.numbers)

    @property
    def sizes(self) -> list[int]:
        """How many values each of ``category_names`` can have, including 0."""
        known = [len(categories) + 1 for categories in self.categories.values()]
        return known + [2] * (len(self.category_names) - len(known))

    def encode(self, rows: pd.DataFrame) -> pd.DataFrame:
        """The rows as numbers: ``category_names`` as int64, ``number_names`` as float32.

        Raises:
            DataError: a column is missing, or holds something else than numbers.
        """
        lacking = [name for name in self.columns if name not in rows]
        if lacking:
            raise DataError(
                f"no column {', '.join(map(repr, lacking))}; the model was trained on "
                f"{', '.join(self.columns)}"
            )
        rows = rows.assign(
            **{name: self.formats[name].convert(rows[name]) for name in self.columns}
        )
        encoded: dict[str, Any] = {}
        for name, categories in self.categories.items():
            place = {category: position for position, category in enumerate(categories, 1)}
            encoded[name] = rows[name].map(place).fillna(0).astype(np.int64)
        for name, number in self.numbers.items():
            if number.flagged:
                encoded[name + MISSING] = rows[name].isna().astype(np.int64)
        for name, number in self.numbers.items():
            scaled = (rows[name].fillna(number.fill) - number.mean) / number.std
            encoded[name] = scaled.astype(np.float32)
        return pd.DataFrame(encoded, index=rows.index)

    def stored(self) -> dict[str, Any]:
        """Plain JSON values, which `restore` reads."""
        return asdict(self)


def restore(stored: dict[str, Any]) -> Preparation:
    """The preparation that `Preparation.stored` wrote."""
    return Preparation(
        {name: tuple(categories) for name, categories in stored["categories"].items()},
        {name: Number(**number) for name, number in stored["numbers"].items()},
        {name: Format.restore(format_) for name, format_ in stored["formats"].items()},
    )


def learn(data: LabelledRows) -> Preparation:
    """The preparation of the features, from the training rows only."""
    trained = data.frame.iloc[data.train]
    categories = [name for name, read in data.formats.items() if read.kind == "category"]
    numbers = [name for name in data.features if name not in categories]
    return Preparation(
        {name: tuple(sorted(set(trained[name].dropna()))) for name in categories},
        {name: _number(trained[name]) for name in numbers},
        data.formats,
    )


def _number(column: pd.Series[Any]) -> Number:
    flagged = bool(column.isna().any())
    fill = 0.0 if column.isna().all() else float(column.median())
    filled = column.fillna(fill)
    # A column that is constant in training is not scaled, so later values are not blown up. (Its
    # computed std may differ from 0, since the mean is rounded.)
    std = float(filled.std(ddof=0)) if filled.nunique() > 1 else 1.0
    return Number(fill, float(filled.mean()), std or 1.0, flagged)
