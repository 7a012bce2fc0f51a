"""What a kept model tells: of itself, as JSON beside its weights, and of what it is asked."""

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
    """What the model in ``folder`` tells, its objective first of all.

    Raises DataError where there is none.
    """
    try:
        told: dict[str, Any] = json.loads((folder / LEARNER).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(
            f"{folder}: no exported model in it; make one with hpo-job export"
        ) from error
    return told


def predictions(
    items: pd.DataFrame, classes: Sequence[Any], probabilities: np.ndarray[Any, Any]
) -> pd.DataFrame:
    """What a classifier says of ``items``: their columns, ``prediction``, and one of each class.

    probabilities: of the shape (items, classes). Columns are classes' names as text; a class that
        is called like a column before it gets an underscore.
    """
    names = [*items.columns, "prediction"]
    for name in map(str, classes):
        while name in names:
            name += "_"
        names.append(name)
    predicted = pd.Series(np.array(classes)[probabilities.argmax(axis=1)], items.index)
    shares = pd.DataFrame(probabilities, items.index)
    return pd.concat([items, predicted, shares], axis=1).set_axis(names, axis=1)
