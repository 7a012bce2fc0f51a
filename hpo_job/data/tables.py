"""A labelled table: its rows, what its columns hold, and how it is split."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hpo_job.data import columns, labels, roles
from hpo_job.data.digests import contents, fingerprint
from hpo_job.data.folder import suspicious
from hpo_job.data.kinds import Feature, Format
from hpo_job.data.language import NAMES
from hpo_job.data.language_models import ENGLISH, LanguageModel
from hpo_job.data.parts import Part, Parts, divide
from hpo_job.data.roles import Roles
from hpo_job.data.scripts import median_length
from hpo_job.data.split import require_classes, sample
from hpo_job.data.targets import read_targets
from hpo_job.data.text_folder import FILE, LABEL, PART, TEXT, read_text_folder
from hpo_job.errors import DataError, plural
from hpo_job.spec.study_toml import Data

if TYPE_CHECKING:
    import pandas as pd

Targets = NDArray[np.int64] | NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LabelledRows:
    """Rows of a table and their targets, divided once into training, validation and test part.

    Attributes:
        file: the table.
        frame: the rows, numbered from 0, as many as were sampled. Its columns are the features,
            converted, then ``text`` and ``group``, where there are any, and ``label``.
        label: the column that is predicted.
        text: the column of texts, or None.
        columns: the features, and how they are read.
        group: the column whose rows are kept in one part, or None.
        targets: the class number of every row, int64; or the number to be predicted, float64.
        classes: the class names, sorted: a class's position is its number; none for regression.
        train: positions of the rows that models learn from, ascending.
        valid: positions of the rows that every trial is scored on.
        test: positions of the rows that no trial sees.
        dropped: columns that are not used though nothing else was asked for, and why.
        kept: class names that study.toml mentions, so that they need no caution.
        source: where the data itself says which part a row is in; see `Parts`.
        language_model: what a model of texts starts from, and in which language they are.
        names: the file of each row, relative to a folder of texts; empty for the rows of a table.
        left_out: a line for each reason for which files of that folder are not used.
        folder_cautions: a line for what may be wrong with that folder.
    """

    file: Path
    frame: pd.DataFrame
    label: str
    text: str | None
    columns: tuple[Feature, ...]
    group: str | None
    targets: Targets
    classes: tuple[str, ...]
    train: NDArray[np.int64]
    valid: NDArray[np.int64]
    test: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    dropped: dict[str, str] = field(default_factory=dict)
    kept: tuple[str, ...] = ()
    source: str = ""
    language_model: LanguageModel = field(default_factory=LanguageModel)
    names: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    folder_cautions: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def root(self) -> Path:
        """The file: where the data lies, as of every kind of data."""
        return self.file

    @property
    def features(self) -> tuple[str, ...]:
        """The names of the columns that models learn from."""
        return tuple(feature.name for feature in self.columns)

    @property
    def formats(self) -> dict[str, Format]:
        """How each of the features is read."""
        return {feature.name: feature.format for feature in self.columns}

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

    def listing(self) -> str:
        """A digest of the content of the table, or of the texts that are used.

        Whoever joins the study has read it anyway. What else lies in a folder of texts is no part
        of it, nor are the texts that a sample leaves out.
        """
        if not self.names:
            return fingerprint(self.file)
        return contents((name, self.file / name) for name in self.names)

    def described(self) -> Iterator[tuple[str, str]]:
        """The data for a person, as (heading, text); a further line has no heading."""
        rows = plural(len(self), "text" if self.names else "row")
        if self.classes:
            yield "data", f"{self.file}: {rows} in {plural(len(self.classes), 'class', 'classes')}"
            for name, count in self.counts.items():
                yield "", f"{count:>7}  {count / len(self):>4.0%}  {labels.readable(name)}"
        else:
            low, middle, high = np.quantile(self.targets, [0, 0.5, 1])
            yield "data", f"{self.file}: {rows}"
            yield "target", f"{self.label}: {low:g} to {high:g}, median {middle:g}"
        if not self.names and (note := columns.dialect(self.file).note):
            yield "file", note
        yield from self._described_columns()
        parts = Parts(self.train, self.valid, self.test, self.source)
        yield "validation", parts.described("text" if self.names else "row", self.group)
        for line in self.left_out:
            yield "left out", line

    def _described_columns(self) -> Iterator[tuple[str, str]]:
        if self.text is None:
            yield "features", f"{len(self.columns)}: {', '.join(self.features)}"
        else:
            yield "text", f"{self.text}: {median_length(self.frame[self.text])}"
            if (code := self.language_model.language) != ENGLISH:
                yield "language", NAMES.get(code, code)
        for kind, heading in (("number", "numbers"), ("category", "categories"), ("date", "dates")):
            named = [
                f"{feature.name} ({feature.note})" if feature.note else feature.name
                for feature in self.columns
                if feature.format.kind == kind
            ]
            if named:
                yield heading, ", ".join(named)
        if self.dropped:
            yield "left out", ", ".join(f"{name} ({why})" for name, why in self.dropped.items())


def read_table(file: Path, data: Data, seed: int, *, regression: bool = False) -> LabelledRows:
    """Read a CSV, gzipped CSV or Parquet file, and divide its rows.

    Args:
        file: the table.
        data: its columns, and how they are read and divided: the [data] of study.toml.
        seed: what is drawn depends on this, the rows and ``data`` alone.
        regression: whether the label is a number rather than a class.

    Raises:
        DataError: the text begins with the key of [data] that is to blame.
    """
    return _Reader(file, data, seed, regression).rows()


def read_texts(root: Path, data: Data, seed: int) -> LabelledRows:
    """Read a folder of texts with a folder for each class, and divide them; see `read_table`.

    Raises:
        DataError: the text begins with the key of [data] that is to blame.
    """
    with blaming("path"):
        frame, listing = read_text_folder(root, data.split is not False)
    reader = _Reader(root, data, seed, regression=False)
    named = frame[PART].tolist() if PART in frame else None
    frame[LABEL] = reader.classes(frame[LABEL])
    drawn = reader.sample(frame[LABEL])
    frame = frame.iloc[drawn].reset_index(drop=True)
    roles_ = Roles(LABEL, TEXT, None, None, (), named=False)
    parts = reader.parts(frame, roles_, named and [named[position] for position in drawn])
    targets, classes = reader.targets(frame[LABEL])
    return LabelledRows(
        file=root,
        frame=frame[[TEXT, LABEL]],
        label=LABEL,
        text=TEXT,
        columns=(),
        group=None,
        targets=targets,
        classes=classes,
        train=parts.train,
        valid=parts.valid,
        test=parts.test,
        kept=tuple({*(data.labels or {}), *(data.labels or {}).values()}),
        source="folders" if named else "",
        names=tuple(frame[FILE]),
        left_out=tuple(text for _, text in listing.lines()),
        folder_cautions=tuple(suspicious(listing)),
    )


@dataclass(frozen=True)
class _Reader:
    """The steps from a file to labelled rows; for the attributes see `read_table`."""

    file: Path
    data: Data
    seed: int
    regression: bool

    def rows(self) -> LabelledRows:
        cells, chosen = self._cells()
        chosen, named = roles.given_parts(self.file, self.data, chosen, cells)
        for key, column in chosen.filled.items():
            _require_filled(self.file, key, cells, column)
        features, dropped = roles.features(self.file, self.data, chosen, cells)
        frame = _converted(cells, features, chosen)
        label = frame[chosen.label]
        if self.regression:
            frame[chosen.label] = read_targets(self.file, label, self.data)
        else:
            frame[chosen.label] = self.classes(label)
        drawn = self.sample(frame[chosen.label])
        frame = frame.iloc[drawn].reset_index(drop=True)
        parts = self.parts(frame, chosen, named and [named[position] for position in drawn])
        targets, classes = self.targets(frame[chosen.label])
        return LabelledRows(
            file=self.file,
            frame=frame,
            label=chosen.label,
            text=chosen.text,
            columns=features,
            group=chosen.group,
            targets=targets,
            classes=classes,
            train=parts.train,
            valid=parts.valid,
            test=parts.test,
            dropped=dropped,
            kept=tuple({*(self.data.labels or {}), *(self.data.labels or {}).values()}),
            source=parts.source,
        )

    def _cells(self) -> tuple[pd.DataFrame, Roles]:
        """The columns that are needed, as they are in the file, and their roles."""
        with blaming("path"):
            known = columns.names(self.file)
        chosen = roles.choose(self.file, self.data, known)
        with blaming("path"):
            cells = columns.read(self.file, chosen.needed, chosen.filled.values())
        if cells.empty:
            raise DataError(f"data.path: {self.file}: no rows in it")
        return cells, chosen

    def classes(self, label: pd.Series[Any]) -> list[str]:
        """The class of every row, merged as study.toml says."""
        with blaming("labels", self.file):
            names = labels.merge(label.tolist(), self.data.labels)
        with blaming("label", self.file):
            require_classes(names, "row")
        return names

    def sample(self, label: pd.Series[Any]) -> NDArray[np.int64]:
        """The positions of the rows that are used: all, or a sample."""
        if self.data.sample is None:
            return np.arange(len(label))
        with blaming("sample", self.file):
            names = None if self.regression else label.tolist()
            return sample(len(label), self.seed, names, self.data.sample)

    def parts(self, frame: pd.DataFrame, chosen: Roles, named: Sequence[Part] | None) -> Parts:
        missed = self.data.sample is not None and named is not None and "train" not in named
        with blaming("sample" if missed else chosen.split_key, self.file):
            return divide(
                named,
                f"column {chosen.split!r}" if chosen.split else "folders",
                len(frame),
                self.data.valid_pct,
                self.seed,
                None if self.regression else frame[chosen.label].tolist(),
                None if chosen.group is None else frame[chosen.group].tolist(),
            )

    def targets(self, label: pd.Series[Any]) -> tuple[Targets, tuple[str, ...]]:
        """The target of every row, and the classes."""
        if self.regression:
            return label.to_numpy(dtype=np.float64), ()
        classes = tuple(sorted(set(label)))
        number = {name: position for position, name in enumerate(classes)}
        return np.array([number[name] for name in label], dtype=np.int64), classes


@contextmanager
def blaming(key: str, file: Path | None = None) -> Iterator[None]:
    """Let a DataError begin with the key of [data] that is to blame, and with the file.

    Raises:
        DataError: what was raised inside, with that beginning.
    """
    try:
        yield
    except DataError as error:
        raise DataError(f"data.{key}: {f'{file}: ' if file else ''}{error}") from error


def _converted(cells: pd.DataFrame, features: Sequence[Feature], chosen: Roles) -> pd.DataFrame:
    """The features' values in place of their cells, with text, group and label as they are."""
    import pandas as pd

    frame = pd.DataFrame(index=cells.index)
    values = {feature.name: feature.format.convert(cells[feature.name]) for feature in features}
    for name in (*values, *(n for n in chosen.needed if n in chosen.filled.values())):
        frame[name] = values.get(name, cells[name])
    return frame


def _require_filled(file: Path, key: str, frame: pd.DataFrame, name: str) -> None:
    empty = np.flatnonzero(frame[name].str.strip() == "")
    if empty.size:
        rows = f"{empty.size} of {len(frame)} rows are" if empty.size > 1 else "one row is"
        raise DataError(
            f"data.{key}: {file}: column {name!r}: {rows} empty, the first is row {empty[0] + 1} "
            "below the header; fill or remove"
        )
