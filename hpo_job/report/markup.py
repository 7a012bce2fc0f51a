"""The pieces that a page is put together from; all text that comes from a study is escaped."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import plotly.graph_objects as go


@dataclass
class Page:
    """A page as it grows: its body, and the figures and tables that its script fills in."""

    title: str
    body: list[str] = field(default_factory=list)
    links: list[tuple[str, str, int]] = field(default_factory=list)
    figures: dict[str, go.Figure] = field(default_factory=dict)
    tables: dict[str, dict[str, Any]] = field(default_factory=dict)

    def section(self, title: str, name: str, *parts: str, level: int = 2) -> None:
        """A part of the page with a heading that can be linked to.

        The menu has all of level 2; where there are chapters of level 1, those instead.
        """
        name = self._free(name)
        self.links.append((name, title, level))
        heading = f"<h{level}>{text(title)}</h{level}>"
        self.body.append(
            f'<section id="{name}" class="level{level}">{heading}{"".join(parts)}</section>'
        )

    def menu(self) -> list[tuple[str, str]]:
        """The names and titles of the parts that are linked to from the top."""
        top = min((level for *_, level in self.links), default=2)
        return [(name, title) for name, title, level in self.links if level == top]

    def figure(
        self, name: str, made: go.Figure | None, caption: str = "", *, empty: str | None = None
    ) -> str:
        """The place of a figure, or a sentence where there is nothing to draw."""
        if made is None:
            return note(empty) if empty else ""
        name = self._free(name)
        self.figures[name] = made
        told = f"<figcaption>{text(caption)}</figcaption>" if caption else ""
        return (
            f'<figure><div class="plot" id="{name}" style="height:{made.layout.height}px"></div>'
            f"{told}</figure>"
        )

    def table(self, name: str, columns: Sequence[Mapping[str, Any]], rows: Sequence[Any]) -> str:
        """A table that can be sorted and filtered."""
        name = self._free(name)
        self.tables[name] = {"columns": list(columns), "rows": list(rows)}
        return f'<div class="explorer" id="{name}"></div>'

    def _free(self, name: str) -> str:
        base = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "part"
        taken = {*self.figures, *self.tables, *(link for link, *_ in self.links)}
        count, free = 2, base
        while free in taken or any(f'id="{free}"' in part for part in self.body):
            free, count = f"{base}-{count}", count + 1
        return free


def text(found: object) -> str:
    """Text as HTML shows it literally."""
    return html.escape(str(found))


def note(words: str) -> str:
    """A sentence in place of what cannot be shown, or beside what is."""
    return f'<p class="note">{text(words)}</p>'


def cards(found: Sequence[tuple[str, str, str]]) -> str:
    """Figures in large type: a title, the figure, and a line that explains it."""
    each = "".join(
        f'<div class="card"><h3>{text(title)}</h3><p class="big">{text(big)}</p>'
        f"<p>{text(small)}</p></div>"
        for title, big, small in found
    )
    return f'<div class="cards">{each}</div>'


def simple_table(
    header: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()
) -> str:
    """A small table; ``right``: which columns are numbers."""

    def cells(tag: str, line: Sequence[str]) -> str:
        return "".join(
            f"<{tag}{' class=number' if i in right else ''}>{text(cell)}</{tag}>"
            for i, cell in enumerate(line)
        )

    head = f"<thead><tr>{cells('th', header)}</tr></thead>" if any(header) else ""
    body = "".join(f"<tr>{cells('td', line)}</tr>" for line in rows)
    return f'<div class="wide"><table>{head}<tbody>{body}</tbody></table></div>'


def pairs(rows: Sequence[tuple[str, str]]) -> str:
    """Names and what they are, a line each."""
    return f'<div class="pairs">{simple_table(("", ""), rows)}</div>'


def details(title: str, inner: str, *, opened: bool = False) -> str:
    """What is shown when it is asked for."""
    return f"<details{' open' * opened}><summary>{text(title)}</summary>{inner}</details>"


def grid(parts: Sequence[str]) -> str:
    """Small figures beside each other, as many as there is room for."""
    return f'<div class="grid">{"".join(parts)}</div>'


def pre(words: str) -> str:
    """Text as it is, such as TOML to copy."""
    return f"<pre>{text(words)}</pre>"
