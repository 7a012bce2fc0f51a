"""A study.toml as it is written for a person: every line with what it means."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from hpo_job.spec.toml_text import toml, toml_key

WIDTH = 100  # columns of a line with its comment
COLUMN = 40  # at which comments begin, where there is room
TEXT = 76  # columns of a comment above a line


@dataclass(frozen=True)
class Line:
    """A key, its value, and what it means; without a value, a remark with an example."""

    key: str
    value: Any
    why: str
    suggested: bool = False  # written as a comment: for the user to switch on


@dataclass
class Table:
    """A table of study.toml; ``header`` as ``[budget]`` or ``[[enqueue]]``, empty at the top."""

    header: str
    why: str = ""
    lines: list[Line] = field(default_factory=list)

    def add(self, key: str, value: Any, why: str, *, suggested: bool = False) -> None:
        """Append a line."""
        self.lines.append(Line(key, value, why, suggested))


def document(head: str, tables: list[Table]) -> str:
    """The text of a study.toml."""
    blocks = ["\n".join(_comment(head))]
    for table in tables:
        lines = [*_comment(table.why)] if table.why else []
        lines += [table.header] if table.header else []
        lines += [part for line in table.lines for part in _written(line)]
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks) + "\n"


def _written(line: Line) -> Iterator[str]:
    text = f"{toml_key(line.key)} = {toml(line.value)}"
    if line.suggested:
        text = f"# {text}"
    padded = f"{text:<{COLUMN}} # {line.why}"
    if len(padded) <= WIDTH:
        yield padded
        return
    yield from _comment(line.why)
    yield text


def _comment(text: str) -> list[str]:
    return [f"# {line}" for line in textwrap.wrap(text, TEXT, break_on_hyphens=False)]
