"""Counts as people read them, and text files as people save them."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpo_job.errors import binary_size, plural
from hpo_job.machine import read_text


@pytest.mark.parametrize("count", [0, 1, 2])
def test_plural(count: int) -> None:
    assert plural(count, "row") == ("1 row" if count == 1 else f"{count} rows")
    assert plural(count, "study", "studies") == ("1 study" if count == 1 else f"{count} studies")


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (15.3 * 2**30, "15.3 GiB"),
        (120 * 2**20, "120 MiB"),
        (5000 * 2**40, "5000 TiB"),
    ],
)
def test_sizes(count: float, text: str) -> None:
    assert binary_size(count) == text


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_text_is_the_same_however_it_is_saved(tmp_path: Path, encoding: str, end: str) -> None:
    file = tmp_path / "a.txt"
    file.write_bytes(f"größe{end}x{end}".encode(encoding))
    assert read_text(file) == "größe\nx\n"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("a\nb".encode("utf-16"), "encoded as UTF-16; save it as UTF-8"),
        ("a\nb".encode("utf-16-be"), "line 1 has a null byte, which no text has"),
        (b"a\ngr\xf6\xdfe\n", "line 2 is not UTF-8; save the file as UTF-8"),
        (b"a\nb\0\n", "line 2 has a null byte, which no text has"),
    ],
)
def test_what_is_no_utf8_is_refused(tmp_path: Path, content: bytes, problem: str) -> None:
    file = tmp_path / "a.txt"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=problem):
        read_text(file)
