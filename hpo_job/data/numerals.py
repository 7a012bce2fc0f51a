"""Numbers that are written as text: 1,234.5 or 1.234,5, $5, 7 %, 12 kg, (3) for minus three."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

# Words for a missing number; a category may well be called "unknown"
MISSING_WORDS = frozenset(
    [
        "?",
        "??",
        "???",
        "-",
        "--",
        "---",
        "—",
        ".",
        "..",
        "...",
        "*",
        "/",
        "n/a",
        "n.a.",
        "n.a",
        "na",
        "nan",
        "nil",
        "none",
        "null",
        "missing",
        "unknown",
        "unk",
        "undefined",
        "undef",
        "tba",
        "tbd",
        "void",
        "empty",
        "#n/a",
        "#na",
        "#null!",
        "#value!",
        "#div/0!",
        "#ref!",
        "#num!",
        "#name?",
        "k.a.",
        "o.a.",
        "s.d.",
        "n.d.",
    ]
) | {"keine angabe", "not available", "not applicable", "no data"}
NEARLY = 0.8  # share of numbers from which the values that are none deserve a line
# Spaces, apostrophes and minus signs of every kind
SAME = str.maketrans(
    dict.fromkeys("\u00a0\u2007\u2009\u202f\t", " ")
    | dict.fromkeys("\u2019\u02bc\u2032`", "'")
    | dict.fromkeys("\u2212\u2013\u2012\ufe63\uff0d", "-")
)
CURRENCIES = (
    r"(?:US|AU?|C|HK|NZ|S|R)?\$|[€£¥₹₽₩₺฿₿¢]|USD|EUR|GBP|CHF|JPY|CNY|INR|RUB|SEK|NOK|DKK|DM|Rs\.?|Fr\.?"
    r"|kr\.?"
)
# Words for so many times the number, by the power of ten; a small m is metres, but in money
POWERS = {
    3: ("k", "tsd", "tsd.", "thousand", "tausend"),
    5: ("lakh", "lakhs"),
    6: ("mio", "mio.", "mln", "mn", "million", "millions", "millionen"),
    7: ("crore", "crores"),
    9: ("bn", "mrd", "mrd.", "billion", "billions", "milliarde", "milliarden"),
    12: ("trillion", "trillions"),
}
CAPITALS = {"M": 6, "B": 9}
METRES = "m"
_POWER = "|".join(re.escape(word) for words in POWERS.values() for word in words)
# A number as people write it: perhaps about so much, a currency, the digits, and a unit
_NUMERAL = re.compile(
    rf"""(?:~|ca?\.|circa\s)?\s*(?P<sign>[-+]?)\s*(?P<before>{CURRENCIES})?\s*(?P<inner>[-+]?)\s*
    (?P<digits>\d[\d.,' ]*|[.,]\d+)(?P<exponent>[eE][-+]?\d+)?\s*
    (?P<power>(?:{_POWER}|(?-i:[MB])|m(?=\s*$))(?![^\W\d_]))?\s*
    (?P<after>[%‰°$€£¥₹₽₩₺฿¢²³µ]{{1,2}}[A-Za-z]?|[^\W\d_][^\s\d]{{0,11}}(?:\s[^\W\d_]{{1,8}})?)?""",
    re.VERBOSE | re.IGNORECASE,
)


@dataclass(frozen=True)
class Marks:
    """The decimal mark of numbers, and what divides their thousands: nothing, if empty."""

    decimal: str = "."
    thousands: str = ""


@dataclass(frozen=True)
class Numbers:
    """What texts say as numbers.

    Attributes:
        values: float64, shape (texts,); NaN where missing.
        marks: as the numbers are written.
        units: how often each unit, currency or sign of percent stands with a number.
        powers: the words that multiply a number, such as k and Mio, by their powers of ten.
    """

    values: NDArray[np.float64]
    marks: Marks
    units: dict[str, int]
    powers: dict[str, int] = field(default_factory=dict)


def read_numbers(
    texts: Sequence[str | None],
    decimal: str | None = None,
    thousands: str | None = None,
    *,
    prefers_comma: bool = False,
) -> Numbers | None:
    """The numbers that ``texts`` hold; None where some hold none, or of different units.

    Args:
        texts: the cells of a column; None is a missing one, as are `MISSING_WORDS`.
        decimal: the mark, where it is known; guessed from all texts where None.
        thousands: the same of the mark between thousands; empty for none.
        prefers_comma: whether a comma that could be either is a decimal mark.
    """
    cells = [None if text is None else text.strip().translate(SAME) for text in texts]
    distinct = {cell for cell in cells if not is_missing(cell)}
    numerals = {cell: _parts(cell) for cell in distinct if cell is not None}
    if not numerals or None in numerals.values():
        return None
    parts = {cell: parts for cell, parts in numerals.items() if parts is not None}
    units = Counter(parts[cell].unit for cell in cells if cell in parts)
    powers = {part.word: part.power for part in parts.values() if part.word}
    if mixed(units) or (powers and METRES in units):
        return None
    marks = guess_marks(
        (part.digits for part in parts.values()), decimal, thousands, prefers_comma=prefers_comma
    )
    if marks is None:
        return None
    values: dict[str | None, float] = {}
    for cell, part in parts.items():
        value = part.value(marks)
        if value is None:
            return None
        values[cell] = value
    numbers = np.array([values.get(cell, np.nan) for cell in cells], dtype=np.float64)
    return Numbers(numbers, marks, dict(units), powers)


def is_missing(cell: str | None) -> bool:
    """Whether a cell says that its number is not known."""
    word = "" if cell is None else cell.strip().translate(SAME).casefold()
    return not word or word in MISSING_WORDS


def mixed(units: Mapping[str, int]) -> bool:
    """Whether numbers with these units cannot be compared; a currency may be left out."""
    return len(units.keys() - {""}) > 1 or ("" in units and "%" in units)


def obstacle(texts: Sequence[str | None]) -> str | None:
    """Why a column that nearly is one of numbers is none; None where it is something else."""
    cells = [
        (text, text.strip().translate(SAME)) for text in texts if text and not is_missing(text)
    ]
    numerals = [_parts(cell) for _, cell in cells]
    odd = [text for (text, _), numeral in zip(cells, numerals, strict=True) if numeral is None]
    if not cells or len(odd) > (1 - NEARLY) * len(cells):
        return None
    if odd:
        return f"not numbers: {len(odd)} of its {len(cells)} values, such as {odd[0]!r}"
    units = Counter(numeral.unit or numeral.word or "none" for numeral in numerals if numeral)
    if len(units) > 1:
        counts = ", ".join(f"{unit} ({count})" for unit, count in units.most_common(3))
        return f"its numbers have different units: {counts}"
    return "its numbers have different marks, as 1,234.5 and 1.234,5"


def guess_marks(
    digits: Iterable[str],
    decimal: str | None = None,
    thousands: str | None = None,
    *,
    prefers_comma: bool = False,
) -> Marks | None:
    """The marks by which all of ``digits`` are numbers; None where there are none.

    A mark that stands twice in a number divides thousands, as does the first of two different
    ones. Of a mark that always stands before three digits, a comma is taken for thousands and a
    point for decimals, but for numbers such as 950 and 1.200, which are written without it below
    one thousand. With ``prefers_comma`` a comma is taken for decimals, too.
    """
    every = set(digits)
    marked = sorted(text for text in every if not text.isdigit())
    if thousands is None:
        thousands = next((mark for mark in " '" if any(mark in text for text in marked)), None)
    if decimal is None:
        decimal = _guess_decimal(marked, every.difference(marked), prefers_comma)
    if thousands is None:
        other = "," if decimal == "." else "."
        thousands = other if any(other in text for text in marked) else ""
    return None if thousands == decimal else Marks(decimal, thousands)


def _guess_decimal(marked: Sequence[str], unmarked: Iterable[str], prefers_comma: bool) -> str:
    """The decimal mark of numbers with a mark, from the way in which it stands in them."""
    for text in marked:
        if "," in text and "." in text:
            return max(",.", key=text.rfind)
    for mark, other in ((",", "."), (".", ",")):
        having = [text for text in marked if mark in text]
        if any(text.count(mark) > 1 for text in having):
            return other
        if having and not all(re.fullmatch(rf"[1-9]\d{{0,2}}\{mark}\d{{3}}", t) for t in having):
            return mark
    if prefers_comma and any("," in text for text in marked):
        return ","
    below = [int(text) for text in unmarked]
    if any("." in text for text in marked) and below and 100 <= max(below) < 1000:
        return ","
    return "."


@dataclass(frozen=True)
class _Numeral:
    """A number as it is written."""

    negative: bool
    digits: str
    exponent: str
    unit: str
    word: str
    power: int

    def value(self, marks: Marks) -> float | None:
        whole, _, fraction = self.digits.partition(marks.decimal)
        if marks.thousands and marks.thousands in whole:
            groups = whole.split(marks.thousands)
            # In India, all groups but the last one have two digits
            if len(groups[-1]) != 3 or not all(1 <= len(group) <= 3 for group in groups):
                return None
            whole = "".join(groups)
        try:
            exponent = int(self.exponent[1:] or 0) + self.power
            value = float(f"{whole or 0}.{fraction or 0}e{exponent}")
        except ValueError:
            return None
        return -value if self.negative else value


def _parts(cell: str) -> _Numeral | None:
    bracketed = re.fullmatch(r"\((.+)\)", cell)
    match = _NUMERAL.fullmatch(bracketed[1].strip() if bracketed else cell)
    if match is None:
        return None
    signs = match["sign"] + match["inner"]
    word, before = match["power"] or "", match["before"] or ""
    after = match["after"] or ""
    if word == METRES and not before:
        word, after = "", f"{word} {after}".strip()
    return _Numeral(
        ("-" in signs) != bool(bracketed),
        match["digits"].strip(),
        match["exponent"] or "",
        " ".join(filter(None, (before, after))).casefold().rstrip("."),
        word,
        _power(word),
    )


def _power(word: str) -> int:
    """The power of ten by which a word multiplies."""
    if word in CAPITALS or word == METRES:
        return CAPITALS[word.upper()]
    folded = word.casefold()
    return next((power for power, words in POWERS.items() if folded in words), 0)
