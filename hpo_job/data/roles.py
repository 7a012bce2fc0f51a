"""What each column of a table is for: label, text, group, given split, or a feature."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hpo_job.data import columns
from hpo_job.data.kinds import Feature, Kind, as_text, recognise
from hpo_job.data.parts import COLUMNS, Part, read_parts
from hpo_job.errors import DataError
from hpo_job.spec.study_toml import Data

if TYPE_CHECKING:
    import pandas as pd

FEWEST = 20  # rows from which a text that is another in each is left out
_UNNAMED = re.compile(r"Unnamed: ?\d+|index|level_0", re.IGNORECASE)  # as pandas calls row names


@dataclass(frozen=True)
class Roles:
    """The columns that are read, by what they are for.

    Attributes:
        label: the column to predict.
        text: the column of texts; then there are no features.
        group: the column whose rows are kept in one part.
        split: the column that says which part a row is in.
        features: what is learnt from.
        named: whether study.toml names the features, so that all are used.
    """

    label: str
    text: str | None
    group: str | None
    split: str | None
    features: tuple[str, ...]
    named: bool

    @property
    def filled(self) -> dict[str, str]:
        """The columns in which no cell may be empty, by their keys of [data]."""
        pairs = {"label": self.label, "text": self.text, "group": self.group}
        return {key: name for key, name in pairs.items() if name is not None}

    @property
    def needed(self) -> list[str]:
        """All columns that are read, each once."""
        others = (self.text, self.group, self.label, self.split)
        return list(dict.fromkeys([*self.features, *(name for name in others if name)]))

    @property
    def split_key(self) -> str:
        """The key of [data] to blame where the rows cannot be divided."""
        return "split" if self.split else "group" if self.group else "valid_pct"


def choose(file: Path, data: Data, known: Sequence[str]) -> Roles:
    """The roles that ``data`` gives to the ``known`` columns of a table.

    Raises:
        DataError: a column is not there, or has two roles that exclude each other.
    """
    assert isinstance(data.label, str)  # `require_keys` has seen it
    split = data.split or None
    for key, name in {"label": data.label, "text": data.text, "group": data.group}.items():
        if name is not None:
            columns.require(file, key, name, known)
    for key in ("text", "group"):
        if getattr(data, key) == data.label:
            raise DataError(
                f"data.{key}: {file}: {data.label!r} is the label too; name another column"
            )
    if split:
        columns.require(file, "split", split, known)
    elif data.split is None:
        split = _candidate(data, known)
    others = (data.label, data.text, data.group, split)
    features = () if data.text else data.features or tuple(n for n in known if n not in others)
    if not features and not data.text:
        raise DataError(f"data.features: {file}: no column left to learn from")
    _require_features(file, data, features, known)
    return Roles(data.label, data.text, data.group, split, features, data.features is not None)


def given_parts(
    file: Path, data: Data, roles: Roles, frame: pd.DataFrame
) -> tuple[Roles, list[Part] | None]:
    """The part of every row, where a column says it; else the column is a feature like others.

    Raises:
        DataError: the column that study.toml names does not say it.
    """
    if roles.split is None:
        return roles, None
    parts = read_parts(roles.split, as_text(frame[roles.split]).fillna("").tolist())
    if isinstance(parts, list) and "train" in parts and len(set(parts)) > 1:
        return roles, parts
    if data.split:
        wrong = f"holds {parts!r}" if isinstance(parts, str) else "names one part only"
        raise DataError(
            f"data.split: {file}: column {roles.split!r} {wrong}; expected train, valid and test, "
            "or true for rows of validation"
        )
    order = [name for name in frame.columns if name in (*roles.features, roles.split)]
    features = () if roles.text else tuple(order)
    return replace(roles, split=None, features=features), None


def features(
    file: Path, data: Data, roles: Roles, frame: pd.DataFrame
) -> tuple[tuple[Feature, ...], dict[str, str]]:
    """How each feature is read; and the columns that are not used, with the reason.

    Raises:
        DataError: a column does not hold what study.toml says, or none is left.
    """
    read: list[Feature] = []
    dropped: dict[str, str] = {}
    for name in roles.features:
        kind = (data.kinds or {}).get(name) or (
            "category" if name in (data.categorical or ()) else None
        )
        if kind == "drop":
            dropped[name] = "as kinds says"
        elif kind is None and not roles.named and is_row_number(frame[name], name):
            dropped[name] = "row numbers"
        elif kind is None and not roles.named and is_unique_text(frame[name]):
            dropped[name] = "another text in every row"
        else:
            read.append(_feature(file, data, frame[name], kind))
    if not read and not roles.text:
        raise DataError(f"data.features: {file}: no column left to learn from")
    return tuple(read), dropped


def is_row_number(column: pd.Series[Any], name: str | None = None) -> bool:
    """Whether a column counts the rows: 0, 1, 2 …; ``name``: only if pandas calls those so."""
    import pandas as pd

    if name is not None and not _UNNAMED.fullmatch(name.strip()):
        return False
    numbers = pd.to_numeric(column, errors="coerce")
    steps = np.diff(numbers.to_numpy(dtype=np.float64))
    return len(steps) > 1 and bool((np.abs(steps) == 1).all()) and len(set(steps)) == 1


def is_unique_text(column: pd.Series[Any]) -> bool:
    """Whether every row has another text, of which nothing can be learnt: an id, or a name."""
    import pandas as pd

    if len(column) < FEWEST or column.isna().any() or not column.is_unique:
        return False
    is_text = pd.to_numeric(column, errors="coerce").isna().any()
    return bool(is_text) and recognise(column).format.kind == "category"


def marks_of_missing(data: Data, name: str) -> tuple[str, ...]:
    """The cells of this column that stand for a missing value, as study.toml says."""
    if data.missing is None:
        return ()
    marks = data.missing.get(name, ()) if isinstance(data.missing, dict) else data.missing
    return tuple(map(str, marks))


def _candidate(data: Data, known: Sequence[str]) -> str | None:
    """A column that is called as one which says the part, and is nothing else."""
    used = {data.label, data.text, data.group, *(data.features or ()), *(data.kinds or {})}
    names = (name for name in known if name.casefold() in COLUMNS and name not in used)
    return next(names, None)


def _require_features(
    file: Path, data: Data, features: Sequence[str], known: Sequence[str]
) -> None:
    for position, name in enumerate(features):
        columns.require(file, "features", name, known)
        if name == data.label:
            raise DataError(
                f"data.features: {file}: {name!r} is what is to be predicted; leave out"
            )
        if name in features[:position]:
            raise DataError(f"data.features: {file}: {name!r} is named twice")
    by_column = data.missing if isinstance(data.missing, dict) else {}
    for key, names in (
        ("categorical", data.categorical or ()),
        ("kinds", data.kinds or ()),
        ("missing", by_column),
    ):
        for name in names:
            columns.require(file, key, name, features)


def _feature(file: Path, data: Data, column: pd.Series[Any], kind: Kind | None) -> Feature:
    missing = marks_of_missing(data, str(column.name))
    try:
        return recognise(
            column,
            kind,
            data.decimal,
            data.thousands,
            missing,
            prefers_comma=columns.dialect(file).prefers_comma,
        )
    except DataError as error:
        raise DataError(f"data.kinds: {file}: {error}") from error
