"""Text as people save it, and counts as people read them."""

from __future__ import annotations

import codecs
from pathlib import Path


def plural(count: int, one: str, several: str | None = None) -> str:
    """``count`` with its noun: 1 row, 2 rows."""
    return f"{count} {one if count == 1 else several or one + 's'}"


def one_line(text: object, limit: int = 300) -> str:
    """A text on one line, cut after ``limit`` characters."""
    line = " ".join(str(text or "").split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def read_text(file: Path) -> str:
    """The content of a text file: UTF-8, with or without a byte order mark, any line ends.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is something else than UTF-8; the message says how to fix it.
    """
    content = file.read_bytes()
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise ValueError("encoded as UTF-16; save it as UTF-8")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ValueError(f"line {line} is not UTF-8; save the file as UTF-8") from error
    if "\0" in text:
        line = text.partition("\0")[0].count("\n") + 1
        raise ValueError(f"line {line} has a null byte, which no text has; save it as UTF-8")
    return text.replace("\r\n", "\n").replace("\r", "\n")
