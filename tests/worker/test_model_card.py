"""What the card of a final model says of its scores."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hpo_job.objectives.predictions import Predictions
from hpo_job.spec.reading import read_spec
from hpo_job.study.checking import check
from hpo_job.worker.model_card import Final, scores

TIME, ACCURACY = ("execute_time", "minimize"), ("accuracy", "maximize")


@pytest.mark.parametrize("order", [(TIME, ACCURACY), (ACCURACY, TIME)], ids=["first", "last"])
def test_execute_time_has_no_joint_value_and_no_interval(
    image_job: Callable[..., Path], tmp_path: Path, order: tuple[tuple[str, str], ...]
) -> None:
    names, directions = zip(*order, strict=True)
    folder = image_job(metric=list(names), direction=list(directions))
    checked = check(read_spec(folder), tmp_path / "weights")
    measured = {"execute_time": (0.25, 0.75), "accuracy": (0.5, 1.0)}
    outputs = np.array([[0.9, 0.1], [0.2, 0.8]])
    predictions = Predictions(["a", "b"], [], ("cats", "dogs"), np.array([0, 1]), outputs)
    values = tuple(tuple(measured[name][seed] for name in names) for seed in (0, 1))
    final = Final((1, 2), values, "validation", (16, 2), predictions, (0.5, 1.0))
    lines = {line.split()[0]: line for line in scores(checked, final)}
    assert lines["execute_time"] == "execute_time 0.5000, the mean of 2 models: 0.2500, 0.7500"
    assert lines["accuracy"].endswith(
        "0.5000, 1.0000; together 1.0000, 95% interval 0.5000 to 1.0000"
    )
