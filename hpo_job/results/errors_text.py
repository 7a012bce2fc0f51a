"""What ``errors`` prints: the mistakes of a trial's model, as text or as records."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np

from hpo_job.errors import plural
from hpo_job.objectives.predictions import Predictions
from hpo_job.results.errors import (
    Item,
    by_class,
    calibration,
    confusion,
    mcnemar,
    worst,
    wrong_in_all,
)
from hpo_job.results.formatting import text_table

WORST = 10  # items that are listed
LONGEST_NAME = 18  # characters of a class name in a terminal
ITEM = ("true", "predicted", "prob.", "loss", "item")  # the columns of a table of items
NUMBERS = ("prob.", "loss")
MOST_CLASSES = 8  # with more, the most frequent confusions are listed instead of a matrix


def errors_text(
    title: str, predictions: Predictions, models: Sequence[Predictions], width: int
) -> str:
    """The mistakes of a model.

    Args:
        title: which model it is.
        predictions: its predictions.
        models: those of all kept models of the study, the best first.
        width: of the terminal.
    """
    parts = {title: ""}
    if predictions.classes:
        wrong = int(predictions.wrong.sum())
        parts[title] = f"wrong: {wrong} of {plural(len(predictions.items), 'validation item')}"
        if not predictions.has_label_sets:
            parts |= confusion_text(predictions, width)
        parts[by_heading(predictions)] = classes_text(predictions, width)
        parts["calibration"] = "\n".join(textwrap.wrap(calibration_text(predictions), width))
    else:
        mean = float(np.sqrt(predictions.losses.mean()))
        parts[title] = f"{plural(len(predictions.items), 'validation item')}, rmse {mean:.4g}"
    parts["worst items"] = items_text(worst(predictions, WORST), width)
    suspects = wrong_in_all(models)
    if suspects:
        heading = f"wrong in all {len(models)} kept models, with the same answer: check the labels"
        more = f"\nand {len(suspects) - WORST} more" if len(suspects) > WORST else ""
        parts[heading] = items_text(suspects[:WORST], width) + more
    wrapped = {"\n".join(textwrap.wrap(heading, width)): text for heading, text in parts.items()}
    return "\n\n".join(f"{heading}\n{text}" for heading, text in wrapped.items())


def errors_record(predictions: Predictions, models: Sequence[Predictions]) -> dict[str, Any]:
    """The same as a record, for JSON."""
    record: dict[str, Any] = {
        "items": len(predictions.items),
        "interval": predictions.interval,
        "worst": [vars(item) for item in worst(predictions, len(predictions.items))],
        "wrong_in_all": [vars(item) for item in wrong_in_all(models)],
    }
    if predictions.classes:
        record |= {
            "labels" if predictions.has_label_sets else "classes": by_class(predictions).to_dict(
                "index"
            ),
            "calibration_error": calibration(predictions).error,
        }
    if predictions.has_label_sets:
        record["threshold"] = predictions.threshold
    elif predictions.classes:
        table = confusion(predictions)
        record["confusion"] = {str(name): row.to_dict() for name, row in table.iterrows()}
    return record


def comparison_line(names: tuple[str, str], pair: tuple[Predictions, Predictions]) -> str:
    """What McNemar's test says of two models."""
    test = mcnemar(*pair)
    if test is None:
        return f"{names[0]} and {names[1]} have no validation items in common"
    verdict = "that is more than chance" if test.p < 0.05 else "that is within chance"
    return (
        f"of {test.items} items, only {names[0]} gets {test.only_first} right, only {names[1]} "
        f"{test.only_second}: {verdict} (McNemar's test, p = {test.p:.2g})"
    )


def confusions(predictions: Predictions) -> list[tuple[str, str, str]]:
    """Wrong answers, the most frequent first: true class, predicted class, how many items."""
    cells = confusion(predictions).to_numpy()
    counted = [
        (int(cells[row, column]), row, column)
        for row, column in zip(*cells.nonzero(), strict=True)
        if row != column
    ]
    names = predictions.classes
    ranked = sorted(counted, key=lambda each: -each[0])
    return [(names[row], names[column], str(count)) for count, row, column in ranked]


def confusion_text(predictions: Predictions, width: int) -> dict[str, str]:
    """By its heading the matrix, or the most frequent confusions where that is too wide."""
    table = confusion(predictions)
    header = ("true", *map(_short, table.columns))
    rows = [
        (_short(name), *map(str, row)) for name, row in zip(table.index, table.values, strict=True)
    ]
    needed = max(map(len, header)) + sum(len(name) + 2 for name in header[1:])
    if len(table) <= MOST_CLASSES and needed <= width:
        text = text_table(header, rows, width, right=(False, *[True] * len(table)), bold=True)
        return {"confusion: true classes in rows, predicted ones in columns": text}
    pairs = [
        (_short(true), _short(answer), n) for true, answer, n in confusions(predictions)[:WORST]
    ]
    text = text_table(
        ("true", "predicted", "items"), pairs, width, right=(False, False, True), bold=True
    )
    return {"most frequent confusions": text}


def _short(name: object, longest: int | None = LONGEST_NAME) -> str:
    """A class name in at most ``longest`` characters; one that was cut ends in a sign."""
    text = str(name)
    return text if longest is None or len(text) <= longest else f"{text[: longest - 1]}…"


def by_heading(predictions: Predictions) -> str:
    """The heading of the table of classes, or of labels and the threshold they are above."""
    if not predictions.has_label_sets:
        return "by class"
    return f"by label, predicted above a probability of {predictions.threshold:.3g}"


def classes_text(predictions: Predictions, width: int) -> str:
    """Precision, recall and F1 of each class."""
    name = "label" if predictions.has_label_sets else "class"
    header = (name, "items", "precision", "recall", "f1")
    return text_table(
        header, class_rows(predictions, LONGEST_NAME), width, right=(False, *[True] * 4), bold=True
    )


def class_rows(predictions: Predictions, longest: int | None = None) -> list[tuple[str, ...]]:
    """The rows of that table, the class with the lowest F1 first."""
    table = by_class(predictions).sort_values("f1", kind="stable")
    return [
        (
            _short(name, longest),
            f"{row['items']:.0f}",
            *(f"{row[k]:.3f}" for k in ("precision", "recall", "f1")),
        )
        for name, row in table.iterrows()
    ]


def calibration_text(predictions: Predictions) -> str:
    """How far probabilities are from the share of right answers."""
    known = calibration(predictions)
    answers, right = "the answers", "of them are right"
    if predictions.has_label_sets:
        answers, right = "the labels", "of them are there"
    return (
        f"the mean probability of {answers} is {known.probability:.3f}, and {known.accuracy:.3f} "
        f"{right}; expected calibration error {known.error:.3f}"
    )


def items_text(items: Sequence[Item], width: int) -> str:
    """Items, a row each."""
    if not items:
        return "none"
    header = item_header(items)
    rows = [item_row(item, header, LONGEST_NAME) for item in items]
    right = [name in NUMBERS for name in header[:-1]]
    return text_table(header, rows, width, right=right, bold=True)


def item_header(items: Sequence[Item]) -> tuple[str, ...]:
    """The columns of a table of items; a number or several labels have no probability."""
    return tuple(
        name for name in ITEM if name != "prob." or any(each.probability for each in items)
    )


def item_row(item: Item, header: Sequence[str], longest: int | None = None) -> tuple[str, ...]:
    """An item as the cells of a table with these columns, its name and text last."""
    probability = "-" if item.probability is None else f"{item.probability:.3f}"
    name = f"{item.name}: {item.text[:200]}" if item.text else item.name
    cells = (
        _short(item.target, longest),
        _short(item.answer, longest),
        probability,
        f"{item.loss:.3g}",
        name,
    )
    return tuple(cell for column, cell in zip(ITEM, cells, strict=True) if column in header)
