"""A labelled table: what is read of it, and every way in which it can be wrong."""

from __future__ import annotations

import gzip
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import Result

from hpo_job.data.findings import cautions
from hpo_job.data.tables import LabelledRows, read_table
from hpo_job.errors import DataError
from hpo_job.spec.study_toml import Data

Refused = Callable[..., str]
FRAME = pd.DataFrame(
    {
        "colour": ["red", "blue", None, "red"] * 10,
        "size": [*range(39), None],
        "book": [f"b{row // 4}" for row in range(40)],
        "kind": ["fish"] * 24 + ["fowl"] * 16,
        "weight": np.linspace(1, 4, 40),
        "note": [f"row {row}" for row in range(40)],
    }
)


@pytest.fixture(params=[".csv", ".csv.gz", ".parquet"])
def table(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """`FRAME` as a file."""
    file = tmp_path / f"table{request.param}"
    if request.param == ".parquet":
        FRAME.to_parquet(file)
    else:
        FRAME.to_csv(file, index=False)
    return file


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def make(text: str | bytes, name: str = "table.csv") -> Path:
        file = tmp_path / name
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return file

    return make


def read(file: Path, label: str = "kind", **options: Any) -> LabelledRows:
    regression = options.pop("regression", False)
    data = Data(path="-", label=label, valid_pct=0.25, **options)
    return read_table(file, data, 1, regression=regression)


def test_classes(table: Path) -> None:
    data = read(table)
    assert len(data) == 40
    assert data.classes == ("fish", "fowl")
    assert data.counts == {"fish": 24, "fowl": 16}
    assert data.targets.tolist() == [0] * 24 + [1] * 16
    assert data.targets.dtype == np.int64
    assert data.features == ("colour", "size", "book", "weight")
    assert np.bincount(data.targets[data.valid]).tolist() == [6, 4]
    assert data.unreadable == []


def test_numbers(table: Path) -> None:
    data = read(table, "weight", regression=True, features=["size", "colour"])
    assert data.classes == ()
    assert data.counts == {}
    assert data.targets.dtype == np.float64
    assert data.targets == pytest.approx(FRAME["weight"].to_numpy())
    assert data.features == ("size", "colour")
    assert list(data.frame.columns) == ["size", "colour", "weight"]
    assert len(data.valid) == 10


def test_missing_features_stay_missing(table: Path) -> None:
    frame = read(table).frame
    assert frame["colour"].isna().sum() == 10
    assert frame["size"].isna().sum() == 1
    assert frame["size"].dtype == np.float64


def test_text(table: Path) -> None:
    data = read(table, text="note")
    assert data.features == ()
    assert list(data.frame.columns) == ["note", "kind"]
    assert data.frame["note"].tolist() == FRAME["note"].tolist()


def test_groups_are_kept_whole_and_are_no_feature(table: Path) -> None:
    data = read(table, group="book")
    assert "book" not in data.features
    books = data.frame["book"]
    assert not set(books[data.train]) & set(books[data.valid])


def test_a_group_may_be_a_feature_if_named(table: Path) -> None:
    assert read(table, group="book", features=["book", "size"]).features == ("book", "size")


def test_sample(table: Path) -> None:
    data = read(table, sample=20, kinds={"note": "category"})
    assert data.counts == {"fish": 12, "fowl": 8}
    assert len(data.train) + len(data.valid) == len(data.targets) == 20
    assert data.frame.index.tolist() == list(range(20))
    assert set(data.frame["note"]) <= set(FRAME["note"])
    assert len(read(table, sample=1000)) == 40


def test_the_split_is_of_the_rows_not_of_the_file(tmp_path: Path) -> None:
    here, there = tmp_path / "a.csv", tmp_path / "b.csv.gz"
    FRAME.to_csv(here, index=False)
    FRAME.to_csv(there, index=False)
    assert np.array_equal(read(here).valid, read(there).valid)


def test_class_names_are_kept_as_written(write: Callable[..., Path]) -> None:
    """pandas would make 7 of 007, and nothing of NA."""
    data = read(write("x,kind\n" + "1,007\n2,NA\n3, a\n" * 4))
    assert data.classes == (" a", "007", "NA")


def test_numbers_as_classes_are_the_same_from_parquet(tmp_path: Path) -> None:
    frame = pd.DataFrame({"x": range(20), "kind": [1, 10] * 10})
    frame.to_csv(tmp_path / "a.csv", index=False)
    frame.to_parquet(tmp_path / "a.parquet")
    first, second = read(tmp_path / "a.csv"), read(tmp_path / "a.parquet")
    assert first.classes == second.classes == ("1", "10")
    assert np.array_equal(first.targets, second.targets)


def test_a_parquet_files_row_names_are_no_feature(tmp_path: Path) -> None:
    frame = FRAME.set_index(FRAME["size"].fillna(39) * 7)
    frame.rename_axis(None).to_parquet(tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet").features == ("colour", "size", "book", "weight")


def test_a_column_without_a_name_is_no_feature(tmp_path: Path) -> None:
    FRAME.to_csv(tmp_path / "a.csv")  # with row numbers, as pandas does
    data = read(tmp_path / "a.csv")
    assert data.features == ("colour", "size", "book", "weight")
    assert data.frame["colour"][0] == "red"


def test_numbers_that_are_categories(tmp_path: Path) -> None:
    frame = pd.DataFrame({"zip": [7, 10010, None, 33] * 5, "kind": ["a", "b"] * 10})
    frame["zip"] = frame["zip"].astype("Int64")
    frame.to_csv(tmp_path / "a.csv", index=False)
    frame.to_parquet(tmp_path / "a.parquet")
    for name in ("a.csv", "a.parquet"):
        data = read(tmp_path / name, categorical=["zip"])
        assert data.formats["zip"].kind == "category"
        assert data.frame["zip"][:2].tolist() == ["7", "10010"]
        assert data.frame["zip"].isna().sum() == 5


def test_dates_are_days(tmp_path: Path) -> None:
    days = pd.date_range("1730-01-01", periods=20)
    pd.DataFrame({"day": days, "kind": ["a", "b"] * 10}).to_parquet(tmp_path / "a.parquet")
    data = read(tmp_path / "a.parquet")
    assert data.formats["day"].kind == "date"
    assert data.frame["day"].diff().dropna().eq(1).all()
    assert data.frame["day"][0] == (pd.Timestamp("1730-01-01") - pd.Timestamp("1970-01-01")).days


def test_dates_of_two_time_zones_are_dates(tmp_path: Path) -> None:
    """Summer and winter, say."""
    days = ["2026-07-01T00:00:00+02:00", "2026-12-01T00:00:00+01:00"] * 10
    pd.DataFrame({"day": days, "kind": ["a", "b"] * 10}).to_csv(tmp_path / "a.csv", index=False)
    data = read(tmp_path / "a.csv")
    assert data.formats["day"].kind == "date"
    assert data.frame["day"][1] - data.frame["day"][0] == pytest.approx(153 + 1 / 24)


def test_what_a_parquet_file_has_that_pandas_has_not(tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    frame = pd.DataFrame(
        {"price": [Decimal(f"{n}.50") for n in range(20)], "kind": [b"a", b"b"] * 10}
    )
    frame.to_parquet(file)
    data = read(file)
    assert data.frame["price"].dtype == np.float64 and data.frame["price"][3] == 3.5
    assert data.classes == ("a", "b")
    frame.assign(price=pd.Series([[n] for n in range(20)])).to_parquet(file)
    with pytest.raises(DataError, match=r"column 'price' holds nested values \(list<"):
        read(file)
    frame.assign(kind=[b"a", b"\xff"] * 10).to_parquet(file)
    with pytest.raises(DataError, match=r"not a readable Parquet file: .*UTF8"):
        read(file)


def test_a_byte_order_mark_is_no_part_of_a_name(write: Callable[..., Path]) -> None:
    assert read(write("\ufeffkind,x\n" + "a,1\nb,2\n" * 4)).classes == ("a", "b")


def test_listing_is_of_the_content(write: Callable[..., Path]) -> None:
    rows = "x,kind\n" + "1,a\n2,b\n" * 4
    first = read(write(rows)).listing()
    assert read(write(rows, "other.csv")).listing() == first
    assert read(write(rows.replace("1", "3"))).listing() != first  # of the same size


def test_what_lies_beside_the_file_does_not_matter(write: Callable[..., Path]) -> None:
    data = read(write("x,kind\n" + "1,a\n2,b\n" * 4))
    before = data.listing()
    write("anything", "beside.txt")
    assert data.listing() == before


FEW = "x,kind\n1,a\n2,a\n3,b\n4,b\n"
WRONG: dict[str, tuple[str | bytes, dict[str, Any], str]] = {
    "empty": ("", {}, "data.path: FILE: empty"),
    "only a header": ("x,kind\n", {}, "data.path: FILE: no rows"),
    "not text": (b"\x89PNG\r\n\x00\xff\xfe", {}, "data.path: FILE: not a readable CSV file"),
    "latin-1": (FEW.encode() + b"5,\xe9\n", {}, "; save it as UTF-8"),
    "more cells": ("x,kind\n1,a,9\n2,b,9\n", {}, "data.path: FILE: not a readable CSV file"),
    "more cells once": (FEW + "5,b,9\n", {}, "Expected 2 fields in line 6, saw 3"),
    "quote": (FEW + '5,"b\n', {}, "data.path: FILE: not a readable CSV file"),
    "one name twice": ("x,x,kind\n1,2,a\n", {}, "two columns are called 'x'"),
    "no such label": (
        FEW,
        {"label": "kid"},
        "data.label: FILE: unknown column 'kid'; did you mean 'kind'? known: kind, x",
    ),
    "no such text": (FEW, {"text": "y"}, "data.text: FILE: unknown column 'y'"),
    "no such group": (FEW, {"group": "y"}, "data.group: FILE: unknown column 'y'"),
    "no such feature": (FEW, {"features": ["y"]}, "data.features: FILE: unknown column 'y'"),
    "no such category": (
        FEW,
        {"categorical": ["kind"]},
        "data.categorical: FILE: unknown column 'kind'; known: x",
    ),
    "label as feature": (
        FEW,
        {"features": ["kind"]},
        "data.features: FILE: 'kind' is what is to be predicted",
    ),
    "feature twice": (FEW, {"features": ["x", "x"]}, "data.features: FILE: 'x' is named twice"),
    "label as text": (FEW, {"text": "kind"}, "data.text: FILE: 'kind' is the label too"),
    "label as group": (FEW, {"group": "kind"}, "data.group: FILE: 'kind' is the label too"),
    "no feature": ("kind\na\na\nb\nb\n", {}, "data.features: FILE: no column left"),
    "missing label": (
        FEW + "5,\n6, \n",
        {},
        "data.label: FILE: column 'kind': 2 of 6 rows are "
        "empty, the first is row 5 below the header",
    ),
    "short line": (FEW + "5\n", {}, "data.label: FILE: column 'kind': one row is empty"),
    "empty text": (FEW + ",b\n", {"text": "x"}, "data.text: FILE: column 'x': one row is empty"),
    "one class": ("x,kind\n1,a\n2,a\n", {}, "data.label: FILE: only one class, 'a'"),
    "a class of one": (FEW + "5,c\n", {}, "data.label: FILE: class 'c' has one row"),
    "one group": (
        "x,g,kind\n1,1,a\n2,1,a\n3,1,b\n4,1,b\n",
        {"group": "g"},
        "data.group: FILE: only one group, '1'",
    ),
    "a class of one group": (
        "x,g,kind\n1,1,a\n2,1,a\n3,1,b\n4,2,b\n",
        {"group": "g"},
        "data.group: FILE: all rows of class 'a' are of one group",
    ),
    "no number": (
        "x,kind\n1,1\n2,two\n3,3\n",
        {"regression": True},
        "data.label: FILE: column 'kind': 'two' in row 2 below the header is no number",
    ),
    "infinite": (
        "x,kind\n1,1\n2,inf\n3,3\n",
        {"regression": True},
        "'inf' in row 2 below the header is too large: numbers from 1e+30 on cannot be learnt",
    ),
    "huge": ("x,kind\n1,1\n2,1.7e308\n3,3\n", {"regression": True}, "'1.7e308' in row 2 below"),
    "always the same": ("x,kind\n1,1\n2,1\n3,1\n", {"regression": True}, "1 in every row"),
    "small sample": (FEW, {"sample": 3}, "data.sample: FILE: sample = 3 is too small for two rows"),
}


def test_features_of_which_nothing_can_be_learnt_are_named(write: Callable[..., Path]) -> None:
    rows = [
        f"r{max(n, 1)},,7,{n * 1.5},{n % 2},2020-01-0{n % 9 + 1}x,{'ab'[n % 2]}" for n in range(20)
    ]
    file = write("id,nothing,same,number,few,odd,kind\n" + "\n".join(rows) + "\n")
    ids, nothing, same = cautions(read(file))
    assert ids.startswith("feature 'id' is a category with 19 values in 20 rows: nothing can be")
    assert nothing.startswith("feature 'nothing' is empty in every row: ")
    assert same.startswith("feature 'same' is the same in every row: ")
    assert cautions(read(file, features=["number", "few", "odd"])) == ()
    assert cautions(read(file, text="id")) == ()


@pytest.mark.parametrize("ids", ["row_{:04}", "6f9619ff-8b86-d011-b42d-00cf4fc9{:04}", "Name {}"])
def test_texts_that_differ_in_every_row_are_left_out(write: Callable[..., Path], ids: str) -> None:
    rows = [f"{ids.format(n)},{n * 1.5},{'ab'[n % 2]}" for n in range(20)]
    file = write("key,number,kind\n" + "\n".join(rows) + "\n")
    data = read(file)
    assert data.features == ("number",)
    assert data.dropped == {"key": "another text in every row"}
    assert ("left out", "key (another text in every row)") in data.described()
    assert read(file, kinds={"key": "category"}).features == ("key", "number")
    assert read(file, features=["key", "number"]).features == ("key", "number")


@pytest.mark.parametrize(
    ("encoding", "mark", "note"),
    [
        ("utf-8", ";", "columns divided by semicolons"),
        ("utf-8-sig", ";", "columns divided by semicolons"),
        ("utf-16", "\t", "columns divided by tabs, encoded as UTF-16"),
        ("utf-8", "|", "columns divided by bars"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_tables_as_spreadsheets_write_them(
    write: Callable[..., Path], encoding: str, mark: str, note: str, packed: bool
) -> None:
    rows = [f'{n},234;{n}.{n}00,50;"p{mark}, {n}";{"xy"[n % 2]}' for n in range(1, 9)]
    lines = ["größe;preis, netto;text;kind", *rows]
    text = "\r\n".join(line.replace(";", mark) for line in lines) + "\r\n"
    content = text.encode(encoding)
    file = write(gzip.compress(content) if packed else content, "t.csv.gz" if packed else "t.csv")
    data = read(file, kinds={"text": "category"})
    assert ("file", note) in data.described()
    assert data.frame["preis, netto"].tolist() == [n * 1100 + 0.5 for n in range(1, 9)]
    sizes = [float(f"{n}.234") for n in range(1, 9)]
    assert data.frame["größe"].tolist() == (
        sizes if mark == ";" else [n * 1000 + 234 for n in range(1, 9)]
    )
    assert data.frame["text"].tolist() == [f"p{mark}, {n}" for n in range(1, 9)]


def test_semicolons_with_decimal_points(write: Callable[..., Path]) -> None:
    file = write("acid;kind\n" + "7.4;a\n7.8;b\n0.123;a\n1.5;b\n" * 2)
    assert read(file).frame["acid"].tolist() == [7.4, 7.8, 0.123, 1.5] * 2
    labels = read(write("y;x\n1,234;1\n2,5;2\n3,1;3\n4;4\n"), "y", regression=True).targets
    assert labels.tolist() == [1.234, 2.5, 3.1, 4]


@pytest.mark.parametrize(
    "text",
    ["a;b,kind\n" + "1,x\n2,y\n3,x\n4,y\n" * 2, "a,kind\n" + "1;2,x\n3,y\n4,x\n5,y\n" * 2],
)
def test_semicolons_in_a_table_of_commas(write: Callable[..., Path], text: str) -> None:
    data = read(write(text))
    assert data.classes == ("x", "y") and len(data) == 8
    assert "file" not in dict(data.described())


def test_lines_of_unlike_length_are_named_with_any_mark(write: Callable[..., Path]) -> None:
    with pytest.raises(DataError, match="Expected 2 fields in line 3, saw 3"):
        read(write("x;kind\n1;a\n2;b;9\n"))


@pytest.mark.parametrize("case", WRONG)
def test_wrong(write: Callable[..., Path], case: str) -> None:
    content, options, problem = WRONG[case]
    file = write(content)
    with pytest.raises(DataError) as refusal:
        read(file, **options)
    assert problem.replace("FILE", str(file)) in str(refusal.value)
    assert len(str(refusal.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("a.csv.gz", b"no gzip", "not a readable CSV file"),
        ("a.csv.gz", gzip.compress(FEW.encode() * 9, mtime=0)[:30], "not a readable CSV file"),
        ("a.parquet", FEW.encode(), "not a readable Parquet file"),
        ("a.xlsx", FEW.encode(), "expected .csv, .csv.gz, .parquet"),
    ],
)
def test_wrong_kind_of_file(
    write: Callable[..., Path], name: str, content: bytes, problem: str
) -> None:
    with pytest.raises(DataError, match=problem) as refusal:
        read(write(content, name))
    assert len(str(refusal.value).splitlines()) == 1


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nothere.csv: no such file"):
        read(tmp_path / "nothere.csv")


def test_a_folder_is_no_table(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="a folder; expected a table"):
        read(tmp_path)


def test_parquet_without_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a.parquet"
    FRAME.to_parquet(file)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(DataError, match=r"pip install 'hpo-job\[parquet\]'"):
        read(file)


def test_image_classification_wants_a_folder(
    image_job: Callable[..., Path], refused: Refused, write: Callable[..., Path]
) -> None:
    line = refused("check", image_job(data={"path": str(write(FEW))}))
    assert "data.path: " in line and "table.csv: a file; " in line and "folder per class" in line


@pytest.mark.parametrize("key", ["label", "text", "group"])
def test_keys_that_would_do_nothing(
    image_job: Callable[..., Path], job: Callable[..., Path], refused: Refused, key: str
) -> None:
    line = refused("check", image_job(data={"path": ".", key: "kind"}))
    useless = "image_classification does not use it, only path, valid_pct, seed"
    of_tables = "is for a table: name its column of files as image"
    assert f"data.{key}: {useless if key == 'text' else of_tables}" in line
    line = refused("check", job(data={"path": ".", key: "kind"}))
    assert f"data.{key}: objective.py:train does not use it" in line


def test_a_functions_table_is_its_own(
    job: Callable[..., Path], cli: Callable[..., Result], write: Callable[..., Path]
) -> None:
    assert cli("check", job(data={"path": str(write(FEW))})).exit_code == 0
