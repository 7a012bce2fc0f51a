"""How results are written: numbers, times and parameters in few characters."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import click
from rich.cells import cell_len, set_cell_size

from hpo_job.spec.toml_text import in_toml

GAP = "  "  # between two columns
LEAST = 24  # width of the last, folded column where the others leave hardly any space


def number(value: float | None) -> str:
    """A metric's value in few characters: four decimals, or four significant digits."""
    if value is None or math.isnan(value):
        return "-"
    return f"{value:.4f}" if 1e-3 <= abs(value) < 1e4 or value == 0 else f"{value:.4g}"


def clock(time: float) -> str:
    """Seconds as a person says them: ``1h02m``, ``3m07s`` or ``41s``."""
    hours, rest = divmod(round(time), 3600)
    minutes, left = divmod(rest, 60)
    if hours:
        return f"{hours}h{minutes:02d}m"
    return f"{minutes}m{left:02d}s" if minutes else f"{left}s"


def settings(values: Mapping[str, Any]) -> str:
    """Parameters on one line, numbers shortened."""
    return " ".join(f"{name}={plain(value)}" for name, value in values.items())


def plain(value: Any) -> str:
    """One parameter or attribute, numbers shortened, as it could be typed."""
    if isinstance(value, float):
        return f"{value:.3g}"
    return in_toml(value)


def text_table(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    width: int,
    *,
    right: Sequence[bool] = (),
    bold: bool = False,
) -> str:
    """Lines of columns in at most ``width`` cells: the last column is folded where it must be.

    Ten thousand rows take a tenth of a second, where rich's tables take seconds.

    Args:
        header: the heading of each column.
        rows: a text for each column.
        width: of the terminal, in cells.
        right: which columns are flush right.
        bold: whether the heading is, on a terminal.
    """
    cells = [list(map(_one_line, row)) for row in (header, *rows)]
    sizes = [max(map(cell_len, column)) for column in zip(*cells, strict=True)]
    before = sum(sizes[:-1]) + len(GAP) * (len(sizes) - 1)
    if sizes and before + sizes[-1] > width:
        sizes[-1] = max(LEAST, width - before)
    flush = [*right, *[False] * len(sizes)]
    lines = []
    for position, row in enumerate(cells):
        *head, last = row
        start = "".join(
            _sized(cell, size, flush[i]) + GAP
            for i, (cell, size) in enumerate(zip(head, sizes, strict=False))
        )
        first, *more = _folded(last, sizes[-1])
        if flush[len(sizes) - 1]:
            first = _sized(first, sizes[-1], True)
        line = (start + first).rstrip()
        lines.append(click.style(line, bold=True) if bold and position == 0 else line)
        lines += [(" " * cell_len(start) + rest).rstrip() for rest in more]
    return "\n".join(lines)


def _one_line(text: str) -> str:
    # ANSI sequences and newlines of somebody's error message would spoil the columns
    return " ".join("".join(c if c.isprintable() else " " for c in text).split(" "))


def _sized(text: str, size: int, right: bool) -> str:
    return " " * (size - cell_len(text)) + text if right else text + " " * (size - cell_len(text))


def _folded(text: str, size: int) -> list[str]:
    """``text`` in lines of at most ``size`` cells, broken at spaces where there are any."""
    lines = []
    while cell_len(text) > size:
        part = set_cell_size(text, size).rstrip()
        if not text.startswith(part):  # a wide character was cut in two
            part = part[:-1]
        cut = text.rfind(" ", 1, len(part) + 1)
        cut = cut if cut > 0 else len(part)
        lines.append(text[:cut].rstrip())
        text = text[cut:].lstrip()
    return [*lines, text]


def sentence(text: str) -> str:
    """A remark with a capital letter and a full stop."""
    return text[:1].upper() + text[1:] + "."
