"""Images that a table names."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

COUNT = 24


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """A folder with 24 small images, in a folder below it."""
    (tmp_path / "scans").mkdir()
    for number in range(COUNT):
        Image.new("RGB", (8, 8), (number * 10, 0, 90)).save(tmp_path / "scans" / f"{number}.png")
    return tmp_path


@pytest.fixture
def table(scans: Path) -> Callable[..., Path]:
    """Writes pages.csv: a row for each image, with columns computed from its number."""

    def write(**columns: Callable[[int], object]) -> Path:
        usual: dict[str, Callable[[int], object]] = {
            "file": lambda n: f"scans/{n}.png",
            "kind": lambda n: "map" if n % 2 else "text",
        }
        cells = usual | columns
        with (scans / "pages.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(cells)
            writer.writerows([cell(n) for cell in cells.values()] for n in range(COUNT))
        return scans / "pages.csv"

    return write
