"""What a table of images says of each: a class, several labels, or a number."""

from __future__ import annotations

import glob
import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from hpo_job.data import label_sets
from hpo_job.data.kinds import recognise
from hpo_job.data.parts import COLUMNS as PART_COLUMNS
from hpo_job.errors import DataError
from hpo_job.spec.metrics import Task

if TYPE_CHECKING:
    import pandas as pd

OBJECTIVES = ("image_classification", "image_multilabel", "image_regression")
IMAGES = 20  # cells of a column that have to name images next to the table
SEVERAL = 0.05  # share of the cells that have several labels, at least
LABELS = 60  # different labels, at most
# Names of a column of labels; where there is one, no other column is taken for sets of labels
CALLED = ("label", "labels", "class", "category", "target")
DELIMITERS = (*label_sets.DELIMITERS, " ")


def image_column(file: Path, cells: pd.DataFrame) -> str | None:
    """The column that names image files next to the table; None where there is none.

    Raises:
        DataError: a column names image files that are not where it says.
    """
    suffixes = Image.registered_extensions()
    for name in map(str, cells.columns):
        first = cells[name].dropna().head(IMAGES)
        paths = [file.parent / cell for cell in first if isinstance(cell, str)]
        if paths and all(p.suffix.lower() in suffixes and p.is_file() for p in paths):
            return name
    _refuse_images_elsewhere(file, cells)
    return None


def _refuse_images_elsewhere(file: Path, cells: pd.DataFrame) -> None:
    """Say which column names image files, which of them is not there, and where it may be."""
    suffixes = Image.registered_extensions()
    for name in map(str, cells.columns):
        texts = [cell for cell in cells[name].dropna().head(IMAGES) if isinstance(cell, str)]
        named = [text for text in texts if Path(text.strip()).suffix.lower() in suffixes]
        missing = [text for text in named if not (file.parent / text).is_file()]
        if len(named) < len(texts) / 2 or not missing:
            continue
        elsewhere = next(file.parent.glob(f"*/{glob.escape(Path(missing[0]).name)}"), None)
        place = f" (it is in {elsewhere.parent}{os.sep})" if elsewhere else ""
        raise DataError(
            f"{file}: column {name!r} names image files, but {missing[0]} is not there{place}; "
            f"write the paths relative to {file.parent}{os.sep}, or move the table to its images"
        )


def label_sets_column(cells: pd.DataFrame, image: str) -> str | None:
    """The column whose cells hold several labels; None where there is none."""
    names = [name for name in map(str, cells.columns) if name != image]
    called = [name for name in names if name.casefold() in CALLED]
    return next((name for name in called or names if delimiter_of(cells[name])), None)


def delimiter_of(column: pd.Series[Any]) -> str | None:
    """What divides several labels in the cells of a column; None where they have one each.

    The labels have to be fewer than the cells' different contents, and to come again.
    """
    texts = [cell.strip() for cell in column.dropna() if isinstance(cell, str)]
    if not texts or _is_quantity(column):
        return None
    for delimiter in DELIMITERS:
        if sum(delimiter in text for text in texts) < SEVERAL * len(texts):
            continue
        counts = Counter(n for each in label_sets.split_cells(texts, delimiter) for n in each)
        again = sum(count > 1 for count in counts.values())
        if 1 < len(counts) <= min(LABELS, len(set(texts))) and again > len(counts) / 2:
            return delimiter
    return None


def indicator_columns(cells: pd.DataFrame, image: str) -> list[str] | None:
    """All columns of 0 and 1, where there are two or more, and nothing else could be a label."""
    others = [n for n in map(str, cells.columns) if n != image and n.casefold() not in PART_COLUMNS]
    names = [name for name in others if _is_indicator(cells[name])]
    classes = [name for name in others if name not in names and name.casefold() in CALLED]
    return names if len(names) > 1 and not classes else None


def objective_of(cells: pd.DataFrame, image: str, label: str | list[str]) -> str:
    """The objective that fits the labels."""
    if isinstance(label, list) or delimiter_of(cells[label]):
        return "image_multilabel"
    if cells.groupby(image)[label].nunique().max() > 1:  # a row for each label of an image
        return "image_multilabel"
    return "image_regression" if _is_quantity(cells[label]) else "image_classification"


def settings_of(cells: pd.DataFrame, label: str | list[str], task: Task) -> dict[str, Any]:
    """The other keys of [data] that say how the labels are written."""
    if task != "multilabel" or isinstance(label, list):
        return {}
    delimiter = delimiter_of(cells[label])
    return {} if delimiter is None else {"label_delim": delimiter}


def all_labels(cells: pd.DataFrame, label: str | list[str], delimiter: str | None) -> list[str]:
    """Every label of every image, as often as images have it; or the class of each."""
    if isinstance(label, list):
        return [name for each in label_sets.of_columns(cells, label) for name in each]
    texts = cells[label].str.strip().tolist()
    if delimiter is None:
        return texts
    return [name for each in label_sets.split_cells(texts, delimiter) for name in each]


def _is_indicator(column: pd.Series[Any]) -> bool:
    texts = {str(cell).strip().casefold() for cell in column.dropna()}
    known = {*label_sets.YES, *label_sets.NO}
    return bool(texts) and texts <= known and not texts.isdisjoint(label_sets.YES)


def _is_quantity(column: pd.Series[Any]) -> bool:
    try:
        return recognise(column).format.kind == "number"
    except DataError:
        return False
