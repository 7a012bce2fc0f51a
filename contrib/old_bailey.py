"""Trials of the Old Bailey Proceedings: the archive's TEI files become one table per decade."""

from __future__ import annotations

import csv
import lzma
import re
import zipfile
import zlib
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path, PurePath
from typing import IO, TYPE_CHECKING
from xml.parsers import expat

from contrib import tei
from contrib.table_file import replacing, require_writable
from hpo_job.errors import DataError, problem

if TYPE_CHECKING:
    import _csv

COLUMNS = tei.Trial._fields

# What opening, unpacking, decoding and parsing one file can raise: RuntimeError is a zip member
# with a password or of an unknown compression, LookupError and ValueError an encoding
UNREADABLE = (
    OSError,
    EOFError,
    LookupError,
    RuntimeError,
    ValueError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    expat.ExpatError,
    tei.MalformedError,
)


@dataclass
class Summary:
    """What a conversion did.

    ``sessions`` and ``trials`` count those of the decade, each once; ``repeated`` counts trial
    accounts that another file held already; ``skipped`` malformed files.
    """

    sessions: int = 0
    trials: int = 0
    rows: int = 0
    repeated: int = 0
    skipped: int = 0


@dataclass(frozen=True)
class _File:
    """A file that should be TEI, by itself or in a zip; ``name`` is for messages."""

    name: str
    path: Path
    is_source: bool = False  # named by the user, rather than in a folder or a zip
    archive: zipfile.ZipFile | None = None
    member: str = ""

    def open(self) -> IO[bytes]:
        return self.archive.open(self.member) if self.archive else self.path.open("rb")

    def date(self) -> str:
        """YYYYMMDD from the file's name, else from its beginning."""
        if date := tei.find_date(PurePath(self.member or self.path).stem):
            return date
        with self.open() as stream:
            return tei.read_date(stream)


def read_decade(text: str) -> int:
    """The first year of a decade written ``1730`` or ``1730s``; anything else is a DataError."""
    year = text.strip().removesuffix("s")
    decades = range(tei.FIRST // 10 * 10, tei.LAST + 1, 10)
    if not (year.isdecimal() and int(year) in decades):
        span = f"{decades[0]}, {decades[1]} … {decades[-1]}"
        raise DataError(f"decade {text!r} is not one of the Proceedings': {span}")
    return int(year)


def convert(
    sources: Sequence[Path],
    decade: int,
    output: Path,
    *,
    tell: Callable[[str], None],
    look: Callable[[int, int], None] = lambda done, total: None,
) -> Summary:
    """Write the trials of a decade that have an offence category, by session date and id.

    Args:
        sources: Zips, folders and TEI files; a trial in several of them is taken from the first.
        decade: Its first year.
        output: A name that ends in .csv or .csv.gz; replaced once all of it is written.
        tell: Called with a line for each file that is left out.
        look: Called with the number of sessions done, and of all.

    Raises:
        DataError: A source does not exist, or none has a trial of the decade; nothing is written.
    """
    require_writable(output)
    summary = Summary()

    def skip(name: str, problem: object) -> None:
        summary.skipped += 1
        tell(f"{name}: {problem}; skipped")

    where = ", ".join(map(str, sources))
    with ExitStack() as archives:
        dated: list[tuple[str, _File]] = []
        for file in _find(sources, archives, skip):
            try:
                dated.append((file.date(), file))
            except UNREADABLE as error:
                if isinstance(error, tei.NotTeiError) and not file.is_source:
                    # Its name is no session's, so nothing is lost
                    tell(f"{file.name}: {problem(error)}; ignored")
                else:
                    skip(file.name, problem(error))
        if not dated:
            raise DataError(f"no TEI file (.xml) that can be read in {where}")
        chosen = [(date, file) for date, file in dated if int(date[:4]) // 10 * 10 == decade]
        if not chosen:
            years = sorted(date[:4] for date, _ in dated)
            span = f"{years[0]} to {years[-1]}"
            raise DataError(f"no session of the {decade}s in {where}; found: {span}")
        with replacing(output) as table:
            _write(chosen, csv.writer(table), summary, skip, look)
            if not summary.trials:
                raise DataError(f"no trial of the {decade}s that can be read in {where}")
    return summary


def _write(
    files: list[tuple[str, _File]],
    table: _csv.Writer,
    summary: Summary,
    skip: Callable[[str, object], None],
    look: Callable[[int, int], None],
) -> None:
    """Write the rows of all sessions, a date at a time, so that memory holds one session."""
    table.writerow(COLUMNS)
    seen: set[str] = set()
    done = 0
    for _, same in groupby(sorted(files, key=_by_date), _by_date):
        rows: list[tei.Trial] = []
        for _, file in same:
            look(done, len(files))
            done += 1
            try:
                with file.open() as stream:
                    trials = tei.read_session(stream)
            except UNREADABLE as error:
                skip(file.name, problem(error))
                continue
            before = len(seen)
            for trial in trials:
                if trial.id not in seen:
                    seen.add(trial.id)
                    if trial.broad:
                        rows.append(trial)
            new = len(seen) - before
            summary.sessions += new > 0
            summary.trials += new
            summary.repeated += len(trials) - new
        rows.sort(key=_in_order)
        table.writerows(rows)
        summary.rows += len(rows)
    look(done, len(files))


def _find(
    sources: Sequence[Path], archives: ExitStack, skip: Callable[[str, object], None]
) -> list[_File]:
    """The TEI files of all sources in their order, the same file once."""
    for source in sources:
        if not source.exists():
            raise DataError(f"{source}: no such file or folder")
    files: dict[tuple[Path, str], _File] = {}
    for source in sources:
        if source.is_dir():
            for path in sorted(source.rglob("*")):
                if _is_tei(path.relative_to(source)) and path.is_file():
                    files.setdefault((path.resolve(), ""), _File(str(path), path))
        elif source.suffix.lower() == ".zip" or zipfile.is_zipfile(source):
            try:
                archive = archives.enter_context(zipfile.ZipFile(source))
            except (OSError, zipfile.BadZipFile) as error:
                skip(str(source), f"not a zip, or an incomplete one: {problem(error)}")
                continue
            members = archive.namelist()
            inner = [member for member in members if member.lower().endswith(".zip")]
            if inner and not any(map(_is_tei, map(PurePath, members))):
                skip(str(source), f"it holds a zip, {inner[0]}: unpack that, and name it instead")
            for member in members:
                if _is_tei(PurePath(member)) and not member.endswith("/"):
                    file = _File(f"{source}/{member}", source, archive=archive, member=member)
                    files.setdefault((source.resolve(), member), file)
        else:
            files.setdefault((source.resolve(), ""), _File(str(source), source, is_source=True))
    return list(files.values())


def _is_tei(path: PurePath) -> bool:
    """Whether a name can be a session's.

    Files that macOS or an editor left there are not, nor are the Ordinary's Accounts
    (OA17300417.xml), which the archive has next to the sessions and which hold no trial.
    """
    left = any(part.startswith(".") or part == "__MACOSX" for part in path.parts)
    return path.suffix.lower() == ".xml" and not left and not path.name.startswith("OA1")


def _by_date(dated: tuple[str, _File]) -> str:
    return dated[0]


def _in_order(trial: tei.Trial) -> str:
    """Puts t17301016-2 before t17301016-10, and 42m between 42 and 43."""
    return re.sub(r"\d+", lambda digits: digits[0].zfill(12), trial.id)
