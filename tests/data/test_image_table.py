"""Images that a table names: with labels, groups and parts, and every mistake in one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from hpo_job.data.findings import cautions
from hpo_job.data.image_table import read_image_table
from hpo_job.data.images import LabelledFiles
from hpo_job.errors import DataError
from hpo_job.spec.study_toml import Data
from tests.data.conftest import COUNT


def read(file: Path, **keys: object) -> LabelledFiles:
    settings = {"path": "pages.csv", "image": "file", "label": "kind", "valid_pct": 0.25, **keys}
    return read_image_table(file, Data.model_validate(settings), seed=1)


def test_files_and_their_labels(table: Callable[..., Path]) -> None:
    data = read(table())
    assert data.counts == {"text": 12, "map": 12}
    assert data.files[3] == "scans/3.png"
    assert data.labels[3] == "map"
    assert (data.root / data.files[3]).is_file()
    assert (len(data.train), len(data.valid), len(data.test)) == (18, 6, 0)
    assert data.unreadable == []


def test_pages_of_one_book_stay_together(table: Callable[..., Path]) -> None:
    data = read(table(book=lambda n: f"book {n // 4}"), group="book")
    train, valid = ({n // 4 for n in part.tolist()} for part in (data.train, data.valid))
    assert not train & valid
    assert train | valid == set(range(6))


@pytest.mark.parametrize("keys", [{}, {"split": "split"}])
def test_parts_that_a_column_names(table: Callable[..., Path], keys: dict[str, str]) -> None:
    file = table(split=lambda n: ("train", "train", "valid", "test")[n % 4])
    data = read(file, **keys)
    assert data.test.tolist() == [n for n in range(COUNT) if n % 4 == 3]
    assert data.valid.tolist() == [n for n in range(COUNT) if n % 4 == 2]
    assert data.source == "column 'split'"
    assert len(read(file, split=False).test) == 0


def test_labels_are_merged(table: Callable[..., Path]) -> None:
    file = table(kind=lambda n: ("map", "Map", "text")[n % 3])
    assert any("look alike" in line for line in cautions(read(file)))
    data = read(file, labels={"Map": "map"})
    assert data.counts == {"map": 16, "text": 8}


def test_other_labels_are_other_data(table: Callable[..., Path]) -> None:
    before = read(table()).listing()
    assert read(table()).listing() == before
    assert read(table(kind=lambda n: "text" if n % 2 else "map")).listing() != before


@pytest.mark.parametrize(
    ("columns", "keys", "problem"),
    [
        (
            {"file": lambda n: f"{n}.png" if n < 5 else f"scans/{n}.png"},
            {},
            "data.image: .*5 of 24 images not found next to the table: 0.png, 1.png, 2.png, ...",
        ),
        ({"kind": lambda n: "map" if n else ""}, {}, "data.label: .*empty in 1 row, the first is"),
        ({"kind": lambda n: "map"}, {}, "data.label: .*only one class, 'map'"),
        ({"file": lambda n: f"scans/{n // 2}.png"}, {}, "data.image: .*is in several rows"),
        ({}, {"image": "fil"}, "data.image: .*unknown column 'fil'; did you mean 'file'"),
        ({}, {"group": "book"}, "data.group: .*unknown column 'book'"),
        ({}, {"split": "kind"}, "data.split: .*column 'kind' holds 'text'; expected train"),
        ({"book": lambda n: n % 2}, {"group": "book"}, "data.group: .*are of one group"),
    ],
)
def test_mistakes(
    table: Callable[..., Path],
    columns: dict[str, Callable[[int], object]],
    keys: dict[str, object],
    problem: str,
) -> None:
    with pytest.raises(DataError, match=problem) as caught:
        read(table(**columns), **keys)
    assert "\n" not in str(caught.value)


def test_a_study_of_them(table: Callable[..., Path], image_job: Callable[..., Path]) -> None:
    from hpo_job.spec.reading import read_spec
    from hpo_job.study.checking import read_data

    file = table()
    keys = {"path": str(file), "image": "file", "label": "kind"}
    data = read_data(read_spec(image_job(data=keys)))
    assert isinstance(data, LabelledFiles)
    assert len(data) == COUNT


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ({"image": "file"}, "data.label: missing"),
        ({"label": "kind"}, "data.label: is for a table: name its column of files as image"),
        ({}, "a file; \\[data\\] path must hold a folder per class, or be a table of files"),
    ],
)
def test_keys_that_belong_together(
    table: Callable[..., Path],
    image_job: Callable[..., Path],
    keys: dict[str, str],
    problem: str,
) -> None:
    from hpo_job.errors import HpoJobError
    from hpo_job.spec.reading import read_spec
    from hpo_job.study.checking import read_data

    spec = read_spec(image_job(data={"path": str(table()), **keys}))
    with pytest.raises(HpoJobError, match=problem):
        read_data(spec)
