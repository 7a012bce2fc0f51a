"""What lies at a path: images, texts or a table; which column is what, and how it is divided."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from hpo_job.cli.proposal import image_tables
from hpo_job.data import columns, labels
from hpo_job.data.image_folder import list_images
from hpo_job.data.image_table import read_image_table
from hpo_job.data.images import LabelledFiles, read_image_folder
from hpo_job.data.kinds import recognise
from hpo_job.data.language import language_of
from hpo_job.data.language_models import ENGLISH
from hpo_job.data.parts import COLUMNS as PART_COLUMNS
from hpo_job.data.scripts import share_unspaced
from hpo_job.data.tables import LabelledRows, read_table, read_texts
from hpo_job.data.text_folder import LABEL, read_text_folder
from hpo_job.data.text_folder import SUFFIX as TEXT_SUFFIX
from hpo_job.errors import DataError
from hpo_job.objectives import SHIPPED
from hpo_job.spec.study_toml import Data

if TYPE_CHECKING:
    import pandas as pd

ROWS = 5000  # of a table that are looked at to tell its columns apart
WORDS = 6  # in a typical cell of a column of texts, at least
CHARACTERS = 20  # in one, where the script has no spaces
CLASSES = 50  # different values of a label that is taken for classes, at most
OTHER = "other"  # the class that classes with one item are merged into
# Names that people give to the column that is to be predicted, the likeliest first
LABELS = ("label", "labels", "target", "class", "category", "y", "klasse", "kategorie", "outcome")
GROUPS = ("group", "patient", "subject", "author", "book", "volume", "document", "address", "page")
SHARES = (0.2, 0.3, 0.4, 0.5)  # of validation; the first that can be drawn is taken
SMALL = 1000  # items below which more than a fifth is held out
SEED = 42


@dataclass(frozen=True)
class Look:
    """Data as a study would read it.

    Attributes:
        objective: the shipped objective that fits.
        data: the labelled items.
        settings: the [data] that read them, but for its path.
        reasons: why a key of [data] has its value, where it was guessed.
        groups: columns that may say which rows belong together.
    """

    objective: str
    data: LabelledFiles | LabelledRows
    settings: dict[str, Any]
    reasons: dict[str, str] = field(default_factory=dict)
    groups: tuple[str, ...] = ()


@dataclass(frozen=True)
class Wanted:
    """What the user said about the data; None where it is to be guessed."""

    label: str | None = None
    text: str | None = None
    objective: str | None = None


def look(path: Path, wanted: Wanted) -> Look:
    """Look at the folder of images or texts, or the table, at ``path``.

    Raises:
        DataError: it is neither, or no study could learn from it.
    """
    if path.is_dir():
        tables = sorted(file for file in path.iterdir() if columns.is_table(file))
        try:
            return _texts(path, wanted) if _holds_texts(path) else _images(path, wanted)
        except DataError as error:
            if not tables or any(file.is_dir() for file in path.iterdir()):
                raise
            names = ", ".join(file.name for file in tables[:5])
            raise DataError(f"--data {path}: {error}; its tables: {names}; name one") from error
    return _table(path, wanted)


def _images(root: Path, wanted: Wanted) -> Look:
    if wanted.label or wanted.text:
        raise DataError(
            f"--data {root}: a folder, whose folders are the classes; --label and --text are "
            "for tables"
        )
    _require_objective(root, "images", "image_classification", wanted)
    names = [label for _, label, _ in list_images(root, by_parts=True).files]
    settings = _merged(names)
    data, settings = _first_that_can_be_drawn(
        lambda data: read_image_folder(root, data, SEED), settings, len(names)
    )
    return Look("image_classification", data, settings)


def _require_objective(root: Path, items: str, objective: str, wanted: Wanted) -> None:
    if wanted.objective not in (None, objective):
        raise DataError(
            f"--objective {wanted.objective}: does not fit {root}, a folder of {items}; "
            f"use {objective}, or name a table with --data"
        )


def _holds_texts(root: Path) -> bool:
    """Whether folders below ``root`` hold text files, and none of them more images."""
    suffixes = Counter(file.suffix.lower() for file in root.glob("*/**/*") if file.is_file())
    images = sum(suffixes[suffix] for suffix in Image.registered_extensions())
    return suffixes[TEXT_SUFFIX] > images


def _texts(root: Path, wanted: Wanted) -> Look:
    if wanted.label or wanted.text:
        raise DataError(
            f"--data {root}: a folder, whose folders are the classes; --label and --text are "
            "for tables"
        )
    _require_objective(root, "texts", "text_classification", wanted)
    names = read_text_folder(root, by_parts=True)[0][LABEL].tolist()
    data, settings = _first_that_can_be_drawn(
        lambda data: read_texts(root, data, SEED), _merged(names), len(names)
    )
    reasons: dict[str, str] = {}
    settings |= _language(data.frame[data.text], reasons)
    return Look("text_classification", data, settings, reasons)


def _table(file: Path, wanted: Wanted) -> Look:
    known = columns.names(file)
    cells = columns.read(file, known).head(ROWS)
    if cells.empty:
        raise DataError(f"{file}: no rows in it")
    for name in (wanted.label, wanted.text):
        if name is not None:
            columns.require(file, "label" if name == wanted.label else "text", name, known)
    if wanted.objective in (None, *image_tables.OBJECTIVES) and (
        image := image_tables.image_column(file, cells)
    ):
        return _image_table(file, cells, image, wanted)
    if wanted.objective in image_tables.OBJECTIVES:
        raise DataError(
            f"--objective {wanted.objective}: no column of {file} names image files; their paths "
            "are relative to the table"
        )
    text = wanted.text or _text_column(cells, wanted)
    if text is None and wanted.objective == "text_classification":
        raise DataError(
            f"--objective {wanted.objective}: no column of {file} looks like texts; name it with "
            f"--text: {', '.join(known)}"
        )
    label, why = _label_column(file, cells, text, wanted)
    settings: dict[str, Any] = {"label": label}
    reasons = {"label": why}
    objective = _objective(cells[label], text, wanted)
    if objective == "text_classification":
        settings = {"text": text, **settings}
        reasons["text"] = "the column of texts"
    regression = objective == "tabular_regression"
    every_label = columns.read(file, [label], [label])[label].tolist()
    settings |= {} if regression else _merged(every_label)
    data, settings = _first_that_can_be_drawn(
        lambda data: read_table(file, data, SEED, regression=regression),
        settings,
        len(every_label),
    )
    if text is not None and objective == "text_classification":
        settings |= _language(data.frame[text], reasons)
    return Look(objective, data, settings, reasons, _groups(cells, label, text))


def _language(texts: pd.Series[Any], reasons: dict[str, str]) -> dict[str, str]:
    """[data] language of texts that are not English."""
    language = language_of(texts)
    if language is None or language.code == ENGLISH:
        return {}
    reasons["language"] = f"the language ({language.name}) whose rules split texts into words"
    return {"language": language.code}


def _image_table(file: Path, cells: pd.DataFrame, image: str, wanted: Wanted) -> Look:
    """Images that a table names: with a class, several labels or a number each."""
    several = wanted.label is None and wanted.objective in (None, "image_multilabel")
    columns_of_labels = image_tables.indicator_columns(cells, image) if several else None
    if several and (name := image_tables.label_sets_column(cells, image)):
        label: str | list[str] = name
        why = "the column of labels, several in a cell; another one: --label"
    elif columns_of_labels:
        label, why = columns_of_labels, "the columns of 0 and 1, one for each label"
    else:
        label, why = _label_column(file, cells.drop(columns=image), None, wanted)
    names = [label] if isinstance(label, str) else label
    every = columns.read(file, [image, *names], [image, *names])
    objective = wanted.objective or image_tables.objective_of(every, image, label)
    settings, task = {"image": image, "label": label}, SHIPPED[objective].task
    settings |= image_tables.settings_of(every, label, task)
    if task != "regression":
        delimiter = image_tables.delimiter_of(every[label]) if isinstance(label, str) else None
        divided_by = delimiter if task == "multilabel" else None
        settings |= _merged(image_tables.all_labels(every, label, divided_by))
    data, settings = _first_that_can_be_drawn(
        lambda data: read_image_table(file, data, SEED, task), settings, len(every)
    )
    reasons = {
        "image": "the column of image files, relative to the table",
        "label": why,
        "label_delim": "what divides the labels in a cell",
    }
    reasons = {key: why for key, why in reasons.items() if key in settings}
    return Look(objective, data, settings, reasons, _groups(cells, str(label), image))


def _first_that_can_be_drawn(
    read: Any, settings: dict[str, Any], count: int
) -> tuple[Any, dict[str, Any]]:
    """The data, and the settings with the first share of validation that holds every class."""
    shares = SHARES[1:] if count < SMALL else SHARES
    for share in shares:
        tried = {**settings, "valid_pct": share}
        try:
            data = read(Data.model_validate({"path": "data", **tried}))
        except DataError:
            if share == shares[-1]:
                raise
            continue
        classes = len(data.classes)
        if share == shares[-1] or _scored(data) >= classes:
            return data, tried
    raise AssertionError(shares)


def _scored(data: LabelledFiles | LabelledRows) -> int:
    """How many classes or labels have a validation item."""
    targets = data.targets[data.valid]
    return int(targets.any(axis=0).sum()) if targets.ndim == 2 else len(np.unique(targets))


def _merged(names: Sequence[str]) -> dict[str, Any]:
    """[data] labels that merge the classes of one item, which cannot be learnt and scored."""
    counts = Counter(names)
    lonely = [name for name, count in counts.items() if count == 1]
    if not lonely or len(counts) - len(lonely) < 1:
        return {}
    if len(lonely) == 1:  # the next rarest one goes with it
        lonely.append(min((n for n in counts if n not in lonely), key=lambda n: (counts[n], n)))
    if len(counts) - len(lonely) < 1:
        return {}
    other = OTHER
    while other in counts and other not in lonely:
        other += "_"
    return {"labels": dict.fromkeys(sorted(lonely), other)}


def _objective(label: pd.Series[Any], text: str | None, wanted: Wanted) -> str:
    if wanted.objective:
        return wanted.objective
    if text is not None:
        return "text_classification"
    return "tabular_regression" if _is_quantity(label) else "tabular_classification"


def _is_quantity(label: pd.Series[Any]) -> bool:
    """Whether a label is a number to be predicted rather than the number of a class."""
    try:
        return recognise(label).format.kind == "number"
    except DataError:
        return False


def _text_column(cells: pd.DataFrame, wanted: Wanted) -> str | None:
    """The column with the longest texts; None where none holds texts."""
    if wanted.objective not in (None, "text_classification"):
        return None
    lengths = {
        name: length
        for name in map(str, cells.columns)
        if name != wanted.label and (length := _text_length(cells[name]))
    }
    return max(lengths, key=lambda name: lengths[name]) if lengths else None


def _text_length(column: pd.Series[Any]) -> float:
    """The characters of a typical cell of a column of texts; 0 of any other column."""
    present = [cell for cell in column.dropna() if isinstance(cell, str)]
    if len(present) < len(column) / 2 or len(set(present)) < len(present) / 2:
        return 0
    characters = float(np.median([len(cell) for cell in present]))
    if share_unspaced(present) > 0.5:
        return characters if characters >= CHARACTERS else 0
    words = np.median([len(cell.split()) for cell in present])
    return characters if words >= WORDS else 0


def _label_column(
    file: Path, cells: pd.DataFrame, text: str | None, wanted: Wanted
) -> tuple[str, str]:
    """The column that is to be predicted, and why it was taken for it."""
    if wanted.label is not None:
        return wanted.label, "the column to predict"
    candidates = [
        name
        for name in map(str, cells.columns)
        if name != text
        and name.casefold() not in PART_COLUMNS
        and cells[name].nunique() > 1
        and cells[name].notna().all()
        and (_classes(cells[name]) or (text is None and _is_quantity(cells[name])))
    ]
    if wanted.objective in ("image_regression", "tabular_regression"):
        candidates = [name for name in candidates if _is_quantity(cells[name])] or candidates
    if not candidates:
        raise DataError(
            f"{file}: no column looks like one to predict; name it with --label: "
            f"{', '.join(map(str, cells.columns))}"
        )
    named = sorted(
        (LABELS.index(name.casefold()), name) for name in candidates if name.casefold() in LABELS
    )
    if named:
        return named[0][1], "the column to predict, by its name; another one: --label"
    return candidates[-1], "the column to predict: the last that can be; another one: --label"


def _classes(column: pd.Series[Any]) -> bool:
    """Whether the values of a column can be classes: few, and each several times."""
    return column.nunique() <= min(CLASSES, max(2, len(column) // 2)) and not (
        _is_quantity(column) and column.nunique() > len(column) / 10
    )


def _groups(cells: pd.DataFrame, label: str, text: str | None) -> tuple[str, ...]:
    """Columns that are called as ones that say which rows belong together, and repeat."""
    return tuple(
        name
        for name in map(str, cells.columns)
        if name not in (label, text)
        and labels.folded(name).removesuffix(" id") in GROUPS
        and 1 < cells[name].nunique() < len(cells)
        and cells[name].notna().all()
    )
