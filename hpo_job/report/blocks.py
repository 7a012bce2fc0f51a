"""What a section of a page is put together from: plain data, which the templates turn into HTML.

Nothing here is HTML. The template of the same name (templates/blocks.html) draws each block, and
escapes whatever text it holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class Block:
    """A part of a section; ``kind`` names the macro of templates/blocks.html that draws it."""

    kind: ClassVar[str]


@dataclass(frozen=True)
class Heading(Block):
    """A heading inside a section."""

    kind = "heading"
    text: str


@dataclass(frozen=True)
class Paragraph(Block):
    """A sentence or more."""

    kind = "paragraph"
    text: str


@dataclass(frozen=True)
class Note(Block):
    """A remark, or a sentence in place of what cannot be drawn."""

    kind = "note"
    text: str


@dataclass(frozen=True)
class Card:
    """A number in large type, its title above it, an explanation below."""

    title: str
    number: str
    explanation: str


@dataclass(frozen=True)
class Cards(Block):
    """Cards in a row."""

    kind = "cards"
    cards: Sequence[Card]


@dataclass(frozen=True)
class Table(Block):
    """A table that is read as it is.

    Args:
        header: the headings; all empty for a table without a heading.
        rows: the cells, as text.
        right: which columns are numbers, and flush right.
    """

    kind = "table"
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    right: Sequence[int] = ()


@dataclass(frozen=True)
class Pairs(Block):
    """Names and what they stand for, a row each."""

    kind = "pairs"
    rows: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Details(Block):
    """Text to copy, hidden until its title is clicked."""

    kind = "details"
    title: str
    text: str


@dataclass(frozen=True)
class Figure(Block):
    """The place of a figure, which the page's script draws.

    Args:
        name: the id of the element, and of the figure in the page's data.
        height: in pixels.
        caption: a sentence below it, or nothing.
    """

    kind = "figure"
    name: str
    height: int
    caption: str = ""


@dataclass(frozen=True)
class Grid(Block):
    """Small figures next to each other, as many as fit; None is left out."""

    kind = "grid"
    figures: Sequence[Block | None]


@dataclass(frozen=True)
class Picture:
    """A small image.

    Args:
        source: a data URL.
        caption: a line below it.
        name: which file it is, for where the mouse is over it.
    """

    source: str
    caption: str
    name: str


@dataclass(frozen=True)
class Pictures(Block):
    """Small images next to each other, as many as fit."""

    kind = "pictures"
    pictures: Sequence[Picture]


@dataclass(frozen=True)
class Explorer(Block):
    """The place of a table that can be sorted and filtered, which the page's script fills."""

    kind = "explorer"
    name: str
