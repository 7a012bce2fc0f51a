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


def with_remark(text: str, header: str, remark: str) -> str:
    """``text`` of a study.toml with a comment at the head of a table; at the end without one."""
    lines, comment = text.splitlines(), _comment(remark)
    for position, line in enumerate(lines):
        if line.split("#")[0].strip() == header:
            return "\n".join([*lines[: position + 1], *comment, *lines[position + 1 :]]) + "\n"
    return "\n".join([*lines, "", *comment]) + "\n"


def with_value(text: str, header: str, key: str, value: Any) -> str:
    """``text`` with the suggested (commented) line of ``key`` in a table changed to this value."""
    table, lines = "", []
    for line in text.splitlines():
        table = line.split("#")[0].strip() if line.startswith("[") else table
        if table == header and line.startswith(f"# {key} = "):
            _, _, why = line.removeprefix("# ").partition(" # ")
            line = f"{f'# {key} = {toml(value)}':<{COLUMN}} # {why.strip()}"
        lines.append(line)
    return "\n".join(lines) + "\n"
