"""What ``predict`` prints: the answers for each item, and how often each was given."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len

from hpo_job.artifacts.inference import ANSWER, ITEM, class_columns
from hpo_job.errors import plural
from hpo_job.results import number, text_table
from hpo_job.results.columns import shortened
from hpo_job.results.formatting import GAP
from hpo_job.results.frames import frame_rows
from hpo_job.results.writing import Row

if TYPE_CHECKING:
    import pandas as pd

    from hpo_job.artifacts.inference import Model

FEWEST = 5  # items, from which a summary says more than the items


def records(table: pd.DataFrame, model: Model) -> list[Row]:
    """The predictions for JSON: several labels as a list."""
    rows = frame_rows(table)
    if model.threshold is None:
        return rows
    return [{**row, ANSWER: model.labels_in(str(row[ANSWER]))} for row in rows]


def predictions_text(
    table: pd.DataFrame,
    top: int,
    width: int,
    threshold: float | None = None,
    labels_in: Callable[[str], list[str]] = str.split,
) -> str:
    """The predictions as lines of at most ``width`` columns.

    Args:
        table: as `Model.predict` returns it.
        top: how many classes are shown for each item.
        width: columns of the terminal.
        threshold: above which a label is predicted, where items have several: then all such labels
            are shown.
        labels_in: the labels in a cell of ``prediction``.
    """
    items = [name for name in ITEM if name in table.columns]
    classes = class_columns(table)
    rows = []
    for _, row in table.iterrows():
        names = [str(row[name]) for name in items]
        rows.append((*names, _answer(row, classes, top, threshold)))
    header = (*items, _heading(classes, top, threshold))
    rows = _with_short_files(header, rows, width)
    right = tuple(name == "row" for name in items)
    text = text_table(header, rows, width, right=right, bold=True)
    if len(table) < FEWEST:
        return text
    if threshold is None:
        return f"{text}\n\n{_summary(table, classes)}"
    labels = [labels_in(answer) for answer in map(str, table[ANSWER])]
    counts = Counter(label for each in labels for label in each or ["none"])
    return f"{text}\n\n{_counted(counts, len(table))}"


def _heading(classes: list[str], top: int, threshold: float | None) -> str:
    if threshold is not None:
        return f"{ANSWER}, above {threshold:.3g}"
    return f"{ANSWER}, the {min(top, len(classes))} likeliest" if classes else ANSWER


def _with_short_files(
    header: tuple[str, ...], rows: list[tuple[str, ...]], width: int
) -> list[tuple[str, ...]]:
    """The rows with paths that leave room for the other columns; half of the width at least."""
    others = [max(map(cell_len, column)) for column in zip(header, *rows, strict=True)][1:]
    space = max(width // 2, width - sum(others) - len(GAP) * len(others))
    return [(shortened(file, space), *rest) for file, *rest in rows]


def _answer(row: pd.Series[Any], classes: list[str], top: int, threshold: float | None) -> str:
    if not classes:
        return number(float(row[ANSWER]))
    shares = sorted(((float(row[name]), name) for name in classes), key=lambda pair: -pair[0])
    if threshold is not None:
        top = sum(share > threshold for share, _ in shares)
        if not top:
            share, name = shares[0]
            return f"none; likeliest {name} {share:.4f}"
    return ", ".join(f"{name} {share:.4f}" for share, name in shares[:top])


def _summary(table: pd.DataFrame, classes: list[str]) -> str:
    total = len(table)
    if not classes:
        values = table[ANSWER]
        low, middle, high = (number(float(values.quantile(share))) for share in (0, 0.5, 1))
        return f"{plural(total, 'item')}: {low} to {high}, median {middle}"
    return _counted(Counter(map(str, table[ANSWER])), total)


def _counted(counts: Counter[str], total: int) -> str:
    lines = [f"{n:>7}  {n / total:>4.0%}  {name}" for name, n in counts.most_common()]
    return "\n".join([f"{plural(total, 'item')}", *lines])
