"""One session of the Old Bailey Proceedings: the trials in a TEI file, and its date."""

from __future__ import annotations

import html.entities
import re
from typing import IO, NamedTuple
from xml.parsers import expat

FIRST, LAST = 1674, 1913  # years of the Proceedings
ROOTS = frozenset({"TEI.2", "TEI", "teiCorpus.2", "teiCorpus"})
DATE = re.compile(r"(?<!\d)(1[6-9]\d\d)-?(\d\d)-?(\d\d)(?!\d)")


class MalformedError(Exception):
    """A file that is XML, but no session."""


class NotTeiError(MalformedError):
    """XML of another kind."""


class Trial(NamedTuple):
    """One trial account; ``broad`` and ``narrow`` are empty where it names no offence."""

    id: str
    broad: str
    narrow: str
    text: str


def read_session(stream: IO[bytes]) -> list[Trial]:
    """All trial accounts of one TEI file, in its order.

    Raises MalformedError, ExpatError, LookupError or ValueError (an encoding), and what reading
    the stream raises; a file that ends in the middle gives nothing.
    """
    reader = _Reader()
    reader.read(stream)
    return reader.trials


def read_date(stream: IO[bytes]) -> str:
    """The YYYYMMDD of the first element that has one; raises as ``read_session`` does."""
    reader = _Reader(only_date=True)
    try:
        reader.read(stream)
    except _DatedError:
        return reader.date
    raise MalformedError("there is no session date in its name or its header")


def find_date(text: str) -> str:
    """The YYYYMMDD of a session in a file name or an id, or nothing."""
    for year, month, day in DATE.findall(text):
        if FIRST <= int(year) <= LAST:
            return f"{year}{month}{day}"
    return ""


def fold(text: str) -> str:
    """The text line by line as the archive breaks it, without margins and blank lines."""
    return "\n".join(filter(None, map(str.strip, text.split("\n"))))


class _DatedError(Exception):
    """The date is known, so reading can stop."""


class _Reader:
    """Collects trials while expat reads a file.

    Nothing is fetched from elsewhere, and expat since 2.4.1 refuses entities that multiply.
    """

    def __init__(self, *, only_date: bool = False) -> None:
        self.date = ""
        self.trials: list[Trial] = []
        self._only_date = only_date
        self._at_root = True
        self._depth = 0  # of the open element, counted from its trial; 0 outside of trials
        self._id = self._broad = self._narrow = ""
        self._pieces: list[str] = []
        self._parser = expat.ParserCreate()
        self._parser.buffer_text = True
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.SkippedEntityHandler = self._entity
        self._parser.ExternalEntityRefHandler = self._elsewhere

    def read(self, stream: IO[bytes]) -> None:
        try:
            while chunk := stream.read(1 << 16):
                self._parser.Parse(chunk, False)
            self._parser.Parse(b"", True)
        finally:
            # It refers back to this reader: a cycle would keep the text until it is collected
            del self._parser

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        if self._at_root:
            self._at_root = False
            if _local(tag) not in ROOTS:
                raise NotTeiError(f"not TEI, it begins with <{tag}>")
        if self._only_date:
            self._look_for_date(tag, attributes)
        kind = attributes.get("type")
        if self._depth:
            self._depth += 1
            if kind == "offenceCategory":
                self._broad = self._broad or attributes.get("value", "").strip()
            elif kind == "offenceSubcategory":
                self._narrow = self._narrow or attributes.get("value", "").strip()
        elif kind == "trialAccount":
            self._id = (attributes.get("id") or attributes.get("xml:id") or "").strip()
            if not self._id:
                line = self._parser.CurrentLineNumber
                raise MalformedError(f"trial account without an id: line {line}")
            self._broad = self._narrow = ""
            self._pieces = []
            self._depth = 1
            self._parser.CharacterDataHandler = self._pieces.append

    def _end(self, tag: str) -> None:
        if self._depth:
            self._depth -= 1
            if not self._depth:
                self._parser.CharacterDataHandler = None
                text = fold("".join(self._pieces))
                self.trials.append(Trial(self._id, self._broad, self._narrow, text))

    def _entity(self, name: str, is_parameter: bool) -> None:
        """An entity whose DTD is not at hand; most have the names that HTML uses."""
        if is_parameter or not self._depth:
            return
        if name not in html.entities.name2codepoint:
            raise MalformedError(f"unknown entity &{name}; in trial {self._id}")
        self._pieces.append(chr(html.entities.name2codepoint[name]))

    def _elsewhere(self, context: str, *place: str | None) -> int:
        raise MalformedError(f"entity &{context}; is in another file: {place[1]}")

    def _look_for_date(self, tag: str, attributes: dict[str, str]) -> None:
        dates = _local(tag) == "date" or attributes.get("type") == "date"
        for key in ("id", "xml:id", "when", "value") if dates else ("id", "xml:id"):
            self.date = find_date(attributes.get(key, ""))
            if self.date:
                raise _DatedError


def _local(tag: str) -> str:
    """The name without a namespace's prefix."""
    return tag.rpartition(":")[2]
