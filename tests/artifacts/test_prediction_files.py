"""Which files `predict` reads: each once, those of a folder in the order of their names."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from hpo_job.artifacts.inference import files_of
from hpo_job.errors import DataError


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    folder = tmp_path / "scans"
    for name in ("c.png", "a.png", "b.png", "below/0.png", ".thumbnails/a.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(folder / name)
    (folder / "notes.txt").write_text("not an image")
    return folder


def test_of_a_folder_the_images_below_it_in_order(scans: Path) -> None:
    below = [scans / name for name in ("a.png", "b.png", "below/0.png", "c.png")]
    assert files_of("images", [scans]) == below


def test_texts_whatever_the_case_of_their_suffix(scans: Path) -> None:
    (scans / "below" / "LETTER.TXT").write_text("a text")
    texts = [scans / "below" / "LETTER.TXT", scans / "notes.txt"]
    assert files_of("text", [scans]) == texts


def test_a_file_that_is_named_twice_is_read_once(scans: Path) -> None:
    first = scans / "c.png"
    assert files_of("images", [first, scans, first])[0] == first
    assert len(files_of("images", [first, scans, first])) == 4


def test_a_pattern_in_order(scans: Path) -> None:
    assert files_of("images", [scans / "[bc].png"]) == [scans / "b.png", scans / "c.png"]


def test_a_file_whose_name_looks_like_a_pattern(scans: Path) -> None:
    (scans / "a.png").rename(scans / "[b].png")
    assert files_of("images", [scans / "[b].png"]) == [scans / "[b].png"]


@pytest.mark.parametrize(
    ("name", "layout", "problem"),
    [
        ("*.jpg", "images", "no file matches"),
        ("nothing.png", "images", "no such file"),
        (".thumbnails", "table", "no table in this folder"),
    ],
)
def test_a_name_that_means_no_file(scans: Path, name: str, layout: str, problem: str) -> None:
    with pytest.raises(DataError, match=problem):
        files_of(layout, [scans / name])
