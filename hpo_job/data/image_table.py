"""Labelled image files that a table names: with a class, several labels or a number each."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from hpo_job.data import columns, label_sets, labels
from hpo_job.data.folder import NAMED
from hpo_job.data.image_targets import MeasuredFiles, MultiLabelFiles
from hpo_job.data.images import LabelledFiles
from hpo_job.data.parts import COLUMNS as PART_COLUMNS
from hpo_job.data.parts import Part, Parts, divide, read_parts
from hpo_job.data.split import Labels, require_classes
from hpo_job.data.targets import read_targets
from hpo_job.errors import DataError, plural
from hpo_job.spec.metrics import Task
from hpo_job.spec.study_toml import Data

if TYPE_CHECKING:
    import pandas as pd

ONE_PART = "names one part only"


def read_image_table(
    file: Path, data: Data, seed: int, task: Task = "classification"
) -> LabelledFiles:
    """The images in the rows of a table; their paths are relative to the table's folder.

    Args:
        file: the table.
        data: its columns, ``image`` and ``label``, and how its rows are divided.
        seed: what is drawn depends on this, the rows and ``data`` alone.
        task: whether the labels are classes, several labels each, or numbers.

    Raises:
        DataError: there is nothing to learn from, or a file is not there. The text begins with the
            key of [data] to blame.
    """
    rows = _rows(file, data)
    if task == "multilabel":
        return _with_label_sets(rows, data, seed)
    _require_named_once(file, rows.images)
    if task == "regression":
        return _with_numbers(rows, data, seed)
    return _with_classes(rows, data, seed)


@dataclass(frozen=True)
class _Rows:
    """What the rows of a table say.

    Attributes:
        file: the table.
        images: the image files, relative to its folder.
        cells: the columns of labels, as they are written.
        group: the column that says which rows belong together, or None.
        groups: the group of each row, where a column says it.
        parts: the part of each row, where a column says it.
        split: the column that says it.
    """

    file: Path
    images: list[str]
    cells: pd.DataFrame
    group: str | None
    groups: list[str] | None
    parts: list[Part] | None
    split: str | None

    def divided(self, data: Data, seed: int, classes: Labels | None) -> Parts:
        """The parts, as a column says or as they are drawn.

        Raises:
            DataError: the items cannot be divided that way; names the key of [data].
        """
        drawn_by = "group" if data.group and self.parts is None else "valid_pct"
        try:
            return divide(
                self.parts,
                f"column {self.split!r}",
                len(self.images),
                data.valid_pct,
                seed,
                classes,
                self.groups,
            )
        except DataError as error:
            key = "split" if self.parts else drawn_by
            raise DataError(f"data.{key}: {self.file}: {error}") from error

    def keys(self, parts: Parts) -> dict[str, Any]:
        """The arguments that all kinds of labelled files share."""
        return {
            "root": self.file.parent,
            "files": tuple(self.images),
            "train": parts.train,
            "valid": parts.valid,
            "test": parts.test,
            "source": parts.source,
            "table": self.file,
            "group": self.group,
        }


def _rows(file: Path, data: Data) -> _Rows:
    assert data.image is not None  # `require_keys` has seen them
    assert data.label is not None
    try:
        known = columns.names(file)
    except DataError as error:
        raise DataError(f"data.path: {error}") from error
    names = [data.label] if isinstance(data.label, str) else list(data.label)
    used = {data.image, data.group, *names}
    split = data.split or _candidate(known, used) if data.split is not False else None
    roles = {"image": data.image, "group": data.group, "split": split}
    wanted = [(key, name) for key, name in roles.items() if name is not None]
    for key, name in [*wanted, *(("label", name) for name in names)]:
        columns.require(file, key, name, known)
    needed = list(dict.fromkeys([*(name for _, name in wanted), *names]))
    try:
        cells = columns.read(file, needed, needed)
    except DataError as error:
        raise DataError(f"data.path: {error}") from error
    cells = cells.apply(lambda column: column.str.strip())
    images = cells[data.image].tolist()
    if not images:
        raise DataError(f"data.path: {file}: no rows in it")
    for key in ("image", "group"):
        if (column := roles[key]) is not None:
            _require_filled(file, key, column, cells[column].tolist())
    _require_files(file, images)
    groups = None if data.group is None else cells[data.group].tolist()
    parts = None if split is None else _parts(file, data, split, cells[split].tolist())
    return _Rows(file, images, cells[names], data.group, groups, parts, split)


def _with_classes(rows: _Rows, data: Data, seed: int) -> LabelledFiles:
    column = str(rows.cells.columns[0])
    cells = rows.cells[column].tolist()
    _require_filled(rows.file, "label", column, cells)
    try:
        classes = labels.merge(cells, data.labels)
        require_classes(classes, "image")
    except DataError as error:
        raise DataError(f"data.label: {rows.file}: {error}") from error
    parts = rows.divided(data, seed, classes)
    cautions = _cautions(data, [(name,) for name in classes], parts, rows.groups, "is of class")
    return LabelledFiles(labels=tuple(classes), folder_cautions=tuple(cautions), **rows.keys(parts))


def _with_label_sets(rows: _Rows, data: Data, seed: int) -> MultiLabelFiles:
    try:
        sets, delimiter = _sets(rows.cells, data)
        if data.labels:
            every = sorted({label for each in sets for label in each})
            renamed = dict(zip(every, labels.merge(every, data.labels), strict=True))
            sets = [label_sets.sorted_set(renamed[label] for label in each) for each in sets]
        rows, sets = _one_row_each(rows, sets)
        label_sets.require_label_sets(sets)
        delimiter = _outside_names(delimiter, sets)
    except DataError as error:
        raise DataError(f"data.label: {rows.file}: {error}") from error
    parts = rows.divided(data, seed, sets)
    cautions = _cautions(data, sets, parts, rows.groups, "has label")
    return MultiLabelFiles(
        labels=tuple(delimiter.join(each) for each in sets),
        folder_cautions=tuple(cautions),
        delimiter=delimiter,
        **rows.keys(parts),
    )


def _outside_names(delimiter: str, sets: Sequence[label_sets.LabelSet]) -> str:
    """The delimiter, or another one where it is in a label's name, as study.toml renames it."""
    names = {name for each in sets for name in each}
    usable = (
        each
        for each in (delimiter, *label_sets.DELIMITERS)
        if not any(each in name for name in names)
    )
    return next(usable, "\n")


def _sets(cells: pd.DataFrame, data: Data) -> tuple[list[label_sets.LabelSet], str]:
    """The labels of each row, and what divides them where they are written in one cell."""
    if isinstance(data.label, tuple):
        sets = label_sets.of_columns(cells, data.label)
        return sets, label_sets.DELIMITERS[0]
    texts = cells[cells.columns[0]].tolist()
    delimiter = data.label_delim or label_sets.delimiter_of(texts)
    return label_sets.split_cells(texts, delimiter), delimiter


def _with_numbers(rows: _Rows, data: Data, seed: int) -> MeasuredFiles:
    column = str(rows.cells.columns[0])
    cells = rows.cells[column].tolist()
    _require_filled(rows.file, "label", column, cells)
    values = read_targets(rows.file, rows.cells[column], data)
    parts = rows.divided(data, seed, None)
    cautions = _cautions(data, [()] * len(cells), parts, rows.groups, "")
    return MeasuredFiles(
        labels=tuple(cells),
        values=values,
        column=column,
        folder_cautions=tuple(cautions),
        **rows.keys(parts),
    )


def _one_row_each(
    rows: _Rows, sets: list[label_sets.LabelSet]
) -> tuple[_Rows, list[label_sets.LabelSet]]:
    """The rows of one image as one row, with all their labels.

    Raises:
        DataError: they differ in their group or their part.
    """
    members: dict[PurePosixPath, list[int]] = {}
    for row, name in enumerate(rows.images):
        members.setdefault(PurePosixPath(name), []).append(row)
    first = [group[0] for group in members.values()]
    for key, column in (("group", rows.groups), ("part", rows.parts)):
        for image, group in members.items():
            if column and len({column[row] for row in group}) > 1:
                raise DataError(f"{image} is in several rows, which differ in their {key}")
    one = replace(
        rows,
        images=[rows.images[row] for row in first],
        groups=rows.groups and [rows.groups[row] for row in first],
        parts=rows.parts and [rows.parts[row] for row in first],
    )
    joint = [
        label_sets.sorted_set(label for row in group for label in sets[row])
        for group in members.values()
    ]
    return one, joint


def _candidate(known: Sequence[str], used: set[str | None]) -> str | None:
    """A column that is called as one which says the part, and is nothing else."""
    return next((n for n in known if n.casefold() in PART_COLUMNS and n not in used), None)


def _parts(file: Path, data: Data, split: str, cells: list[str]) -> list[Part] | None:
    """The part of every row, where a column says it."""
    parts = read_parts(split, cells)
    if isinstance(parts, list) and "train" in parts and len(set(parts)) > 1:
        return parts
    if not data.split:
        return None
    wrong = f"holds {parts!r}" if isinstance(parts, str) else ONE_PART
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
    """Check that each image is there."""
    missing = [name for name in dict.fromkeys(names) if not (file.parent / name).is_file()]
    if missing:
        listed = ", ".join(missing[:NAMED]) + (", ..." if len(missing) > NAMED else "")
        raise DataError(
            f"data.image: {file}: {len(missing)} of {plural(len(names), 'image')} not found next "
            f"to the table: {listed}; paths are relative to {file.parent}{os.sep}"
        )


def _require_named_once(file: Path, names: Sequence[str]) -> None:
    twice = [n for n, c in Counter(PurePosixPath(name) for name in names).items() if c > 1]
    if twice:
        raise DataError(
            f"data.image: {file}: {twice[0]} is in several rows; give each image one row, or use "
            "objective image_multilabel for several labels each"
        )


def _cautions(
    data: Data,
    sets: Sequence[tuple[str, ...]],
    parts: Parts,
    groups: Sequence[str] | None,
    verb: str,
) -> Iterator[str]:
    kept = {*(data.labels or {}), *(data.labels or {}).values()}
    counts = Counter(name for each in sets for name in each)
    if line := labels.caution(counts, kept):
        yield line
    learnt = {name for position in parts.train for name in sets[position]}
    new = sorted({name for position in parts.valid for name in sets[position]} - learnt)
    if new:
        yield f"no training image {verb} {', '.join(map(repr, new))}: no model can learn it"
    everywhere = [
        name for name, count in counts.items() if verb == "has label" and count == len(sets)
    ]
    if everywhere:
        named = ", ".join(map(repr, everywhere))
        yield f"every image has label {named}: nothing can be learnt of it; leave it out"
    if groups is not None:
        both = {groups[n] for n in parts.train} & {groups[n] for n in parts.valid}
        if both:
            yield (
                f"{plural(len(both), 'group')} of {data.group!r} in training and in validation, "
                f"such as {min(both)!r}: {parts.source} says so"
            )
