"""The section of a report about the mistakes of the best model that was kept."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import optuna
from PIL import Image, ImageOps

from hpo_job.artifacts.predictions import Kept, kept_predictions
from hpo_job.errors import HpoJobError, plural
from hpo_job.objectives.predictions import Predictions
from hpo_job.report.blocks import Block, Heading, Note, Paragraph, Picture, Pictures, Table
from hpo_job.report.page import Page
from hpo_job.results import score
from hpo_job.results.errors import Item, confusion, worst, wrong_in_all
from hpo_job.results.errors_text import (
    MOST_CLASSES,
    NUMBERS,
    by_heading,
    calibration_text,
    class_rows,
    confusions,
    item_header,
    item_row,
)
from hpo_job.results.formatting import sentence

LISTED = 20  # items of each list
SIDE = 128  # pixels of an embedded image, at most


def errors_section(study: optuna.Study, page: Page, prefix: str, artifacts: str) -> None:
    """Confusion, classes, calibration and the worst items of the best kept model."""
    try:
        kept = kept_predictions(study, artifacts)
    except HpoJobError as error:
        page.section("Errors", f"{prefix}errors", Note(sentence(str(error))))
        return
    best = kept[0]
    predictions = best.predictions
    wrong = f"; {int(predictions.wrong.sum())} are wrong" if predictions.classes else ""
    page.section(
        "Errors",
        f"{prefix}errors",
        Paragraph(
            f"Trial #{best.trial.number}, {score(study, best.trial)}: {len(predictions.items)} "
            f"validation items{wrong}."
        ),
        *(_classes(predictions) if predictions.classes else ()),
        Heading("Worst items"),
        *_items(worst(predictions, LISTED), predictions),
        *_suspects(kept),
    )


def _classes(predictions: Predictions) -> list[Block]:
    name = "label" if predictions.has_label_sets else "class"
    return [
        *([] if predictions.has_label_sets else _confusion(predictions)),
        Heading(sentence(by_heading(predictions)).removesuffix(".")),
        Table(
            (name, "items", "precision", "recall", "F1"),
            class_rows(predictions),
            right=range(1, 5),
        ),
        Note(sentence(f"calibration: {calibration_text(predictions)}")),
    ]


def _confusion(predictions: Predictions) -> list[Block]:
    if len(predictions.classes) > MOST_CLASSES:
        pairs = confusions(predictions)[:LISTED]
        return [Heading("Confusion"), Table(("true", "predicted", "items"), pairs, right=(2,))]
    table = confusion(predictions)
    header = ("true \\ predicted", *map(str, table.columns))
    rows = [
        (str(name), *map(str, row)) for name, row in zip(table.index, table.to_numpy(), strict=True)
    ]
    return [Heading("Confusion"), Table(header, rows, right=range(1, len(header)))]


def _suspects(kept: Sequence[Kept]) -> list[Block]:
    models = [each.predictions for each in kept]
    items = wrong_in_all(models)
    if not items:
        return []
    count = plural(len(items), "item")
    return [
        Heading("Wrong in all kept models"),
        Note(
            f"{count} that all {len(models)} models get wrong with the same answer: check the "
            "labels."
        ),
        *_items(items[:LISTED], models[0]),
    ]


def _items(items: Sequence[Item], predictions: Predictions) -> list[Block]:
    """The items: as pictures where they are image files that this machine has."""
    if not items:
        return [Note("None.")]
    if not predictions.texts:
        pictures = [_picture(Path(predictions.root) / item.name, item) for item in items]
        known = [picture for picture in pictures if picture is not None]
        if len(known) == len(items):
            return [Pictures(known)]
    header = item_header(items)
    numbers = [position for position, name in enumerate(header) if name in NUMBERS]
    return [Table(header, [item_row(item, header) for item in items], right=numbers)]


def _picture(file: Path, item: Item) -> Picture | None:
    """A small copy of an image; None where it cannot be read here."""
    try:
        with Image.open(file) as image:
            small = ImageOps.exif_transpose(image).convert("RGB")
    except (OSError, ValueError):
        return None
    small.thumbnail((SIDE, SIDE))
    data = BytesIO()
    small.save(data, "JPEG", quality=80)
    encoded = base64.b64encode(data.getvalue()).decode()
    probability = "" if item.probability is None else f" {item.probability:.2f}"
    caption = f"{item.target}, predicted {item.answer}{probability}"
    return Picture(f"data:image/jpeg;base64,{encoded}", caption, item.name)
