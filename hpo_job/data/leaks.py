"""Features that give the label away: row numbers, ids, and what is known only afterwards."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hpo_job.data.roles import is_row_number
from hpo_job.data.tables import LabelledRows

if TYPE_CHECKING:
    import pandas as pd

_ID = re.compile(
    r"(?:^|[_\s.-])(?:id|nr|no|num|number|key|code|index)$|(?-i:[a-z]I[Dd])$", re.IGNORECASE
)
SORTED = 0.5  # as PERFECT, of a feature by which the file is sorted
PERFECT = 0.985  # share of the way from the best constant answer to all right
ROWS = 20_000  # of training, of which the models of one feature are learnt
FEWEST = 10  # validation rows from which a score says something
ABSENT = -1e30  # the number of a missing one, unlike any other
LEAVES = 64  # of a decision tree


def cautions(data: LabelledRows) -> Iterator[str]:
    """A line for each feature by which alone the label is known, or that counts rows."""
    for name in data.features:
        column = data.frame[name]
        score = predictive(data, name) if len(data.valid) >= FEWEST else 0.0
        drop = f'leave it out: [data] kinds = {{ {name} = "drop" }}'
        if data.formats[name].kind == "date" and _rises(column):
            if not data.source:
                yield (
                    f"the rows are sorted by their date {name!r}, and validation rows are drawn "
                    "from among them: if later dates are to be predicted, say in a column which "
                    "rows are validation, the latest ones: [data] split"
                )
        elif column.dtype.kind == "f" and is_row_number(column):
            yield f"feature {name!r} counts the rows, as the file is sorted; {drop}"
        elif column.dtype.kind == "f" and _rises(column) and score > SORTED:
            yield (
                f"feature {name!r} only rises or only falls from row to row, and predicts "
                f"{data.label!r}: the file is sorted; if it only numbers the rows, {drop}"
            )
        elif score > PERFECT and len(data.features) > 1:
            yield (
                f"feature {name!r} alone predicts {data.label!r} nearly perfectly ({score:.0%} of "
                f"the way from a constant answer): if it is known only after the label, {drop}"
            )
        elif _is_id(column, name):
            yield f"feature {name!r} has another number in every row; if it is an id, {drop}"


def _rises(column: pd.Series[Any]) -> bool:
    """Whether the values only rise, or only fall, from row to row."""
    steps = np.diff(column.to_numpy(dtype=np.float64))
    return len(steps) > FEWEST and (bool((steps > 0).all()) or bool((steps < 0).all()))


def _is_id(column: pd.Series[Any], name: str) -> bool:
    """Whether whole numbers, all different, are called as ids are."""
    if column.dtype.kind != "f" or not _ID.search(name) or not column.is_unique:
        return False
    return bool((column.dropna() % 1 == 0).all())


def predictive(data: LabelledRows, name: str) -> float:
    """How well one feature predicts the label of the validation rows: 1 perfectly, 0 not at all.

    For classes, the share of the errors of the most frequent class that it avoids; for numbers,
    the share of their variance that it explains. By a decision tree, or by the mean of each
    category.
    """
    train = data.train[:: max(1, len(data.train) // ROWS)]
    values = _numbers(data, train, name)
    if len(np.unique(values[train])) < 2:
        return 0.0
    if data.classes:
        return _of_classes(data.targets, values, train, data.valid)
    return _of_numbers(data.targets, values, train, data.valid)


def _numbers(data: LabelledRows, train: NDArray[np.int64], name: str) -> NDArray[np.float64]:
    """The feature as numbers: of a category, the mean target of its training rows."""
    column = data.frame[name]
    if column.dtype.kind == "f":
        numbers = column.to_numpy(dtype=np.float64)
        return np.where(np.isfinite(numbers), numbers, ABSENT)
    means = _means(column, data.targets, train)
    numbers = column.map(means).to_numpy(dtype=np.float64)
    return np.where(np.isfinite(numbers), numbers, data.targets[train].mean())


def _means(
    column: pd.Series[Any], targets: NDArray[Any], train: NDArray[np.int64]
) -> dict[Any, float]:
    import pandas as pd

    grouped = pd.Series(targets[train]).groupby(column.iloc[train].to_numpy())
    return {key: float(mean) for key, mean in grouped.mean().items()}


def _of_classes(
    targets: NDArray[Any],
    values: NDArray[np.float64],
    train: NDArray[np.int64],
    valid: NDArray[np.int64],
) -> float:
    from sklearn.tree import DecisionTreeClassifier

    majority = np.bincount(targets[train].astype(np.int64)).argmax()
    wrong = float((targets[valid] != majority).mean())
    if wrong == 0:
        return 0.0
    tree = DecisionTreeClassifier(max_leaf_nodes=LEAVES, min_samples_leaf=3, random_state=0)
    tree.fit(values[train, None], targets[train])
    errors = float((tree.predict(values[valid, None]) != targets[valid]).mean())
    return 1 - errors / wrong


def _of_numbers(
    targets: NDArray[Any],
    values: NDArray[np.float64],
    train: NDArray[np.int64],
    valid: NDArray[np.int64],
) -> float:
    from sklearn.tree import DecisionTreeRegressor

    variance = float(np.square(targets[valid] - targets[train].mean()).mean())
    if variance == 0 or not np.isfinite(variance):
        return 0.0
    tree = DecisionTreeRegressor(max_leaf_nodes=LEAVES, min_samples_leaf=2, random_state=0)
    tree.fit(values[train, None], targets[train])
    return (
        1 - float(np.square(tree.predict(values[valid, None]) - targets[valid]).mean()) / variance
    )
