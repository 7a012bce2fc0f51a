"""What ``predict`` prints: the likeliest classes of each item, and how often each was predicted."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len

from hpo_job.artifacts.prediction import ANSWER, ITEM, class_columns
from hpo_job.errors import plural
from hpo_job.results import number, text_table
from hpo_job.results.columns import shortened
from hpo_job.results.formatting import GAP

if TYPE_CHECKING:
    import pandas as pd

FEWEST = 5  # items, from which a summary says more than the items


def predictions_text(table: pd.DataFrame, top: int, width: int) -> str:
    """The predictions as lines of at most ``width`` columns.

    Args:
        table: as `Model.predict` returns it.
        top: how many classes are shown for each item.
        width: columns of the terminal.
    """
    items = [name for name in ITEM if name in table.columns]
    classes = class_columns(table)
    rows = []
    for _, row in table.iterrows():
        names = [str(row[name]) for name in items]
        rows.append((*names, _answer(row, classes, top)))
    header = (*items, f"{ANSWER}, the {min(top, len(classes))} likeliest" if classes else ANSWER)
    rows = _with_short_files(header, rows, width)
    right = tuple(name == "row" for name in items)
    text = text_table(header, rows, width, right=right, bold=True)
    if len(table) < FEWEST:
        return text
    return f"{text}\n\n{_summary(table, classes)}"


def _with_short_files(
    header: tuple[str, ...], rows: list[tuple[str, ...]], width: int
) -> list[tuple[str, ...]]:
    """The rows with paths that leave room for the other columns; half of the width at least."""
    others = [max(map(cell_len, column)) for column in zip(header, *rows, strict=True)][1:]
    space = max(width // 2, width - sum(others) - len(GAP) * len(others))
    return [(shortened(file, space), *rest) for file, *rest in rows]


def _answer(row: pd.Series[Any], classes: list[str], top: int) -> str:
    if not classes:
        return number(float(row[ANSWER]))
    shares = sorted(((float(row[name]), name) for name in classes), key=lambda pair: -pair[0])
    return ", ".join(f"{name} {share:.4f}" for share, name in shares[:top])


def _summary(table: pd.DataFrame, classes: list[str]) -> str:
    total = len(table)
    if not classes:
        values = table[ANSWER]
        low, middle, high = (number(float(values.quantile(share))) for share in (0, 0.5, 1))
        return f"{plural(total, 'item')}: {low} to {high}, median {middle}"
    counts = Counter(map(str, table[ANSWER])).most_common()
    lines = [f"{count:>7}  {count / total:>4.0%}  {name}" for name, count in counts]
    return "\n".join([f"{plural(total, 'item')}", *lines])
