"""State of the Union addresses: passages of an era, each with the speaker's party."""

from __future__ import annotations

import csv
import gzip
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from contrib.table_file import replacing, require_writable
from hpo_job.errors import DataError, problem

COLUMNS = ("address", "party", "text")
ERAS = {"early": range(1790, 1901), "late": range(1901, 2022)}  # years
WORDS = 100  # that a passage has at least: it ends with the sentence that reaches them
PASSAGES = 12  # of an address at most, evenly spaced, so that no long one outweighs the others
ADDRESSES = 10  # of a party at least: of fewer, the held-out ones would be one or two
# The end of a sentence; "Mr. Speaker" and "U.S. troops" are none
_SENTENCE = re.compile(r"(?<=[.!?])(?<!Mr\.)(?<!Mrs\.)(?<!U\.S\.)\s+(?=[\"'A-Z0-9])")


class Address(NamedTuple):
    """One address: a row of the source."""

    year: int
    name: str
    party: str
    text: str


@dataclass(frozen=True)
class Summary:
    """Counts of a conversion: addresses used, passages written, addresses of small parties."""

    addresses: int
    rows: int
    left_out: int


def convert(source: Path, era: str, output: Path) -> Summary:
    """Write the passages of the addresses of an era as a table with COLUMNS.

    Parties with fewer than ADDRESSES addresses in the era are left out. The same source gives the
    same bytes.

    Args:
        source: A .csv or .csv.gz with the columns year, name, party and text, an address a row.
        era: A key of ERAS.
        output: A .csv or .csv.gz, replaced once all of it is written.

    Raises:
        DataError: There is nothing to convert; nothing is written.
    """
    require_writable(output)
    years = ERAS[era]
    addresses = [address for address in _read(source) if address.year in years]
    counts = Counter(address.party for address in addresses)
    chosen = [address for address in addresses if counts[address.party] >= ADDRESSES]
    if not chosen:
        span = f"{years[0]} to {years[-1]}"
        raise DataError(f"{source}: no party has {ADDRESSES} addresses from {span}")
    rows = 0
    with replacing(output) as table:
        writer = csv.writer(table)
        writer.writerow(COLUMNS)
        for address in chosen:
            for passage in spaced(passages(address.text), PASSAGES):
                writer.writerow((f"{address.year} {address.name}", address.party, passage))
                rows += 1
    return Summary(len(chosen), rows, len(addresses) - len(chosen))


def passages(text: str) -> list[str]:
    """``text`` in pieces of whole sentences, WORDS words or a little more each.

    A shorter rest is left out, unless it is all there is.
    """
    pieces: list[str] = []
    words: list[str] = []
    for sentence in _SENTENCE.split(text):
        words += sentence.split()
        if len(words) >= WORDS:
            pieces.append(" ".join(words))
            words = []
    return pieces or ([" ".join(words)] if words else [])


def spaced(items: list[str], count: int) -> list[str]:
    """``count`` of ``items``, evenly spaced from the first to the last; all, if there are fewer."""
    if len(items) <= count:
        return items
    step = (len(items) - 1) / (count - 1)
    return [items[round(position * step)] for position in range(count)]


def _read(source: Path) -> Iterator[Address]:
    try:
        if source.suffix == ".gz":
            with gzip.open(source, "rt", encoding="utf-8-sig", newline="") as file:
                yield from _rows(source, file)
        else:
            with source.open(encoding="utf-8-sig", newline="") as file:
                yield from _rows(source, file)
    except (OSError, EOFError, UnicodeDecodeError, zlib.error, csv.Error) as error:
        raise DataError(f"{source}: cannot be read: {problem(error)}") from error


def _rows(source: Path, lines: Iterable[str]) -> Iterator[Address]:
    csv.field_size_limit(10**8)  # an address has up to 200,000 characters
    table = csv.DictReader(lines)
    missing = {*Address._fields} - {*(table.fieldnames or ())}
    if missing:
        raise DataError(f"{source}: no column {', '.join(sorted(missing))}")
    for row in table:
        if not (row["year"] or "").isdecimal() or not row["text"]:
            raise DataError(f"{source}: line {table.line_num}: no year, or no text")
        yield Address(int(row["year"]), row["name"], row["party"], row["text"])
