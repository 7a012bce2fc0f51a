"""What is stored of a trial's predictions has to be what the trial was scored on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hpo_job.objectives.context import Context
from hpo_job.objectives.predictions import FILE, Predictions


def require_predictions(folder: Path, context: Context, value: object) -> Predictions:
    """The predictions in ``folder``, after comparing them with the trial's value and its data."""
    stored = Predictions.read(folder / FILE)
    data = context.data
    assert data is not None
    assert (stored.targets == data.targets[data.valid]).all()
    assert stored.classes == tuple(data.classes)
    assert len(set(stored.items)) == len(data.valid)
    value = value if isinstance(value, float) else value[0]  # type: ignore[index]
    assert context.scored.score(stored.targets, stored.outputs) == pytest.approx(value, abs=1e-6)
    assert stored.interval is not None
    assert stored.interval[0] <= value <= stored.interval[1]
    assert np.isfinite(stored.losses).all()
    return stored
