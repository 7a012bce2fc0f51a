"""What may be wrong with a table: each finding is a line for a person, and changes nothing."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from hpo_job.data import labels, leaks
from hpo_job.data.scripts import share_unspaced
from hpo_job.data.tables import LabelledRows
from hpo_job.errors import plural

if TYPE_CHECKING:
    import pandas as pd

CHANCE = 0.01  # share of rows that are the same as another by chance
NEARLY_ALL = 0.9  # of the rows: where so many have a category each, none can be learnt
MANY = 1000  # categories of a column from which they are not compared
NAMED = 5  # columns, values or rows that a line lists
# How many times the range of all others a value is away that may stand for a missing one: where it
# is there several times, and where it is not
GAP, FAR = 2, 1000
NINES = re.compile(r"-?9{2,}(?:\.0)?|-1|-?9{3,}\.9+|-?32768|-?2147483648|-?1e\+?\d+")
FIRST_DAYS = {-25567.0: "1900-01-01", 0.0: "1970-01-01", -719162.0: "0001-01-01"}
FIRST_DAYS |= {-25569.0: "1899-12-30", 2932896.0: "9999-12-31"}


def of_columns(data: LabelledRows) -> Iterator[str]:
    """Lines on single columns and on the classes; cheap enough for every worker."""
    for feature in data.columns:
        column = data.frame[feature.name]
        why = useless(column)
        if why:
            yield (
                f"feature {feature.name!r} {why}: nothing can be learnt of it; leave it out of "
                "[data] features"
            )
        if feature.caution:
            yield f"feature {feature.name!r}: {feature.caution}; correct it: [data] kinds, missing"
        if not why and (mark := _mark_of_missing(column, feature.format.kind)):
            yield f"feature {feature.name!r}: {mark}; if it means missing: [data] missing"
        if feature.format.kind == "category" and column.nunique() <= MANY:
            for group in labels.look_alikes(column.dropna())[:1]:
                alike = " and ".join(map(repr, group))
                yield f"feature {feature.name!r}: categories that look alike: {alike}"
    if data.classes:
        if line := labels.caution(data.counts, data.kept):
            yield line
    elif mark := _mark_of_missing(data.frame[data.label], "number"):
        yield f"label {data.label!r}: {mark}; if it means missing, remove those rows"
    yield from _of_parts(data)


def of_rows(data: LabelledRows) -> Iterator[str]:
    """Lines on rows, and on features that give the label away."""
    if data.text is not None:
        yield from _of_texts(data)
    yield from _duplicates(data)
    yield from leaks.cautions(data)


def useless(column: pd.Series[Any]) -> str | None:
    """Why nothing can be learnt of a column of features; None where something may be."""
    import pandas as pd

    present = column.dropna()
    if present.empty:
        return "is empty in every row"
    different = present.nunique()
    if different == 1 and len(present) == len(column):
        return "is the same in every row"
    if not pd.api.types.is_numeric_dtype(column) and different > len(column) * NEARLY_ALL:
        return f"is a category with {different} values in {plural(len(column), 'row')}"
    return None


def _mark_of_missing(column: pd.Series[Any], kind: str) -> str | None:
    """A value far from all others, which may stand for a missing one; None where there is none."""
    if kind == "category":
        return None
    present = np.sort(column.dropna().to_numpy(dtype=np.float64))
    if kind == "date":
        return _first_day(present)
    for value in sorted({present[0], present[-1]}) if len(present) > 2 else ():
        others = present[present != value]
        count = len(present) - len(others)
        if len(others) < 2 or others[0] == others[-1]:
            continue
        gap = float(np.abs(others - value).min())
        # Of the values usual for a mark, the middle half is compared: there may be another mark
        low, high = np.quantile(others, [0.25, 0.75])
        usual = NINES.fullmatch(f"{value:.10g}") is not None and gap > 3 * (high - low)
        if usual or gap > (GAP if count > 2 else FAR) * (others[-1] - others[0]):
            rows = plural(count, "row")
            return f"{value:g} in {rows} is far from all others ({others[0]:g} to {others[-1]:g})"
    return None


def _first_day(days: np.ndarray[Any, Any]) -> str | None:
    for day, name in FIRST_DAYS.items():
        count = int((np.floor(days) == day).sum())
        if count > max(1, 0.01 * len(days)):
            return f"{name} in {plural(count, 'row')} looks as if no date was known"
    return None


def _of_parts(data: LabelledRows) -> Iterator[str]:
    """Lines on the validation part that the data itself names."""
    if data.classes and data.source:
        learnt = set(data.targets[data.train])
        new = sorted({int(target) for target in data.targets[data.valid]} - learnt)
        if new:
            named = ", ".join(repr(data.classes[number]) for number in new[:NAMED])
            yield f"no training item is of class {named}: no model can learn it"
    if data.group and data.source:
        groups = data.frame[data.group]
        both = sorted(set(groups[data.train]) & set(groups[data.valid]))
        if both:
            yield (
                f"in training and in validation: {plural(len(both), 'group')} of {data.group!r}, "
                f"such as {both[0]!r}: {data.source} says so"
            )


def _of_texts(data: LabelledRows) -> Iterator[str]:
    texts = data.frame[data.text]
    words = int(texts.str.count(r"\S+").median())
    characters = int(texts.str.len().median())
    if words < 2 and characters > 20 and share_unspaced(texts) <= 0.5:
        yield (
            f"text {data.text!r}: a typical text has {characters} characters and no spaces: it is "
            "one word for the model, which learns nothing of it"
        )


def _duplicates(data: LabelledRows) -> Iterator[str]:
    """Lines on rows that are there twice, above all in training and in validation."""
    import pandas as pd

    keys = _keys(data)
    if keys is None:
        return
    row = "text" if data.text else "row"
    copies = int(keys.duplicated().sum())
    learnt = set(keys[data.train])
    known = int(keys[data.valid].isin(learnt).sum())
    least = 0 if data.text else CHANCE  # of rows of numbers, some are the same by chance
    if known > least * len(data.valid):
        yield (
            f"{known} of {plural(len(data.valid), f'validation {row}')} also in training, so that "
            "a good score may be remembered, not learnt; remove the copies, or keep them together "
            "by group"
        )
    elif copies > least * len(data):
        yield plural(copies, f"{row} is a copy of another", f"{row}s are copies of others")
    if data.classes:
        classes = pd.Series(data.targets).groupby(keys.to_numpy()).nunique()
        torn = int((classes > 1).sum())
        if torn > least * len(data):
            yield plural(torn, f"{row} has", f"{row}s have") + " copies with different labels"


def _keys(data: LabelledRows) -> pd.Series[Any] | None:
    """A key for each row, the same for copies; None where few values make copies natural."""
    import pandas as pd

    if data.text is not None:
        return data.frame[data.text].map(_folded_text)
    frame = data.frame[list(data.features)]
    different = [max(1, frame[name].nunique()) for name in frame]
    if max(different) < len(frame) / 2 and math.prod(different) < 10 * len(frame):
        return None
    return pd.Series(pd.util.hash_pandas_object(frame, index=False), frame.index)


def _folded_text(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())
