"""Small pieces of messages: numbers with their nouns, texts on one line."""

from __future__ import annotations


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """A number with its noun: ``1 worker``, ``2 workers``."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def one_line(text: object, limit: int = 300) -> str:
    """A text on one line, cut after ``limit`` characters."""
    line = " ".join(str(text or "").split())
    return line if len(line) <= limit else line[: limit - 1] + "…"
