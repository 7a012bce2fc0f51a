"""What the columns of a table are taken for, and how study.toml corrects it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from hpo_job.data.kinds import Feature, Format, recognise
from hpo_job.data.tables import LabelledRows, read_table
from hpo_job.errors import DataError
from hpo_job.spec.study_toml import Data

Write = Callable[..., Path]


def feature(cells: Any, **known: Any) -> tuple[Feature, list[Any]]:
    column = pd.Series(cells, name="x")
    seen = recognise(column, **known)
    return seen, seen.format.convert(column).tolist()


@pytest.mark.parametrize(
    ("cells", "kind", "values"),
    [
        (["a", "b", None], "category", ["a", "b", None]),
        ([1, 2, 2], "category", ["1", "2", "2"]),
        (["1", "2", "2"], "category", ["1", "2", "2"]),
        (list(range(30)), "number", list(range(30))),
        (["1", "2", None], "number", [1, 2, np.nan]),
        (["?", "1", "2"], "number", [np.nan, 1, 2]),
        ([True, False], "category", ["True", "False"]),
        (["True", "False"], "category", ["True", "False"]),
        (["1.5", "inf"], "number", [1.5, np.nan]),
        ([1.5, 1.7e308], "number", [1.5, np.nan]),
        (["2020-01-31", None], "date", [18292, np.nan]),
        (["31.12.1674", "01.01.1700"], "date", [-107747, -98615]),
        (["12 March 1801", "1 May 1802"], "date", [-61656, -61241]),
        (pd.to_timedelta([1, 2], unit="D"), "date", [1, 2]),
        (["2020-13-01", "2020-01-01"], "category", ["2020-13-01", "2020-01-01"]),
        (["12:30", "13:45"], "category", ["12:30", "13:45"]),
    ],
)
def test_kinds(cells: Any, kind: str, values: list[Any]) -> None:
    seen, converted = feature(cells)
    assert seen.format.kind == kind
    if kind == "category":
        assert converted == values
    else:
        assert converted == pytest.approx(values, nan_ok=True)


def test_what_was_guessed_is_said() -> None:
    assert feature(["1.234,5", "2"])[0].note == "written like 1.234,5"
    assert feature(["5 kg", "?"])[0].note == "in kg, missing where it says '?'"
    assert feature(["03/04/2020"])[0].note == "days since 1970, month first"
    assert feature(["13/04/2020"])[0].note == "days since 1970"
    assert "1 number as large as" in feature([1.5, 1e300])[0].caution
    assert feature(["12k", "1.5M"])[0].note == "k for 1,000, M for 1,000,000"
    assert feature(["low", "high", "medium"])[0].note == "the order low, medium, high is not used"
    assert "durations or times, such as '1:30'" in feature(["1:30", "2:45:10", "?"])[0].caution
    assert "durations or times, such as '1h 30m'" in feature(["1h 30m", "2 h 5 min"])[0].caution
    assert "ranges, such as '0-9'" in feature(["0-9", "10-19", "20+", "5"])[0].caution
    for cells in (["red", "high"], ["030-12345", "040-2"], ["1850-1840"], ["a-b"], ["S", "M"]):
        assert feature(cells)[0].caution == feature(cells)[0].note == ""
    assert feature(["1.5"], kind="category")[0].caution == ""
    assert "such as 'x'" in feature(["1"] * 9 + ["x"])[0].caution


def test_a_guess_is_corrected() -> None:
    assert feature(["1", "2"], kind="number")[1] == [1, 2]
    assert feature(["1.5", "2"], kind="category")[1] == ["1.5", "2"]
    assert feature(["1.234", "2.345"], thousands=".", decimal=",")[1] == [1234, 2345]
    assert feature(["1", "-999"], missing=["-999"], kind="number")[1][0] == 1
    assert np.isnan(feature([1.5, -999.0], missing=["-999"])[1][1])
    assert feature(["a", "none of these"], missing=["none of these"])[1] == ["a", None]
    for kind in ("number", "date"):
        with pytest.raises(DataError, match="column 'x': "):
            feature(["a", "b"], kind=kind)


def test_new_rows_are_read_as_training_rows_were() -> None:
    """A file of its own could be read otherwise: of a single 1.200 nobody knows what it is."""
    seen, _ = feature(["1.200", "950", "?"])
    assert Format.restore(seen.format.stored()) == seen.format
    assert seen.format.convert(pd.Series(["1.200"], name="x")).tolist() == [1200]
    assert seen.format.convert(pd.Series([None, "n/a"], name="x")).isna().all()
    with pytest.raises(DataError, match="column 'x': 'many' is no number"):
        seen.format.convert(pd.Series(["many"], name="x"))
    dates, _ = feature(["03/04/2020"])
    with pytest.raises(DataError, match="'2020-04-03' is no date"):
        dates.format.convert(pd.Series(["2020-04-03"], name="x"))


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Numbers as they come from a spreadsheet, with row numbers that pandas once wrote."""
    frame = pd.DataFrame(
        {
            "Unnamed: 0": range(40),
            "price": [f"{1000 + n:,}" for n in range(40)],
            "size": [f"{n} cm" if n % 9 else "?" for n in range(40)],
            "day": pd.date_range("1900-01-01", periods=40).strftime("%d.%m.%Y"),
            "code": range(40),
            "note": ["x", "y"] * 20,
            "kind": ["a", "b"] * 20,
        }
    )
    frame.to_csv(tmp_path / "table.csv", index=False)
    return tmp_path / "table.csv"


def read(file: Path, **keys: Any) -> LabelledRows:
    return read_table(file, Data(path="-", **({"label": "kind"} | keys)), 1)


def test_a_table_says_what_its_columns_hold(table: Path) -> None:
    data = read(table)
    lines = dict(data.described())
    assert lines["numbers"] == (
        "price (written like 1,234.5), size (in cm, missing where it says '?'), code"
    )
    assert lines["categories"] == "note"
    assert lines["dates"] == "day (days since 1970)"
    assert lines["left out"] == "Unnamed: 0 (row numbers)"
    assert data.frame["price"].tolist() == list(range(1000, 1040))


def test_study_toml_says_otherwise(table: Path) -> None:
    kinds = {"code": "category", "day": "drop", "Unnamed: 0": "number"}
    data = read(table, kinds=kinds, missing={"price": ["1,000"], "code": [3]})
    assert data.features == ("Unnamed: 0", "price", "size", "code", "note")
    assert data.formats["code"].kind == "category"
    assert data.dropped == {"day": "as kinds says"}
    assert data.frame["price"].isna().tolist() == [True] + [False] * 39
    assert data.frame["code"].isna().sum() == 1
    assert read(table, features=["Unnamed: 0"]).features == ("Unnamed: 0",)
    with pytest.raises(
        DataError, match=r"data\.kinds: .*unknown column 'cod'; did you mean 'code'"
    ):
        read(table, kinds={"cod": "number"})
    with pytest.raises(DataError, match=r"data\.kinds: .*column 'note': its values are no numbers"):
        read(table, kinds={"note": "number"})
    with pytest.raises(DataError, match=r"data\.missing: .*unknown column 'y'"):
        read(table, missing={"y": [1]})


def test_a_label_may_be_written_as_text_too(table: Path) -> None:
    data = read_table(table, Data(path="-", label="price"), 1, regression=True)
    assert sorted(data.targets) == list(range(1000, 1040))
    with pytest.raises(DataError, match=r"'01\.01\.1900' in row 1 below"):
        read_table(table, Data(path="-", label="day"), 1, regression=True)
