"""Texts that stand for amounts, but are no numbers: durations, ranges, steps of a scale."""

from __future__ import annotations

import re
from collections.abc import Sequence

from hpo_job.data.numerals import SAME, is_missing

SHARE = 0.8  # of the cells, from which a column is taken for one of amounts
DURATION = re.compile(
    r"\d{1,3}:\d\d(?::\d\d(?:[.,]\d+)?)?(?:\s*[ap]\.?m\.?)?|-?P(?:\d+[YMWD])*(?:T(?:[\d.]+[HMS])+)?"
    r"|(?:\d+\s*(?:days?|d|hours?|hrs?|h|minutes?|mins?|m|seconds?|secs?|s)\b[\s,]*){2,}",
    re.IGNORECASE,
)
RANGE = re.compile(
    r"(?P<low>\d{1,6}(?:[.,]\d+)?)\s*(?:-|to|bis|\.\.)\s*(?P<high>\d{1,6}(?:[.,]\d+)?)\D{0,9}"
    r"|(?:[<>≤≥]=?|under|over|unter|über|up to|bis)\s*\d[\d.,]*\D{0,9}"
    r"|\d[\d.,]*\s*(?:\+|(?:and|or) (?:more|over))",
    re.IGNORECASE,
)
PLAIN = re.compile(r"\d[\d.,]*")
# Words of which each says more than the one before
ORDERS = (
    ("very low", "low", "medium", "high", "very high"),
    ("low", "middle", "high"),
    ("low", "moderate", "high", "severe"),
    ("none", "mild", "moderate", "severe"),
    ("very small", "small", "medium", "large", "very large"),
    ("small", "big"),
    ("xxs", "xs", "s", "m", "l", "xl", "xxl", "xxxl", "3xl"),
    ("never", "rarely", "seldom", "sometimes", "often", "usually", "always"),
    ("strongly disagree", "disagree", "neutral", "agree", "strongly agree"),
    ("very poor", "poor", "fair", "average", "good", "very good", "excellent"),
    ("bad", "ok", "good"),
    ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
    ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth"),
    ("1st", "2nd", "3rd", "4th", "5th", "6th", "7th", "8th", "9th", "10th"),
)
FEWEST = 3  # words of an order that make one


def obstacle(texts: Sequence[str | None]) -> str | None:
    """What a column holds, where that is durations or ranges; None for anything else."""
    cells = [text.strip().translate(SAME) for text in texts if text and not is_missing(text)]
    for what, parsed in (("durations or times", _durations(cells)), ("ranges", _ranges(cells))):
        if parsed and len(parsed) >= SHARE * len(cells):
            return f"its values are {what}, such as {parsed[0]!r}, whose order is lost"
    return None


def order_note(texts: Sequence[str | None]) -> str:
    """A note on a column of words that have an order, which a category has not; else empty."""
    words = {text.strip().casefold() for text in texts if text and not is_missing(text)}
    order = next((each for each in ORDERS if len(words) >= FEWEST and words <= {*each}), None)
    if order is None:
        return ""
    steps = [word for word in order if word in words]
    return f"the order {', '.join(steps[:FEWEST])}{', ...' * (len(steps) > FEWEST)} is not used"


def _durations(cells: Sequence[str]) -> list[str]:
    return [cell for cell in cells if len(cell) > 1 and DURATION.fullmatch(cell)]


def _ranges(cells: Sequence[str]) -> list[str]:
    """The ranges, with the plain numbers among them, a range first; none without a range."""
    ranges = [cell for cell in cells if (match := RANGE.fullmatch(cell)) and _rises(match)]
    return [*ranges, *(cell for cell in cells if PLAIN.fullmatch(cell))] if ranges else []


def _rises(match: re.Match[str]) -> bool:
    if match["low"] is None:
        return True
    low, high = (float(match[end].replace(",", ".")) for end in ("low", "high"))
    return low < high
