"""A study.toml as it is written for a person: every line with what it means."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import tomli_w

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


def toml(value: Any) -> str:
    """A value as TOML, in one line."""
    if isinstance(value, Mapping):
        pairs = ", ".join(f"{_key(key)} = {toml(each)}" for key, each in value.items())
        return f"{{ {pairs} }}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, float):
        return _number(value)
    return tomli_w.dumps({"x": value}).removeprefix("x = ").rstrip("\n")


def _key(key: str) -> str:
    return tomli_w.dumps({key: 0}).removesuffix(" = 0\n")


def _number(value: float) -> str:
    """As people write it: 1e-4 rather than 0.0001."""
    if value and (abs(value) < 1e-2 or abs(value) >= 1e6):
        mantissa, _, exponent = f"{value:e}".partition("e")
        short = f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"
        if float(short) == value:
            return short
    return repr(value)


def _written(line: Line) -> Iterator[str]:
    text = f"{_key(line.key)} = {toml(line.value)}"
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
