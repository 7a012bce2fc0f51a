"""What the columns of a table hold: numbers, categories or dates; guessed, said, and corrected."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from hpo_job.data import amounts, numerals
from hpo_job.data.numerals import Marks
from hpo_job.errors import DataError, plural

if TYPE_CHECKING:
    import pandas as pd

Kind = Literal["number", "category", "date"]
FEW = 20  # different whole numbers of a category; a column with more of them holds numbers
LARGEST = 1e30  # whatever is larger is taken for missing: float32 ends at 3e38
DAY = 24 * 60 * 60  # seconds
ISO = "ISO8601"
# How dates are written; of two ways that fit all values, the first one is taken
DATES = (
    *(ISO, "%d.%m.%Y", "%d.%m.%y", "%m/%d/%Y", "%d/%m/%Y", "%Y/%m/%d", "%d-%m-%Y", "%d %B %Y"),
    *("%d %b %Y", "%B %d, %Y", "%b %d, %Y", "%d.%m.%Y %H:%M", "%m/%d/%Y %H:%M", "%Y%m%dT%H%M%S"),
)
_DATE = re.compile(
    r"\d{4}-\d\d|\d{1,2}[./-]\d{1,2}[./-]\d{2,4}|\d{4}/\d|\d{1,2} \w{3,9} \d{4}|\w{3,9} \d"
)


@dataclass(frozen=True)
class Format:
    """How the cells of a feature become values: recognised once, and kept with a model.

    Attributes:
        kind: numbers are float64; a date is the number of days since 1970; a category is text.
        marks: of numbers that are written as text.
        date: how dates are written: ISO8601, or as strptime has it.
        missing: cells that stand for a missing value, other than what pandas takes for one.
    """

    kind: Kind
    marks: Marks = field(default_factory=Marks)
    date: str = ISO
    missing: tuple[str, ...] = ()

    def convert(self, column: pd.Series[Any]) -> pd.Series[Any]:
        """The values of ``column``, as a CSV file or a Parquet file has it, or as converted.

        Raises:
            DataError: a cell holds no number, or no date.
        """
        column = without(column, self.missing)
        if self.kind == "category":
            return as_text(column)
        values = _days(column, self.date) if self.kind == "date" else _numbers(column, self.marks)
        odd = np.flatnonzero(values.isna() & column.notna())
        odd = np.array([row for row in odd if not numerals.is_missing(str(column.iloc[row]))])
        if odd.size:
            what = f"no {self.kind}"
            raise DataError(f"column {column.name!r}: {column.iloc[odd[0]]!r} is {what}")
        return values.where(values.abs() < LARGEST)

    def stored(self) -> dict[str, Any]:
        """Plain JSON values that `restore` takes."""
        return asdict(self)

    @classmethod
    def restore(cls, stored: Mapping[str, Any]) -> Format:
        """The format that `stored` wrote."""
        marks, missing = Marks(**stored["marks"]), tuple(stored["missing"])
        return cls(stored["kind"], marks, stored["date"], missing)


@dataclass(frozen=True)
class Feature:
    """A column that a model learns from: its name, its format, and what a person should know.

    Attributes:
        note: how it was read, where that is not obvious; empty otherwise.
        caution: why it may have been read wrongly; empty otherwise.
    """

    name: str
    format: Format
    note: str = ""
    caution: str = ""


def recognise(
    column: pd.Series[Any],
    kind: Kind | None = None,
    decimal: str | None = None,
    thousands: str | None = None,
    missing: Sequence[str] = (),
    *,
    prefers_comma: bool = False,
) -> Feature:
    """What ``column`` holds.

    Args:
        column: a column as it was read, named.
        kind: what it holds, where that is known.
        decimal: the decimal mark of its numbers; guessed where None, as is the next.
        thousands: what divides their thousands.
        missing: cells that stand for a missing value.
        prefers_comma: whether a comma that could be either is a decimal mark.

    Raises:
        DataError: it does not hold what ``kind`` says.
    """
    import pandas as pd

    name, missing = str(column.name), tuple(missing)
    column = without(column, missing)
    if kind == "category":
        return Feature(name, Format("category", missing=missing))
    if column.dtype.kind in "mM":
        unit = "days since 1970" if column.dtype.kind == "M" else "days"
        return Feature(name, Format("date", missing=missing), unit)
    if pd.api.types.is_numeric_dtype(column) and column.dtype.kind != "b":
        return _of_numbers(name, column, kind, Format("number", missing=missing))
    if kind == "date":
        return _of_dates(name, column, missing)
    if column.notna().any() and not isinstance(column.dropna().iloc[0], str):
        return Feature(name, Format("category", missing=missing))
    return _of_text(name, column, kind, (decimal, thousands), missing, prefers_comma)


def as_text(column: pd.Series[Any]) -> pd.Series[Any]:
    """Values as text, the missing ones as None; 1 and 1.0 are the same, as are 1 and "1"."""
    import pandas as pd

    def text(value: object) -> str | None:
        if pd.isna(value):  # type: ignore[call-overload]
            return None
        # whole numbers come as floats where others of their column are missing
        whole = isinstance(value, float | np.floating) and float(value).is_integer()
        return str(int(value)) if whole else str(value)  # type: ignore[call-overload]

    return pd.Series(
        [text(value) for value in column], column.index, dtype=object, name=column.name
    )


def without(column: pd.Series[Any], missing: Sequence[str]) -> pd.Series[Any]:
    """``column`` with these cells missing; numbers are compared as numbers: -999 is -999.0."""
    if not missing:
        return column
    marks = {mark.strip() for mark in missing}
    numbers = {value for value in map(_float, marks) if value is not None}
    gone = [str(cell).strip() in marks or _float(cell) in numbers for cell in column]
    return column.mask(np.array(gone, dtype=bool))


def _float(cell: object) -> float | None:
    try:
        value = float(cell)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return value if value == value else None


def _texts(column: pd.Series[Any]) -> list[str | None]:
    return [None if gone else str(cell) for cell, gone in zip(column, column.isna(), strict=True)]


def _of_numbers(
    name: str, column: pd.Series[Any], kind: Kind | None, read: Format, note: str = ""
) -> Feature:
    """A column of numbers, or of categories that are called by numbers."""
    present = column.dropna()
    whole = bool(len(present)) and len(present) == len(column) and bool((present % 1 == 0).all())
    huge = int((present.abs() >= LARGEST).sum())
    if kind is None and whole and present.nunique() <= FEW and not note and not huge:
        return Feature(name, Format("category", missing=read.missing))
    caution = ""
    if huge:
        worst = present[present.abs() >= LARGEST].iloc[0]
        caution = f"{plural(huge, 'number')} as large as {worst:g} taken for missing"
    return Feature(name, read, note, caution)


def _of_dates(name: str, column: pd.Series[Any], missing: tuple[str, ...]) -> Feature:
    written = _date_format(column)
    if written is None:
        raise DataError(f"column {name!r}: not all its values are dates")
    return Feature(name, Format("date", date=written, missing=missing), "days since 1970")


def _of_text(
    name: str,
    column: pd.Series[Any],
    kind: Kind | None,
    marks: tuple[str | None, str | None],
    missing: tuple[str, ...],
    prefers_comma: bool,
) -> Feature:
    import pandas as pd

    plain = pd.to_numeric(column, errors="coerce")
    if marks == (None, None) and plain.notna().sum() == column.notna().sum():
        if not _is_grouped(plain, column):
            return _of_numbers(name, plain, kind, Format("number", missing=missing))
    elif kind is None and (written := _date_format(column)):
        note = "days since 1970" + (_order_note(column, written))
        return Feature(name, Format("date", date=written, missing=missing), note)
    texts = _texts(column)
    numbers = numerals.read_numbers(texts, *marks, prefers_comma=prefers_comma)
    if numbers is not None:
        note = _note(numbers, texts)
        values = pd.Series(numbers.values, column.index)
        read = Format("number", numbers.marks, missing=missing)
        return _of_numbers(name, values, kind, read, note)
    obstacle = amounts.obstacle(texts) or numerals.obstacle(texts)
    if kind == "number":
        raise DataError(f"column {name!r}: {obstacle or 'its values are no numbers'}")
    order = amounts.order_note(texts)
    caution = f"read as a category, because {obstacle}" if obstacle and not order else ""
    return Feature(name, Format("category", missing=missing), order, caution)


def _is_grouped(numbers: pd.Series[Any], texts: pd.Series[Any]) -> bool:
    """Whether points divide thousands, as in 950 and 1.200, though all could be decimals."""
    present = numbers.dropna()
    thousandths = present * 1000
    if (present % 1 == 0).all() or not np.allclose(thousandths, thousandths.round(), atol=1e-6):
        return False
    marks = numerals.guess_marks({text.strip() for text in _texts(texts) if text})
    return marks is not None and marks.thousands == "."


def _note(numbers: numerals.Numbers, texts: Sequence[str | None]) -> str:
    """How numbers are written, where it is not as a computer would."""
    parts = []
    if numbers.marks != Marks():
        example = f"1{numbers.marks.thousands}234{numbers.marks.decimal}5"
        parts.append(f"written like {example}")
    if units := [unit for unit in numbers.units if unit]:
        parts.append(f"in {units[0]}")
    powers = sorted(numbers.powers.items(), key=lambda item: item[1])
    parts += [f"{word} for {10.0**power:,.0f}" for word, power in powers]
    if words := sorted({text for text in texts if text and numerals.is_missing(text)}):
        parts.append(f"missing where it says {' or '.join(map(repr, words[:3]))}")
    return ", ".join(parts) or "written as text"


def _numbers(column: pd.Series[Any], marks: Marks) -> pd.Series[Any]:
    """float64, NaN where missing or no number."""
    import pandas as pd

    plain = pd.to_numeric(column, errors="coerce").astype("float64")
    if pd.api.types.is_numeric_dtype(column):
        return plain
    if marks == Marks() and plain.notna().sum() == column.notna().sum():
        return plain
    texts = _texts(column)
    values = {text: numerals.read_numbers([text], marks.decimal, marks.thousands) for text in texts}
    numbers = [np.nan if (one := values[text]) is None else one.values[0] for text in texts]
    return pd.Series(numbers, column.index, dtype="float64", name=column.name)


def _date_format(column: pd.Series[Any]) -> str | None:
    """How the dates of a column are written; None where it holds anything else."""
    import pandas as pd

    present = column.dropna()
    if present.empty or not _DATE.match(str(present.iloc[0]).strip()):
        return None
    for written in DATES:
        if pd.to_datetime(present, format=written, errors="coerce", utc=True).notna().all():
            return written
    return None


def _order_note(column: pd.Series[Any], written: str) -> str:
    """What else the dates could mean: 03/04/2020 is in March or in April."""
    import pandas as pd

    if written != "%m/%d/%Y":
        return ""
    other = pd.to_datetime(column.dropna(), format="%d/%m/%Y", errors="coerce", utc=True)
    return ", month first" if other.notna().all() else ""


def _days(column: pd.Series[Any], written: str) -> pd.Series[Any]:
    """Days since 1970, with fractions; NaN where there is no date."""
    import pandas as pd

    if pd.api.types.is_numeric_dtype(column) and column.dtype.kind not in "mM":
        return column.astype("float64")  # converted already
    if column.dtype.kind == "m":
        days: pd.Series[Any] = column.dt.total_seconds() / DAY
        return days
    format_ = None if column.dtype.kind == "M" else written
    dates = pd.to_datetime(column, format=format_, utc=True, errors="coerce").dt.tz_localize(None)
    # In seconds: pandas counts nanoseconds, and so has no dates before 1677
    seconds = dates.dt.as_unit("s").astype("int64").astype("float64")
    return (seconds / DAY).where(dates.notna())
