"""Whoever reads back what a command wrote has the same numbers: JSON, CSV and Parquet, exactly."""

from __future__ import annotations

import ast
import csv
import io
import json
import math
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pyarrow.parquet as pq
import pytest
from click.testing import Result
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial

import hpo_job
from hpo_job.results.writing import MISSING, to_csv, to_json, to_text, write_parquet
from hpo_job.storage.database import Storage
from tests import synthetic
from tests.sources import parsed

Cli = Callable[..., Result]
TINY = 4.04e-13
THIRD = 0.1 + 0.2
LARGE = 2**53 + 1
FLOATS = st.floats(allow_nan=True, allow_infinity=True)
INTEGERS = st.integers(-(2**70), 2**70)
SCALARS = st.none() | st.booleans() | INTEGERS | FLOATS | st.text()
CELLS = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


def same(left: Any, right: Any) -> bool:
    """Whether two cells are equal in type and value, NaN being equal to NaN."""
    if isinstance(left, float) and isinstance(right, float):
        return left == right or (math.isnan(left) and math.isnan(right))
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[k], right[k]) for k in left)
    return type(left) is type(right) and bool(left == right)


def strict(text: str) -> Any:
    """JSON as a strict parser reads it: NaN and Infinity are no numbers there."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


def decoded(cell: Any, like: Any) -> Any:
    """A cell of JSON as the number it stands for."""
    if isinstance(like, float):
        return float(cell)
    if isinstance(like, list):
        return [decoded(each, other) for each, other in zip(cell, like, strict=True)]
    if isinstance(like, dict):
        return {name: decoded(each, like[name]) for name, each in cell.items()}
    return cell


@given(st.lists(st.dictionaries(st.sampled_from("abc"), CELLS)))
@settings(max_examples=60, deadline=None)
def test_json_round_trips(rows: list[dict[str, Any]]) -> None:
    read = strict(to_text("abc", rows, "json"))
    assert [list(row) for row in read] == [["a", "b", "c"]] * len(rows)
    for row, written in zip(read, rows, strict=True):
        for name in "abc":
            assert same(decoded(row[name], written.get(name)), written.get(name))


@given(st.lists(FLOATS | INTEGERS, min_size=1))
@settings(max_examples=60, deadline=None)
def test_csv_round_trips_numbers(cells: list[float | int]) -> None:
    text = to_csv(["x", "y"], [{"x": cell} for cell in cells])
    heading, *lines = csv.reader(io.StringIO(text))
    assert heading == ["x", "y"]
    for (x, y), cell in zip(lines, cells, strict=True):
        assert same(type(cell)(x), cell)
        assert y == ""


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1))
@settings(max_examples=40, deadline=None)
def test_csv_round_trips_texts(cells: list[str]) -> None:
    text = to_csv(["x", "y"], [{"x": cell, "y": 1} for cell in cells])
    assert [line[0] for line in csv.reader(io.StringIO(text, newline=""))][1:] == cells


@pytest.fixture(scope="module")
def parquet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("parquet") / "x.parquet"


@given(
    st.lists(st.floats() | st.none() | st.just(MISSING), min_size=1)
    | st.lists(st.integers(-(2**63), 2**63 - 1) | st.none(), min_size=1)
    | st.lists(st.booleans() | st.none(), min_size=1)
    | st.lists(st.text(st.characters(exclude_categories=["Cs"])) | st.none(), min_size=1)
    | st.lists(st.datetimes(min_value=datetime(1900, 1, 1)), min_size=1)
)
@settings(max_examples=60, deadline=None)
def test_parquet_round_trips_columns_of_one_type(parquet: Path, cells: list[Any]) -> None:
    write_parquet(["x"], [{"x": cell} for cell in cells], parquet)
    read = pq.read_table(parquet).column("x").to_pylist()
    assert all(map(same, read, [None if cell is MISSING else cell for cell in cells]))


@given(st.lists(CELLS, min_size=1))
@settings(max_examples=60, deadline=None)
def test_parquet_round_trips_mixed_columns_as_json(parquet: Path, cells: list[Any]) -> None:
    mixed = [{"x": cell} for cell in [*cells, {"a": "table"}]]
    write_parquet(["x"], mixed, parquet)
    read = pq.read_table(parquet).column("x").to_pylist()
    for text, row in zip(read, mixed, strict=True):
        assert same(decoded(strict(text), row["x"]), row["x"])


def test_pandas_reads_large_integers_with_gaps_exactly(parquet: Path) -> None:
    write_parquet(["x"], [{"x": LARGE}, {}, {"x": None}], parquet)
    column = pd.read_parquet(parquet)["x"]
    assert column[0] == LARGE
    assert column.isna().tolist() == [False, True, True]


def test_values_of_numpy_and_pandas_are_written_as_pythons() -> None:
    row = {
        "f": np.float64(THIRD),
        "i": np.int64(LARGE),
        "t": pd.Timestamp("2024-01-01 12:00:00.000001"),
        "d": pd.Timedelta(90061.5, "s"),
        "n": pd.NaT,
    }
    assert strict(to_json(row)) == {
        "f": THIRD,
        "i": LARGE,
        "t": "2024-01-01T12:00:00.000001",
        "d": "P1DT1H1M1.5S",
        "n": None,
    }
    assert pd.Timedelta("P1DT1H1M1.5S") == row["d"]


# the commands


@pytest.fixture
def stored(storage: Storage) -> optuna.Study:
    """Numbers that short formats lose."""
    space: dict[str, BaseDistribution] = {
        "rate": FloatDistribution(1e-20, 1.0),
        "big": IntDistribution(0, 2**60),
    }
    trials = []
    for number, value in enumerate((TINY, THIRD, math.inf, 1e308, 5e-324)):
        params = {"rate": THIRD / (number + 1), "big": LARGE + number}
        attrs = {
            "none": None,
            "nan": math.nan,
            "half": [TINY, None, math.inf],
            **({"some": LARGE} if number else {}),
        }
        trial = create_trial(value=value, params=params, distributions=space, user_attrs=attrs)
        trial.datetime_start = synthetic.START
        trial.datetime_complete = synthetic.START + timedelta(seconds=1, microseconds=number)
        trials.append(trial)
    trials.append(create_trial(state=TrialState.FAIL))
    return synthetic.study(trials, storage=storage.optuna, direction="minimize")


def test_results_as_json_are_exact(stored: optuna.Study, cli: Cli, database: str) -> None:
    text = cli("results", "synthetic", "--format", "json", "--storage", database).stdout
    records = strict(text)
    for record, trial in zip(records, stored.trials, strict=True):
        assert list(record) == list(stored.trials_dataframe().columns)
        assert same(record["value"] and float(record["value"]), trial.value)
        for name in ("rate", "big"):
            assert same(record[f"params_{name}"], trial.params.get(name))
    assert records[0]["user_attrs_none"] is None
    assert records[0]["user_attrs_nan"] == "NaN"
    assert records[0]["user_attrs_half"] == [TINY, None, "Infinity"]
    assert records[1]["user_attrs_some"] == LARGE
    assert records[3]["duration"] == "P0DT0H0M1.000003S"


def test_results_as_csv_are_exact(stored: optuna.Study, cli: Cli, database: str) -> None:
    text = cli("results", "synthetic", "--format", "csv", "--storage", database).stdout
    for row, trial in zip(csv.DictReader(io.StringIO(text)), stored.trials, strict=True):
        assert same(float(row["value"]) if row["value"] else None, trial.value)
        assert row["params_big"] == str(trial.params.get("big", ""))


def test_results_as_parquet_are_exact(
    stored: optuna.Study, cli: Cli, database: str, tmp_path: Path
) -> None:
    file = tmp_path / "x.parquet"
    done = cli("results", "synthetic", "--format", "parquet", "-o", file, "--storage", database)
    assert done.exit_code == 0, done.output
    for row, trial in zip(pq.read_table(file).to_pylist(), stored.trials, strict=True):
        assert same(row["value"], trial.value)
        assert same(row["params_rate"], trial.params.get("rate"))
        assert same(row["params_big"], trial.params.get("big"))
        assert row["datetime_start"] == trial.datetime_start


def test_a_selection_keeps_its_rows_and_columns(
    stored: optuna.Study, cli: Cli, database: str
) -> None:
    asked = [
        "--where",
        "big >= 0",
        "--sort",
        "-rate",
        "--columns",
        "big,number",
        "--format",
        "json",
    ]
    text = cli("results", "synthetic", *asked, "--storage", database).stdout
    expected = [
        {"params_big": t.params["big"], "number": t.number}
        for t in hpo_job.load("synthetic", database).study.trials[:5]
    ]
    assert strict(text) == expected


def test_best_importance_and_compare_are_exact(
    stored: optuna.Study, storage: Storage, cli: Cli, database: str
) -> None:
    (record,) = strict(cli("best", "synthetic", "--format", "json", "--storage", database).stdout)
    assert record["values"] == {"f1_weighted": 5e-324}
    assert record["user_attrs"]["nan"] == "NaN"
    other = synthetic.study(synthetic.trials(60), "other", storage=storage.optuna)
    text = cli("importance", "other", "--format", "json", "--storage", database).stdout
    shares = hpo_job.load("other", database).importance()
    assert strict(text) == {"ped-anova": dict(shares)}
    text = cli("importance", "other", "--format", "csv", "--storage", database).stdout
    rows = list(csv.reader(io.StringIO(text)))[1:]
    assert {name: float(share) for name, share in rows} == dict(shares)
    text = cli("compare", "synthetic", "other", "--format", "json", "--storage", database).stdout
    summary = strict(text)["summary"]
    assert summary["synthetic"]["best"] == 5e-324
    assert summary["other"]["best"] == other.best_value
    big = hpo_job.load("synthetic", database).parameters()[
        "big"
    ]  # Optuna's storage keeps parameters as floats
    assert strict(text)["best_parameters"]["synthetic"]["big"] == big > 2**53


def test_one_writer_is_used_by_all() -> None:
    """pandas' own writers cut decimals, and turn infinity into null."""
    package = Path(hpo_job.__file__).parent
    banned = {"to_json", "to_csv", "to_parquet"}
    calls = {
        f"{file.relative_to(package)}:{node.lineno}"
        for file in package.rglob("*.py")
        for node in ast.walk(parsed(file))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in banned
        and ast.unparse(node.func) != "plotly.io.to_json"
    }
    assert calls == set()
