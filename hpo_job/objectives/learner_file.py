"""The JSON record next to a kept model's weights, and the table of its predictions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hpo_job.errors import DataError

LEARNER = "learner.json"


def read(folder: Path) -> dict[str, Any]:
    """The record of the model in ``folder``; it names its objective.

    Raises:
        DataError: there is none.
    """
    try:
        record: dict[str, Any] = json.loads((folder / LEARNER).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(
            f"{folder}: no exported model in it; make one with hpo-job export"
        ) from error
    return record


def predictions(
    items: pd.DataFrame, classes: Sequence[Any], probabilities: np.ndarray[Any, Any]
) -> pd.DataFrame:
    """The table of a classifier's predictions: ``items``, ``prediction``, and every class.

    Args:
        items: a row for each item.
        classes: their names; a class whose name is taken by an earlier column gets an underscore.
        probabilities: shape (items, classes).
    """
    predicted = pd.Series(np.array(classes)[probabilities.argmax(axis=1)], items.index)
    return _table(items, predicted, classes, probabilities)


def label_predictions(
    items: pd.DataFrame,
    labels: Sequence[str],
    probabilities: np.ndarray[Any, Any],
    threshold: float,
    delimiter: str,
) -> pd.DataFrame:
    """The table of predictions of several labels an item: ``prediction`` has them in one cell.

    Args:
        items: a row for each item.
        labels: their names.
        probabilities: shape (items, labels).
        threshold: labels above it are predicted.
        delimiter: what divides them; an empty cell has none.
    """
    names = np.array(labels, dtype=object)
    predicted = [delimiter.join(names[row > threshold]) for row in probabilities]
    column = pd.Series(predicted, items.index, dtype=object)
    return _table(items, column, labels, probabilities)


def _table(
    items: pd.DataFrame,
    predicted: pd.Series[Any],
    classes: Sequence[Any],
    probabilities: np.ndarray[Any, Any],
) -> pd.DataFrame:
    names = [*items.columns, "prediction"]
    for name in map(str, classes):
        while name in names:
            name += "_"
        names.append(name)
    shares = pd.DataFrame(probabilities, items.index)
    return pd.concat([items, predicted, shares], axis=1).set_axis(names, axis=1)
