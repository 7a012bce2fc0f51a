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
    names = [*items.columns, "prediction"]
    for name in map(str, classes):
        while name in names:
            name += "_"
        names.append(name)
    predicted = pd.Series(np.array(classes)[probabilities.argmax(axis=1)], items.index)
    shares = pd.DataFrame(probabilities, items.index)
    return pd.concat([items, predicted, shares], axis=1).set_axis(names, axis=1)
