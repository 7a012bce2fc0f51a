"""A labelled table: its rows, what is told of each, and how they are split."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hpo_job.data import columns
from hpo_job.data.digests import fingerprint
from hpo_job.data.split import require_classes, sample, split
from hpo_job.errors import DataError

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class LabelledRows:
    """Rows of a table and their targets, drawn once into a training and a validation part.

    file: the table.
    frame: the rows, numbered from 0, with the columns ``features``, ``text`` and ``group`` (where
        there are any) and ``label``; as many as were sampled.
    targets: the class number of every row, int64, or the number to be predicted, float64.
    classes: the class names, sorted: a class's position is its number; empty for regression.
    categorical: the features that were said to be, though they may look like numbers.
    train, valid: positions of rows, ascending; every trial is scored on those of ``valid``.
    """

    file: Path
    frame: pd.DataFrame
    label: str
    text: str | None
    features: tuple[str, ...]
    categorical: tuple[str, ...]
    group: str | None
    targets: NDArray[np.int64] | NDArray[np.float64]
    classes: tuple[str, ...]
    train: NDArray[np.int64]
    valid: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def root(self) -> Path:
        """The file: where the data lies, as of every kind of data."""
        return self.file

    @property
    def counts(self) -> dict[str, int]:
        """Rows per class, the most frequent class first; empty for regression."""
        if not self.classes:
            return {}
        counts = np.bincount(self.targets.astype(np.int64), minlength=len(self.classes))
        order = np.argsort(-counts, kind="stable")
        return {self.classes[number]: int(counts[number]) for number in order}

    @property
    def unreadable(self) -> list[str]:
        """Nothing: a table that cannot be read is refused as a whole."""
        return []

    @property
    def cautions(self) -> tuple[str, ...]:
        """A line for each feature of which nothing can be learnt."""
        found = ((name, columns.useless(self.frame[name])) for name in self.features)
        return tuple(
            f"feature {name!r} {why}: nothing can be learnt of it; leave it out of [data] features"
            for name, why in found
            if why
        )

    def listing(self) -> str:
        """A digest of the file's content; whoever joins the study has read it anyway."""
        return fingerprint(self.file)

    def described(self) -> Iterator[tuple[str, str]]:
        """What a person is told of it, as (heading, text); a further line has no heading."""
        if self.classes:
            yield "data", f"{self.file}: {len(self)} rows in {len(self.classes)} classes"
            for name, count in self.counts.items():
                yield "", f"{count:>7}  {count / len(self):>4.0%}  {name}"
        else:
            low, middle, high = np.quantile(self.targets, [0, 0.5, 1])
            yield "data", f"{self.file}: {len(self)} rows"
            yield "target", f"{self.label}: {low:g} to {high:g}, median {middle:g}"
        if self.text is None:
            yield "features", f"{len(self.features)}: {', '.join(self.features)}"
        else:
            words = int(self.frame[self.text].str.count(r"\S+").median())
            yield "text", f"{self.text}: {words} words in a middling row"
        kept = f", {self.group} kept whole" if self.group else ""
        yield "validation", f"{len(self.valid)} rows, the same in every trial{kept}"


def read_table(
    file: Path,
    label: str,
    valid_pct: float,
    seed: int,
    *,
    regression: bool = False,
    text: str | None = None,
    features: Sequence[str] | None = None,
    categorical: Sequence[str] = (),
    group: str | None = None,
    size: int | None = None,
) -> LabelledRows:
    """Read a CSV, gzipped CSV or Parquet file, and draw the validation set.

    label: the column to be predicted: a class, or a number for ``regression``.
    text: the column of the text; then no features are read.
    features: the columns to learn from; all but the others named here where None.
    categorical: those of the features that are categories, though they look like numbers.
    group: rows that have the same value in this column are all in the same part.
    size: at most so many rows, drawn once; with classes, in their proportions.
    valid_pct, seed: the share held out, and what the draws depend on besides the rows.

    Raises DataError, its text beginning with the key of [data] that is to blame.
    """
    with _blaming("path"):
        known = columns.names(file)
    features = _features(file, known, label, text, features, group)
    for name in categorical:
        columns.require(file, "categorical", name, features)
    others = [name for name in (text, group) if name is not None]
    verbatim = {label, *others}
    with _blaming("path"):
        every = list(dict.fromkeys([*features, *others, label]))
        frame = columns.read(file, every, verbatim, set(categorical) - verbatim)
    if frame.empty:
        raise DataError(f"data.path: {file}: no rows in it")
    for name in features:
        if name not in categorical and columns.has_dates(frame[name]):
            raise DataError(
                f"data.features: {file}: {name!r} holds dates; make numbers of them, or leave out"
            )
    for key, column in (("label", label), ("text", text), ("group", group)):
        if column is not None:
            _require_filled(file, key, frame, column)
    if regression:
        frame[label] = _numbers(file, frame, label)
    names = None if regression else frame[label].tolist()
    if names is not None:
        with _blaming("label", file):
            require_classes(names, "row")
    if size is not None:
        with _blaming("sample", file):
            drawn = sample(len(frame), seed, names, size)
        frame = frame.iloc[drawn].reset_index(drop=True)
        names = None if regression else frame[label].tolist()
    with _blaming("group" if group else "valid_pct", file):
        groups = None if group is None else frame[group].tolist()
        train, valid = split(len(frame), valid_pct, seed, names, groups)
    classes = tuple(sorted(set(names or ())))
    number = {name: position for position, name in enumerate(classes)}
    targets = (
        frame[label].to_numpy(dtype=np.float64)
        if names is None
        else np.array([number[name] for name in names], dtype=np.int64)
    )
    return LabelledRows(
        file,
        frame,
        label,
        text,
        tuple(features),
        tuple(categorical),
        group,
        targets,
        classes,
        train,
        valid,
    )


@contextmanager
def _blaming(key: str, file: Path | None = None) -> Iterator[None]:
    """Let a DataError begin with the key of [data] that is to blame, and with the file."""
    try:
        yield
    except DataError as error:
        raise DataError(f"data.{key}: {f'{file}: ' if file else ''}{error}") from error


def _features(
    file: Path,
    known: Sequence[str],
    label: str,
    text: str | None,
    features: Sequence[str] | None,
    group: str | None,
) -> list[str]:
    """The feature columns: those named, else all that are nothing else."""
    for key, name in (("label", label), ("text", text), ("group", group)):
        if name is not None:
            columns.require(file, key, name, known)
    if text is not None:
        if text == label:
            raise DataError(f"data.text: {file}: {text!r} is the label too; name another column")
        return []
    if label == group:
        raise DataError(f"data.group: {file}: {group!r} is the label too; name another column")
    if features is None:
        features = [name for name in known if name not in (label, group)]
        if not features:
            raise DataError(f"data.features: {file}: no column left to learn from")
    for position, name in enumerate(features):
        columns.require(file, "features", name, known)
        if name == label:
            raise DataError(
                f"data.features: {file}: {name!r} is what is to be predicted; leave out"
            )
        if name in features[:position]:
            raise DataError(f"data.features: {file}: {name!r} is named twice")
    return list(features)


def _require_filled(file: Path, key: str, frame: pd.DataFrame, name: str) -> None:
    empty = np.flatnonzero(frame[name].str.strip() == "")
    if empty.size:
        rows = f"{empty.size} of {len(frame)} rows are" if empty.size > 1 else "one row is"
        raise DataError(
            f"data.{key}: {file}: column {name!r}: {rows} empty, the first is row {empty[0] + 1} "
            "below the header; fill or remove"
        )


def _numbers(file: Path, frame: pd.DataFrame, label: str) -> pd.Series[float]:
    """The target of a regression. Raises DataError where it is no number, or always the same."""
    import pandas as pd

    where = f"data.label: {file}: column {label!r}"
    numbers = pd.to_numeric(frame[label], errors="coerce").astype("float64")
    bad = np.flatnonzero(~np.isfinite(numbers))
    if bad.size:
        raise DataError(
            f"{where}: {frame[label].iloc[bad[0]]!r} in row {bad[0] + 1} below the header is no "
            f"number; regression predicts numbers ({bad.size} of {len(frame)} rows have none)"
        )
    if numbers.nunique() < 2:
        raise DataError(f"{where}: {numbers.iloc[0]:g} in every row; nothing to predict")
    return numbers
