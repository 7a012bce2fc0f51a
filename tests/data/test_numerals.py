"""Numbers that people write as text, and what only looks like them."""

from __future__ import annotations

import math

import pytest

from hpo_job.data.numerals import obstacle, read_numbers

WRITTEN: dict[str, tuple[list[str | None], list[float]]] = {
    "comma for thousands": (["1,234", "950", "1,234,567"], [1234, 950, 1234567]),
    "both marks": (["1,234.5", "2"], [1234.5, 2]),
    "decimal comma": (["3,5", "2,25", "-1"], [3.5, 2.25, -1]),
    "German": (["1.234,5", "1.000.000"], [1234.5, 1e6]),
    "points, and smaller ones without": (["1.200", "950"], [1200, 950]),
    "points that are decimals": (["1.234", "2.345"], [1.234, 2.345]),
    "Swiss": (["1'000.50", "1\u2019234"], [1000.5, 1234]),
    "spaces": (["1 234", "12\u00a0345", "1\u202f000,5"], [1234, 12345, 1000.5]),
    "Indian": (["12,34,567"], [1234567]),
    "currency": (["$5", "-$1,200.50", "($3)", "7"], [5, -1200.5, -3, 7]),
    "currency behind": (["5,50 €", "1.234,00 €"], [5.5, 1234]),
    "currency in letters": (["USD 5", "usd6"], [5, 6]),
    "percent": (["7%", "3.5 %"], [7, 3.5]),
    "units": (["12 kg", "5kg", "7 Kg"], [12, 5, 7]),
    "degrees": (["12.5°C", "−3 °C"], [12.5, -3]),  # noqa: RUF001  # a real minus sign
    "exponents": (["1e3", "2.5E-4"], [1000, 0.00025]),
    "about": (["c. 1850", "ca. 1851", "~1852", "circa 1853"], [1850, 1851, 1852, 1853]),
    "thousands and millions": (
        ["12k", "1.5M", "950", "$2.1m", "3 Mio."],
        [12e3, 1.5e6, 950, 2.1e6, 3e6],
    ),
    "German powers": (["1,2 Mio. €", "3 Mrd. €", "12 Tsd. €"], [1.2e6, 3e9, 12e3]),
    "words for powers": (["2 million", "1.1 billion", "5"], [2e6, 1.1e9, 5]),
    "metres": (["1.5 m", "2m"], [1.5, 2]),
    "letters that begin a unit": (["5 kg", "7 kg"], [5, 7]),
    "megabytes": (["5 MB", "7 MB"], [5, 7]),
    "words for missing": (["1", "?", None, "n/a", "-", "\u2014", "unknown"], [1, *[math.nan] * 6]),
}
NO_NUMBERS: dict[str, list[str | None]] = {
    "codes": ["P001", "P002"],
    "versions": ["1.2.3", "1.2.4"],
    "addresses": ["192.168.0.1"],
    "dates": ["31.12.2020", "2020-12-31"],
    "times": ["12:30"],
    "telephones": ["030 1234567"],
    "ordinals": ["1st", "2nd"],
    "units of two kinds": ["5 kg", "300 g"],
    "percent and none": ["20 %", "0.3"],
    "both decimal marks": ["3,5", "2.5"],
    "both conventions": ["1,234.5", "1.234,5"],
    "lists": ["1,2,3"],
    "nothing": ["?", None],
    "thousands and metres": ["5k", "7 m"],
    "feet and inches": ["5'10", "6'1"],
}


@pytest.mark.parametrize("case", WRITTEN)
def test_numbers(case: str) -> None:
    texts, expected = WRITTEN[case]
    numbers = read_numbers(texts)
    assert numbers is not None
    assert numbers.values.tolist() == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize("case", NO_NUMBERS)
def test_no_numbers(case: str) -> None:
    assert read_numbers(NO_NUMBERS[case]) is None


def test_marks_that_are_known_are_not_guessed() -> None:
    for decimal, expected in ((".", 1.234), (",", 1234)):
        numbers = read_numbers(["1.234"], decimal, None if decimal == "." else ".")
        assert numbers is not None and numbers.values.tolist() == [expected]
    assert read_numbers(["1,5"], decimal=".", thousands=",") is None


def test_a_comma_is_a_decimal_mark_where_that_is_likelier() -> None:
    for texts, expected in (
        (["1,234", "2,500"], [1.234, 2.5]),
        (["1.234,5", "2"], [1234.5, 2]),
        (["1,234,567"], [1234567]),
        (["7.4", "0.75"], [7.4, 0.75]),
    ):
        numbers = read_numbers(texts, prefers_comma=True)
        assert numbers is not None and numbers.values.tolist() == expected


def test_the_guess_is_of_all_texts_whatever_their_order() -> None:
    texts: list[str | None] = ["1.200", "3,5", "950", "12"]
    for start in range(4):
        numbers = read_numbers(texts[start:] + texts[:start])
        assert numbers is not None and sorted(numbers.values) == [3.5, 12, 950, 1200]


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["1"] * 9 + ["x"], "not numbers: 1 of its 10 values, such as 'x'"),
        (["5 kg"] * 8 + ["300 g"] * 2, "its numbers have different units: kg (8), g (2)"),
        (["3,5", "2.5"], "its numbers have different marks, as 1,234.5 and 1.234,5"),
        (["red", "blue", "7"], None),
        (["?", None], None),
    ],
)
def test_why_a_column_is_none_of_numbers(texts: list[str | None], expected: str | None) -> None:
    assert obstacle(texts) == expected
