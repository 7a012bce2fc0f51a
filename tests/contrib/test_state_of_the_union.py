"""The passages of the addresses: whole sentences, a few of each address, of parties with many."""

from __future__ import annotations

import csv
import gzip
import io
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from contrib.state_of_the_union import ADDRESSES, PASSAGES, WORDS, passages, spaced
from tests import ROOT, SHARED_DATA

REAL = SHARED_DATA / "state-of-the-union.csv.gz"
JOBS = ROOT / "jobs"
Cli = Callable[..., Result]
Refused = Callable[..., str]


def source(path: Path, *addresses: tuple[int, str, str, str]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("year", "name", "party", "text"), *addresses])
    return path


def whigs(count: int, first: int = 1800) -> list[tuple[int, str, str, str]]:
    return [(first + n, f"Whig {n}", "Whig", "We were here. " * 100) for n in range(count)]


def read(path: Path) -> list[dict[str, str]]:
    content = path.read_bytes()
    text = gzip.decompress(content).decode() if path.suffix == ".gz" else content.decode()
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_a_passage_is_whole_sentences() -> None:
    sentence = "Mr. Speaker, it said: the U.S. Army paid 1.5 million. "
    pieces = passages(sentence * 40)
    assert all(piece.endswith("million.") and piece.startswith("Mr.") for piece in pieces)
    assert all(WORDS <= len(piece.split()) < WORDS + 10 for piece in pieces)
    assert passages("One short address.") == ["One short address."]
    assert passages("") == []


def test_passages_are_spaced_from_the_first_to_the_last() -> None:
    items = [str(number) for number in range(100)]
    assert spaced(items, 4) == ["0", "33", "66", "99"]
    assert spaced(items[:3], 4) == items[:3]
    assert len(set(spaced(items[:13], 12))) == 12


def test_parties_with_few_addresses_are_left_out(cli: Cli, tmp_path: Path) -> None:
    rows = [*whigs(ADDRESSES), *((1850 + n, "A", "Few", "No. " * 200) for n in range(3))]
    table = source(tmp_path / "s.csv", *rows, (1950, "B", "Late", "Not of the era."))
    result = cli("state-of-the-union", table, "--era", "early", "-o", "p.csv.gz")
    assert result.exit_code == 0, result.output
    assert "p.csv.gz: 10 addresses, 20 passages; 3 addresses of parties with few" in result.stdout
    written = read(tmp_path / "p.csv.gz")
    assert {row["party"] for row in written} == {"Whig"}
    assert written[0]["address"] == "1800 Whig 0"
    first = (tmp_path / "p.csv.gz").read_bytes()
    cli("state-of-the-union", table, "--era", "early", "-o", "p.csv.gz")
    assert (tmp_path / "p.csv.gz").read_bytes() == first


def test_what_cannot_be_converted_is_told_in_a_line(refused: Refused, tmp_path: Path) -> None:
    few = source(tmp_path / "few.csv", *whigs(2))

    def said(path: Path, output: str = "p.csv") -> str:
        return refused("state-of-the-union", path, "--era", "early", "-o", output)

    assert "no party has 10 addresses from 1790 to 1900" in said(few)
    assert "has to end in .csv or .csv.gz" in said(few, "p.txt")
    assert "cannot be read: No such file" in said(tmp_path / "none.csv")
    (tmp_path / "other.csv").write_text("year,words\n1800,a\n")
    assert "no column name, party, text" in said(tmp_path / "other.csv")
    (tmp_path / "year.csv").write_text("year,name,party,text\nlast,a,b,c\n")
    assert "line 2: no year, or no text" in said(tmp_path / "year.csv")
    (tmp_path / "cut.csv.gz").write_bytes(gzip.compress(few.read_bytes())[:-9])
    assert "cut.csv.gz: cannot be read" in said(tmp_path / "cut.csv.gz")


@pytest.mark.parametrize(("era", "parties"), [("early", 3), ("late", 2)])
def test_the_shipped_tables_are_of_every_party_alike(era: str, parties: int) -> None:
    rows = read(JOBS / f"state-of-the-union-{era}" / "passages.csv.gz")
    counts = Counter(row["party"] for row in rows)
    assert len(counts) == parties
    assert max(counts.values()) < 1.2 * min(counts.values())
    assert max(Counter(row["address"] for row in rows).values()) <= PASSAGES


@pytest.mark.needs("state-of-the-union")
@pytest.mark.parametrize("era", ["early", "late"])
def test_the_shipped_tables_are_what_the_command_makes(cli: Cli, tmp_path: Path, era: str) -> None:
    result = cli("state-of-the-union", REAL, "--era", era, "-o", "made.csv.gz")
    assert result.exit_code == 0, result.output
    shipped = JOBS / f"state-of-the-union-{era}" / "passages.csv.gz"
    assert read(tmp_path / "made.csv.gz") == read(shipped)
