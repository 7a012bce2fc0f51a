"""Classes that look alike, and those that study.toml merges; in tables and in folders."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from hpo_job.data.findings import cautions
from hpo_job.data.images import read_image_folder
from hpo_job.data.labels import caution, folded
from hpo_job.data.tables import read_table
from hpo_job.errors import DataError
from hpo_job.spec.study_toml import Data

ALIKE = [
    ("yes", "yes "),
    ("yes", "Yes"),
    ("no", "\tno"),
    ("not spam", "not  spam"),
    ("not spam", "not_spam"),
    ("not-spam", "not\u2013spam"),
    ("caf\u00e9", "cafe\u0301"),
    ("etc", "etc."),
    ("ab", "a\u200bb"),
    ("a b", "a\u00a0b"),
    ("apple", "\u0430pple"),
    ("1", "1.0"),
    ("1", "01"),
    ("stra\u00dfe", "STRASSE"),
    ("\uff21", "a"),
]


@pytest.mark.parametrize(("one", "other"), ALIKE)
def test_alike(one: str, other: str) -> None:
    assert folded(one) == folded(other)
    line = caution(Counter({one: 3, other: 1}), ())
    assert line is not None and repr(one) in line and "[data] labels = { " in line
    assert caution(Counter({one: 3, other: 1}), (one, other)) is None


@pytest.mark.parametrize(
    ("one", "other"), [("cat", "cats"), ("1", "10"), ("a", "b"), ("caf\u00e9", "cafe"), ("-1", "2")]
)
def test_different(one: str, other: str) -> None:
    assert caution(Counter([one, other]), ()) is None


def test_classes_are_merged_in_a_table(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("x,y\n" + "1,yes\n2,yes \n3,Yes\n4,no\n" * 3)
    data = read_table(
        tmp_path / "t.csv", Data(path="-", valid_pct=0.5, label="y", features=("x",)), 1
    )
    assert any("look alike: 'Yes' (3) and 'yes' (3) and 'yes ' (3)" in c for c in cautions(data))
    assert [text.split("  ")[-1] for heading, text in data.described() if not heading] == [
        *("Yes", "no", "yes", "'yes '")
    ]
    names = {"yes ": "yes", "Yes": "yes"}
    merged = read_table(
        tmp_path / "t.csv", Data(path="-", valid_pct=0.5, label="y", labels=names), 1
    )
    assert merged.counts == {"yes": 9, "no": 3}
    assert not any("look alike" in line for line in cautions(merged))
    with pytest.raises(
        DataError, match=r"data\.labels: .*unknown class 'Yess'; did you mean 'Yes'"
    ):
        read_table(
            tmp_path / "t.csv", Data(path="-", valid_pct=0.5, label="y", labels={"Yess": "yes"}), 1
        )


def test_classes_are_merged_in_a_folder(images: Callable[..., Path]) -> None:
    folder = images({"cat": 3, "Cat": 3, "dog": 3})
    assert (
        "look alike: 'Cat' (3) and 'cat' (3)"
        in cautions(read_image_folder(folder, Data(path="-", valid_pct=0.5), 1))[0]
    )
    data = read_image_folder(folder, Data(path="-", valid_pct=0.5, labels={"Cat": "cat"}), 1)
    assert (data.counts, cautions(data)) == ({"cat": 6, "dog": 3}, ())
