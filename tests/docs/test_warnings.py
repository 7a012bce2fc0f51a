"""docs/operations.md lists every warning that the code can print, and no other."""

from __future__ import annotations

import re

import pytest

from tests import ROOT
from tests.docs import code_warnings

PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
SECTION = PAGE.partition("\n## Warnings\n")[2]
ROWS = [row.split(" | ") for row in re.findall(r"^\| (`.*) \|$", SECTION, re.MULTILINE)]
LISTED = [text for cells in ROWS for text in re.findall(r"`([^`]+)`", cells[0])]
WARNINGS = code_warnings.texts()


@pytest.mark.parametrize("text", sorted(WARNINGS))
def test_a_warning_of_the_code_is_listed(text: str) -> None:
    listed = any(is_part(text, each) for each in LISTED)
    assert listed, f"{WARNINGS[text]} can print it: say in docs/operations.md what to do then"


def test_what_is_listed_is_in_the_code() -> None:
    assert [each for each in LISTED if not any(is_part(text, each) for text in WARNINGS)] == []


def test_each_line_says_what_to_do() -> None:
    assert len(ROWS) > 60
    assert [row for row in ROWS if len(row) != 2 or len(row[1]) < 8] == []


def test_a_warning_of_unknown_wording_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(code_warnings.WORDED_IN, ("study/joining.py", "caution"))
    with pytest.raises(LookupError, match=r"study/joining\.py: who words 'caution'"):
        code_warnings.texts()


def is_part(text: str, listed: str) -> bool:
    """Whether a line that is listed has the text, apart from what is filled in."""
    parts = text.strip("… ").split(code_warnings.FILLED_IN)
    return re.search(".*".join(map(re.escape, parts)), listed) is not None
