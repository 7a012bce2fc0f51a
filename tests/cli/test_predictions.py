"""What predict prints fits the terminal, however long the paths are."""

from __future__ import annotations

import click
import pandas as pd
import pytest

from hpo_job.artifacts.inference import ANSWER
from hpo_job.cli.predictions import predictions_text

FOLDER = "jobs/a-study-of-nineteenth-century-illustrations/data/animals"


@pytest.mark.parametrize("rows", [False, True])
def test_long_paths_are_shortened_in_their_middle(rows: bool) -> None:
    files = [f"{FOLDER}/plate-{number:03}.jpg" for number in range(6)]
    table = pd.DataFrame({"file": files, ANSWER: "animals", "animals": 0.75, "people": 0.25})
    if rows:
        table.insert(1, "row", range(1, 7))
    lines = click.unstyle(predictions_text(table, 3, 80)).splitlines()
    assert max(map(len, lines)) <= 80
    assert sum("plate-003.jpg" in line and "…" in line for line in lines) == 1
    assert sum("animals 0.7500, people 0.2500" in line for line in lines) == 6
    whole = predictions_text(table, 3, 10_000)
    assert all(file in whole for file in files) and "…" not in whole
