"""How a CSV file is written: which mark divides its columns, and how its text is encoded."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import zlib
from dataclasses import dataclass
from pathlib import Path

SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}  # other than the comma
HEAD = 2**16  # bytes that are looked at
LINES = 50  # of them, at most
UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


@dataclass(frozen=True)
class Dialect:
    """How a CSV file is written.

    Attributes:
        separator: what divides its columns.
        encoding: the name of a codec.
    """

    separator: str = ","
    encoding: str = "utf-8"

    @property
    def note(self) -> str:
        """For a person, what is not as usual; else empty."""
        parts = []
        if self.separator != ",":
            parts.append(f"columns divided by {SEPARATORS[self.separator]}")
        if self.encoding != "utf-8":
            parts.append(f"encoded as {self.encoding.upper()}")
        return ", ".join(parts)

    @property
    def prefers_comma(self) -> bool:
        """Whether commas are decimal marks where they could divide thousands too.

        Spreadsheets write semicolons where the comma is in the numbers.
        """
        return self.separator == ";"


def recognise_dialect(file: Path) -> Dialect:
    """How ``file`` is written, by its first lines; what is no text is UTF-8 with commas."""
    head = _head(file)
    encoding = "utf-16" if head.startswith(UTF16) else "utf-8"
    text = head.decode(encoding, errors="replace").removeprefix("\ufeff")
    whole = len(head) < HEAD
    lines = text.splitlines(keepends=True)[: LINES if whole else -1][:LINES]
    return Dialect(_separator(lines), encoding)


def _head(file: Path) -> bytes:
    """The first bytes; none where they cannot be read, which whoever reads the file says."""
    opened = gzip.open if file.name.lower().endswith(".gz") else open
    try:
        with opened(file, "rb") as stream:
            head: bytes = stream.read(HEAD)
    except (OSError, EOFError, zlib.error):
        return b""
    return head


def _separator(lines: list[str]) -> str:
    """The mark by which all lines have the same number of columns, and at least two.

    Where there is none, the only mark in the first line; else a comma.
    """
    for mark in SEPARATORS:
        counts = _counts(lines, mark)
        if counts and min(counts) == max(counts) > 1:
            return mark
    if lines and max(_counts(lines[:1], ","), default=0) < 2:
        return next((mark for mark in SEPARATORS if mark in lines[0]), ",")
    return ","


def _counts(lines: list[str], mark: str) -> list[int]:
    """How many columns each record has; none where a quote is never closed."""
    reader = csv.reader(io.StringIO("".join(lines), newline=""), delimiter=mark, strict=True)
    try:
        return [len(record) for record in reader if record]
    except csv.Error:
        return []
