"""What a classifier says, as a table: also of classes that are called like its own columns."""

import numpy as np
import pandas as pd

from hpo_job.objectives.learner_file import predictions


def test_classes_are_columns() -> None:
    table = predictions(pd.DataFrame({"file": ["a", "b"]}), ["x", "y"], np.eye(2))
    assert table.to_dict("list") == {
        "file": ["a", "b"],
        "prediction": ["x", "y"],
        "x": [1.0, 0.0],
        "y": [0.0, 1.0],
    }


def test_no_class_takes_a_columns_name() -> None:
    items = pd.DataFrame({"file": ["a"], "row": [1]})
    table = predictions(items, ["row", "prediction", "row_", 3], np.array([[0.1, 0.2, 0.3, 0.4]]))
    assert list(table.columns) == ["file", "row", "prediction", "row_", "prediction_", "row__", "3"]
    assert table["prediction"][0] == "3"
