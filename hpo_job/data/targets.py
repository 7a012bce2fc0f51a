"""The numbers that are to be predicted, read from a column of a table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hpo_job.data import columns
from hpo_job.data.kinds import LARGEST
from hpo_job.data.numerals import read_numbers
from hpo_job.errors import DataError, plural
from hpo_job.spec.study_toml import Data

if TYPE_CHECKING:
    import pandas as pd


def read_targets(file: Path, label: pd.Series[Any], data: Data) -> NDArray[np.float64]:
    """The number in every row of a column.

    Args:
        file: the table, for errors and for how it is written.
        label: the column, as text.
        data: how numbers are written, where that is known.

    Raises:
        DataError: a cell holds no number, or all hold the same.
    """
    import pandas as pd

    where = f"data.label: {file}: column {str(label.name)!r}"
    numbers = pd.to_numeric(label, errors="coerce").to_numpy(dtype=np.float64)
    if np.isnan(numbers).any() or data.decimal or data.thousands:
        written = read_numbers(
            label.tolist(),
            data.decimal,
            data.thousands,
            prefers_comma=columns.dialect(file).prefers_comma,
        )
        numbers = numbers if written is None else written.values
    bad = np.flatnonzero(~(np.abs(numbers) < LARGEST))
    if bad.size:
        row = f"{where}: {label.iloc[bad[0]]!r} in row {bad[0] + 1} below the header"
        if not np.isnan(numbers[bad]).any():
            raise DataError(
                f"{row} is too large: numbers from {LARGEST:g} on cannot be learnt "
                f"({bad.size} of {plural(len(label), 'row')}); correct or remove such rows"
            )
        raise DataError(
            f"{row} is no number; regression predicts numbers ({bad.size} of "
            f"{plural(len(label), 'row')} without one)"
        )
    if len(set(numbers)) < 2:
        raise DataError(f"{where}: {numbers[0]:g} in every row; nothing to predict")
    return numbers
