"""What `check` says of a table: leaks, copies, marks for missing values, given parts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from hpo_job.data.findings import cautions, content_cautions
from hpo_job.data.tables import LabelledRows, read_table
from hpo_job.errors import DataError
from hpo_job.spec.study_toml import Data

N = 200
RNG = np.random.default_rng(0)
NOISE = pd.DataFrame(
    {"x": RNG.normal(size=N).round(4), "z": RNG.choice(list("abc"), N), "y": ["no", "yes"] * 100}
)
Read = Callable[..., LabelledRows]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Reads a table of `NOISE`, with other columns, as a study does."""

    def table(frame: pd.DataFrame = NOISE, regression: bool = False, **keys: Any) -> LabelledRows:
        frame.to_csv(tmp_path / "table.csv", index=False)
        data = Data(path="-", **({"label": "y"} | keys))
        return read_table(tmp_path / "table.csv", data, 1, regression=regression)

    return table


def lines(data: LabelledRows) -> str:
    return "\n".join((*cautions(data), *content_cautions(data)))


def test_nothing_to_say(read: Read) -> None:
    assert lines(read()) == ""


def test_row_numbers(read: Read) -> None:
    ordered = NOISE.sort_values("y")
    for numbers in (range(N), range(N, 0, -1), range(1000, 1000 + N)):
        assert "feature 'nr' counts the rows" in lines(read(ordered.assign(nr=numbers)))
    unnamed = read(ordered.assign(**{"Unnamed: 0": range(N)}))
    assert unnamed.features == ("x", "z") and unnamed.dropped == {"Unnamed: 0": "row numbers"}
    rising = np.cumsum(RNG.random(N) + 0.1)
    assert "'t' only rises or only falls from row to row" in lines(read(ordered.assign(t=rising)))
    assert "'t'" not in lines(read(NOISE.assign(t=rising)))  # the file is not sorted by the label


def test_ids(read: Read) -> None:
    ids = RNG.permutation(N) * 7 + 3
    assert "feature 'patient_id' has another number in every row" in lines(
        read(NOISE.assign(patient_id=ids))
    )
    assert "feature 'uid' is a category with 199 values in 200 rows" in lines(
        read(NOISE.assign(uid=[f"u{max(n, 10)}" for n in ids]))
    )
    assert lines(read(NOISE.assign(population=ids))) == ""


def test_a_feature_that_gives_the_label_away(read: Read) -> None:
    yes = NOISE["y"] == "yes"
    for leak in (
        yes * 40 + RNG.normal(size=N),
        np.where(yes, "discharged", "stays"),
        yes.astype(int),
    ):
        assert "feature 'leak' alone predicts 'y' nearly perfectly" in lines(
            read(NOISE.assign(leak=leak))
        )
    weak = yes + RNG.normal(size=N)
    assert lines(read(NOISE.assign(weak=weak))) == ""
    numbers = NOISE.assign(y=NOISE["x"] * 3 + 1, x=RNG.normal(size=N))
    for leak in (numbers["y"] * 2, np.exp(numbers["y"]), numbers["y"].rank()):
        assert "feature 'leak' alone predicts 'y' nearly" in lines(
            read(numbers.assign(leak=leak), regression=True)
        )
    assert lines(read(numbers, regression=True)) == ""


@pytest.mark.parametrize(
    ("mark", "count"),
    [(-999, 12), (9999, 3), (99, 5), (-1e6, 4), (2147483647, 1), (-77, 9), (1e20, 1)],
)
def test_marks_for_missing_values(read: Read, mark: float, count: int) -> None:
    ages = RNG.integers(0, 60, N) / 2
    ages[:count] = mark
    assert f"feature 'age': {mark:g} in " in lines(read(NOISE.assign(age=ages)))
    named = read(NOISE.assign(age=ages), missing={"age": [mark]})
    assert named.frame["age"].isna().sum() == count
    assert lines(named) == ""


def test_a_mark_next_to_another(read: Read) -> None:
    ages = RNG.integers(0, 60, N) / 2
    ages[:9], ages[9:18] = -999, 9999
    assert "is far from all others" in lines(read(NOISE.assign(age=ages)))


def test_dates_that_nobody_knew(read: Read) -> None:
    days = pd.date_range("1985-01-01", periods=N).strftime("%Y-%m-%d").to_numpy().copy()
    days[::10] = "1900-01-01"
    assert "1900-01-01 in 20 rows looks as if no date was known" in lines(
        read(NOISE.assign(day=RNG.permutation(days)))
    )


def test_a_huge_number(read: Read) -> None:
    values = np.linspace(0.5, 1.5, N)
    values[::5] = 1.7976931348623157e308
    data = read(NOISE.assign(huge=RNG.permutation(values)))
    assert "feature 'huge': 40 numbers as large as 1.79769e+308 taken for missing" in lines(data)
    assert data.frame["huge"].isna().sum() == 40
    with pytest.raises(DataError, match=r"'1\.79\S+' in row \d+ below the header is too large"):
        read(NOISE.assign(y=values), regression=True)


def test_categories_that_look_alike(read: Read) -> None:
    colours = RNG.choice(["red", "Red", "blue"], N)
    assert "feature 'c': categories that look alike: 'Red' and 'red'" in lines(
        read(NOISE.assign(c=colours))
    )


def test_copies_of_rows(read: Read) -> None:
    doubled = pd.concat([NOISE, NOISE.iloc[:60]], ignore_index=True)
    assert "validation rows also in training" in lines(read(doubled))
    torn = pd.concat([NOISE, NOISE.iloc[:60].assign(y="no")], ignore_index=True)
    assert "30 rows have copies with different labels" in lines(read(torn))
    few = pd.DataFrame({"a": RNG.integers(0, 2, N), "b": RNG.integers(0, 2, N), "y": NOISE["y"]})
    assert lines(read(few)) == ""  # of four combinations, all are there many times


def test_copies_of_texts(read: Read) -> None:
    texts = [f"The text of number {n}" for n in range(N)]
    assert lines(read(NOISE.assign(t=texts), text="t")) == ""
    texts[100:] = [f"THE  text of\u00a0number {n}" for n in range(100)]
    assert "validation texts also in training" in lines(read(NOISE.assign(t=texts), text="t"))


def test_texts_without_spaces(read: Read) -> None:
    japanese = ["今日は良い天気ですね" * 2 for _ in range(N)]
    data = read(NOISE.assign(t=japanese), text="t")
    assert (
        dict(data.described())["text"]
        == "t: 20 characters in a typical text; each is read as a word"
    )
    joined = ["thetextofthisrowisoneword" + str(n) for n in range(N)]
    assert "no spaces: it is one word for the model" in lines(
        read(NOISE.assign(t=joined), text="t")
    )


def test_a_column_that_says_the_part(read: Read) -> None:
    for name, cells in (
        ("is_valid", [n % 4 == 0 for n in range(N)]),
        ("split", ["valid" if n % 4 == 0 else "train" for n in range(N)]),
        ("Split", ["Dev" if n % 4 == 0 else "TRAIN" for n in range(N)]),
    ):
        data = read(NOISE.assign(**{name: cells}))
        assert data.valid.tolist() == list(range(0, N, 4))
        assert data.features == ("x", "z")
        assert dict(data.described())["validation"] == (
            f"50 rows, the same in every trial, by column '{name}'"
        )
        assert name in read(NOISE.assign(**{name: cells}), split=False).features
    named = NOISE.assign(fold=["test" if n % 5 == 0 else "train" for n in range(N)])
    data = read(named, split="fold")
    assert data.test.tolist() == list(range(0, N, 5))
    assert len(data.valid) == 32 and not set(data.valid) & set(data.test)
    assert "40 rows are held out: no trial sees them" in dict(data.described())["validation"]
    assert read(named).features == ("x", "z", "fold")


def test_a_column_that_does_not_say_it(read: Read) -> None:
    legs = NOISE.assign(split=RNG.choice(["left", "right"], N))
    assert read(legs).features == ("x", "z", "split")
    with pytest.raises(
        DataError, match=r"data\.split: .*column 'split' holds '(left|right)'; expec"
    ):
        read(legs, split="split")
    with pytest.raises(DataError, match=r"data\.split: .*names one part only"):
        read(NOISE.assign(split="train"), split="split")
    with pytest.raises(DataError, match=r"data\.split: .*unknown column 'fold'"):
        read(NOISE, split="fold")


def test_parts_that_tear_groups_and_classes(read: Read) -> None:
    frame = NOISE.assign(
        split=["valid" if n % 4 == 0 else "train" for n in range(N)],
        book=[n // 8 for n in range(N)],
    )
    frame.loc[0, "y"] = frame.loc[4, "y"] = "perhaps"
    said = lines(read(frame, group="book"))
    assert "in training and in validation: 25 groups of 'book', such as '0'" in said
    assert "no training item is of class 'perhaps': no model can learn it" in said


def test_rows_in_the_order_of_a_date(read: Callable[..., LabelledRows]) -> None:
    """The only date is no row number, though it counts days."""
    days = pd.date_range("2020-01-01", periods=60).strftime("%Y-%m-%d")
    frame = pd.DataFrame({"day": days, "x": np.arange(60) % 7 * 1.5, "y": np.arange(60) % 5 + 0.5})
    said = lines(read(frame, regression=True))
    assert "sorted by their date 'day'" in said and "counts the rows" not in said
    assert "sorted by their date" not in lines(read(frame.sample(frac=1), regression=True))
    parts = frame.assign(split=["train"] * 45 + ["valid"] * 15)
    assert "sorted by their date" not in lines(read(parts, regression=True))
