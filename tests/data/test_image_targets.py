"""Images with several labels each, or with a number: as tables write them, and every mistake."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hpo_job.data.findings import cautions
from hpo_job.data.image_table import read_image_table
from hpo_job.data.image_targets import MeasuredFiles, MultiLabelFiles
from hpo_job.errors import DataError, SpecError
from hpo_job.spec.metrics import Task
from hpo_job.spec.reading import read_spec
from hpo_job.spec.study_toml import Data
from hpo_job.study.checking import check_spec, read_data
from tests.data.conftest import COUNT

Table = Callable[..., Path]
SETS = [{0: ("map",), 1: ("map", "text"), 2: ("text",), 3: ()}[n % 4] for n in range(COUNT)]


def read(file: Path, task: Task, **keys: object) -> MultiLabelFiles | MeasuredFiles:
    data = {"path": "pages.csv", "image": "file", "label": "kind", "valid_pct": 0.25, **keys}
    files = read_image_table(file, Data.model_validate(data), 1, task)
    assert isinstance(files, MultiLabelFiles | MeasuredFiles)
    return files


def cells(delimiter: str) -> Callable[[int], str]:
    return lambda n: delimiter.join(SETS[n])


# Several labels


@pytest.mark.parametrize("delimiter", [";", "|", ",", " ", " / "])
def test_labels_in_one_cell(table: Table, delimiter: str) -> None:
    named = {} if delimiter in (";", "|", ",") else {"label_delim": delimiter}
    data = read(table(kind=cells(delimiter)), "multilabel", **named)
    assert isinstance(data, MultiLabelFiles)
    assert data.sets == SETS
    assert data.classes == ("map", "text")
    assert data.targets.tolist() == [[int(n in each) for n in ("map", "text")] for each in SETS]
    assert data.counts == {"map": 12, "text": 12}
    described = dict(data.described())
    assert described["labels"].endswith("1.0 an image, 2 at most; 6 images have none")
    assert (len(data.train), len(data.valid)) == (18, 6)


def test_labels_in_columns_of_0_and_1(table: Table) -> None:
    columns = {
        "map": lambda n: int("map" in SETS[n]),
        "text; written": lambda n: "x" if "text" in SETS[n] else "",
    }
    data = read(table(**columns), "multilabel", label=["map", "text; written"])
    assert isinstance(data, MultiLabelFiles)
    assert data.sets[:4] == [("map",), ("map", "text; written"), ("text; written",), ()]
    odd = table(map=lambda n: n, text=lambda n: 0)
    with pytest.raises(DataError, match=r"data.label: .*'map': '2' in row 3 below the header"):
        read(odd, "multilabel", label=["map", "text"])


def test_labels_in_several_rows(table: Table) -> None:
    file = table(file=lambda n: f"scans/{n // 2}.png", kind=lambda n: ("a", "b", "c")[n % 3])
    data = read(file, "multilabel")
    assert isinstance(data, MultiLabelFiles)
    assert data.files == tuple(f"scans/{n}.png" for n in range(12))
    assert data.sets[:3] == [("a", "b"), ("a", "c"), ("b", "c")]
    torn = table(file=lambda n: f"scans/{n // 2}.png", kind=lambda n: "ab"[n % 2], book=lambda n: n)
    with pytest.raises(DataError, match="in several rows, which differ in their group"):
        read(torn, "multilabel", group="book")


def test_labels_are_renamed_and_left_out(table: Table) -> None:
    file = table(kind=lambda n: ("map;Map", "text", "rare" if n == 2 else "text")[n % 3])
    with pytest.raises(DataError, match=r'only one image has label .rare.*"rare" = ""'):
        read(file, "multilabel")
    data = read(file, "multilabel", labels={"Map": "map", "rare": ""})
    assert isinstance(data, MultiLabelFiles)
    assert data.classes == ("map", "text")
    assert data.sets[2] == ()


@pytest.mark.parametrize("name", ["map; plan", "map|plan;sketch", "a;b|c,d"])
def test_a_label_is_renamed_to_what_has_the_delimiter_in_it(table: Table, name: str) -> None:
    data = read(table(kind=cells(";")), "multilabel", labels={"map": name})
    assert isinstance(data, MultiLabelFiles)
    assert data.classes == (name, "text")
    assert data.counts == {name: 12, "text": 12}


@pytest.mark.parametrize("group", [None, "book"])
@pytest.mark.parametrize("seed", range(4))
def test_every_label_is_in_both_parts(table: Table, seed: int, group: str | None) -> None:
    rare = {0: "rare;map", 5: "text;rare", 10: "odd", 13: "odd;map;text"}
    kind = lambda n: rare.get(n, ("map", "text", "map;text")[n % 3])  # noqa: E731
    file = table(kind=kind, book=lambda n: n // 2)
    keys = {"path": "-", "image": "file", "label": "kind", "valid_pct": 0.3, "group": group}
    data = read_image_table(file, Data.model_validate(keys), seed, "multilabel")
    for part in (data.train, data.valid):
        assert data.targets[part].any(axis=0).all()
    assert abs(len(data.valid) - 0.3 * COUNT) <= 3
    again = read_image_table(file, Data.model_validate(keys), seed, "multilabel")
    assert (again.valid == data.valid).all()
    if group:
        assert not {n // 2 for n in data.train} & {n // 2 for n in data.valid}


def test_labels_have_their_share_in_both_parts(table: Table) -> None:
    data = read(table(kind=cells(";")), "multilabel", valid_pct=0.5)
    assert data.targets[data.valid].sum(axis=0).tolist() == [6, 6]


def test_parts_that_a_column_names(table: Table) -> None:
    file = table(kind=cells(";"), split=lambda n: ("train", "train", "valid", "test")[n // 4 % 4])
    data = read(file, "multilabel")
    assert (len(data.train), len(data.valid), len(data.test)) == (16, 4, 4)
    assert data.source == "column 'split'"


@pytest.mark.parametrize(
    ("kind", "problem"),
    [
        (lambda n: "map", "data.label: .*only one label, 'map'; at least two"),
        (lambda n: "", "data.label: .*no labels; at least two"),
    ],
)
def test_too_few_labels(table: Table, kind: Callable[[int], str], problem: str) -> None:
    with pytest.raises(DataError, match=problem):
        read(table(kind=kind), "multilabel")


def test_a_label_of_every_image_is_cautioned_against(table: Table) -> None:
    data = read(table(kind=lambda n: f"page;{'map' if n % 2 else ''}"), "multilabel")
    assert any("every image has label 'page'" in line for line in cautions(data))


# Numbers


def test_numbers(table: Table) -> None:
    data = read(table(kind=lambda n: f"1.{n:03},5"), "regression", decimal=",", thousands=".")
    assert isinstance(data, MeasuredFiles)
    assert data.classes == () and data.counts == {}
    assert data.targets[:3].tolist() == [1000.5, 1001.5, 1002.5]
    assert ("target", "kind: 1000.5 to 1023.5, median 1012") in list(data.described())
    parts = np.concatenate([data.train, data.valid])
    assert sorted(parts.tolist()) == list(range(COUNT)) and len(data.valid) == 6


def test_groups_of_images_with_numbers(table: Table) -> None:
    data = read(table(kind=lambda n: n, book=lambda n: n // 4), "regression", group="book")
    assert not {n // 4 for n in data.train} & {n // 4 for n in data.valid}


@pytest.mark.parametrize(
    ("kind", "problem"),
    [
        (lambda n: "old" if n == 3 else n, "'old' in row 4 below the header is no number"),
        (lambda n: 7, "7 in every row; nothing to predict"),
        (lambda n: n or "", "data.label: .*empty in 1 row"),
    ],
)
def test_no_numbers(table: Table, kind: Callable[[int], object], problem: str) -> None:
    with pytest.raises(DataError, match=problem):
        read(table(kind=kind), "regression")


# What study.toml says of them


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        (
            {"objective": "image_multilabel", "metric": "cohen_kappa"},
            "cohen_kappa is for classification; multilabel has f1_macro, f1_micro",
        ),
        (
            {"objective": "image_multilabel", "metric": "hamming_loss"},
            "hamming_loss is better the lower",
        ),
        ({"metric": "f1_samples"}, "f1_samples is for multilabel; classification has accuracy"),
        (
            {"objective": "image_regression", "metric": "f1_macro"},
            "f1_macro is for .*; regression has rmse, mae, r2",
        ),
        ({"objective": "image_multilabel", "metric": "f1_macro"}, "data.image: missing"),
        (
            {"data": {"path": "-", "image": "file", "label": ["a", "b"]}},
            "a list of columns is for image_multilabel",
        ),
        (
            {"data": {"path": "-", "label_delim": ";"}},
            "data.label_delim: image_classification does",
        ),
    ],
)
def test_what_does_not_fit_together(
    image_job: Callable[..., Path], keys: dict[str, object], problem: str
) -> None:
    def look_up() -> None:
        spec = read_spec(image_job(**keys))
        check_spec(spec)
        read_data(spec)

    with pytest.raises(SpecError, match=problem):
        look_up()
