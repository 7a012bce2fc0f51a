"""Labelled image files that a table names: a row for each, with its class, group and part."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from hpo_job.data import columns, labels
from hpo_job.data.images import LabelledFiles
from hpo_job.data.parts import COLUMNS as PART_COLUMNS
from hpo_job.data.parts import Part, Parts, divide, read_parts
from hpo_job.data.split import require_classes
from hpo_job.errors import DataError, plural
from hpo_job.spec.study_toml import Data

NAMED = 3  # files that a line names


def read_image_table(file: Path, data: Data, seed: int) -> LabelledFiles:
    """The images in the rows of a table; their paths are relative to the table's folder.

    Args:
        file: The table.
        data: Its columns, ``image`` and ``label``, and how its rows are divided.
        seed: What is drawn depends on this, the rows and ``data`` alone.

    Raises:
        DataError: There is nothing to learn from, or a file is not there. The text begins with the
            key of [data] to blame.
    """
    assert data.image is not None  # `require_keys` has seen them
    assert data.label is not None
    try:
        known = columns.names(file)
    except DataError as error:
        raise DataError(f"data.path: {error}") from error
    roles = {"image": data.image, "label": data.label, "group": data.group}
    split = data.split or _candidate(known, roles) if data.split is not False else None
    wanted = {key: name for key, name in {**roles, "split": split}.items() if name is not None}
    for key, name in wanted.items():
        columns.require(file, key, name, known)
    try:
        cells = columns.read(file, list(dict.fromkeys(wanted.values())), wanted.values())
    except DataError as error:
        raise DataError(f"data.path: {error}") from error
    texts = {key: [cell.strip() for cell in cells[name]] for key, name in wanted.items()}
    if not texts["image"]:
        raise DataError(f"data.path: {file}: no rows in it")
    for key in (key for key in ("image", "label", "group") if key in texts):
        _require_filled(file, key, wanted[key], texts[key])
    _require_files(file, texts["image"])
    try:
        classes = labels.merge(texts["label"], data.labels)
        require_classes(classes, "image")
    except DataError as error:
        raise DataError(f"data.label: {file}: {error}") from error
    named = _parts(file, data, split, texts)
    try:
        key = "group" if data.group and named is None else "split" if named else "valid_pct"
        parts = divide(
            named,
            f"column {split!r}",
            len(classes),
            data.valid_pct,
            seed,
            classes,
            texts.get("group"),
        )
    except DataError as error:
        raise DataError(f"data.{key}: {file}: {error}") from error
    return LabelledFiles(
        file.parent,
        tuple(texts["image"]),
        tuple(classes),
        parts.train,
        parts.valid,
        parts.test,
        parts.source,
        table=file,
        folder_cautions=tuple(_cautions(data, classes, parts, texts)),
    )


def _candidate(known: Sequence[str], roles: dict[str, str | None]) -> str | None:
    """A column that is called as one which says the part, and is nothing else."""
    used = set(roles.values())
    return next((n for n in known if n.casefold() in PART_COLUMNS and n not in used), None)


def _parts(
    file: Path, data: Data, split: str | None, texts: dict[str, list[str]]
) -> list[Part] | None:
    """The part of every row, where a column says it."""
    if split is None:
        return None
    parts = read_parts(split, texts["split"])
    if isinstance(parts, list) and "train" in parts and len(set(parts)) > 1:
        return parts
    if not data.split:
        return None
    wrong = f"holds {parts!r}" if isinstance(parts, str) else "names one part only"
    raise DataError(
        f"data.split: {file}: column {split!r} {wrong}; expected train, valid and test, or true "
        "for rows of validation"
    )


def _require_filled(file: Path, key: str, column: str, cells: Sequence[str]) -> None:
    empty = [row for row, cell in enumerate(cells, 1) if not cell]
    if empty:
        raise DataError(
            f"data.{key}: {file}: column {column!r}: empty in {plural(len(empty), 'row')}, the "
            f"first is row {empty[0]} below the header; fill or remove"
        )


def _require_files(file: Path, names: Sequence[str]) -> None:
    """Check that each image is there, and is named once."""
    missing = [name for name in names if not (file.parent / name).is_file()]
    if missing:
        listed = ", ".join(missing[:NAMED]) + (", ..." if len(missing) > NAMED else "")
        raise DataError(
            f"data.image: {file}: {len(missing)} of {plural(len(names), 'image')} not found next "
            f"to the table: {listed}; paths are relative to {file.parent}{os.sep}"
        )
    twice = [n for n, c in Counter(PurePosixPath(name) for name in names).items() if c > 1]
    if twice:
        raise DataError(
            f"data.image: {file}: {twice[0]} is in several rows; give each image one row (images "
            "with several labels each are not supported)"
        )


def _cautions(
    data: Data, classes: Sequence[str], parts: Parts, texts: dict[str, list[str]]
) -> Iterator[str]:
    kept = {*(data.labels or {}), *(data.labels or {}).values()}
    if line := labels.caution(Counter(classes), kept):
        yield line
    learnt = {classes[position] for position in parts.train}
    new = sorted({classes[position] for position in parts.valid} - learnt)
    if new:
        yield f"no training image is of class {', '.join(map(repr, new))}: no model can learn it"
    if groups := texts.get("group"):
        both = {groups[n] for n in parts.train} & {groups[n] for n in parts.valid}
        if both:
            yield (
                f"{plural(len(both), 'group')} of {data.group!r} in training and in validation, "
                f"such as {min(both)!r}: {parts.source} says so"
            )
