"""A page: its sections, its figures and its tables, and the one HTML file they become."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from importlib import resources
from typing import Any

import plotly.graph_objects as go
import plotly.io
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from hpo_job.report.blocks import Block, Explorer, Figure, Note
from hpo_job.study import provenance


@dataclass(frozen=True)
class Section:
    """A part of the page with a heading that can be linked to."""

    title: str
    name: str
    level: int
    blocks: tuple[Block, ...]


@dataclass
class Page:
    """A page that grows section by section."""

    title: str
    sections: list[Section] = field(default_factory=list)
    figures: dict[str, go.Figure] = field(default_factory=dict)
    tables: dict[str, dict[str, Any]] = field(default_factory=dict)

    def section(self, title: str, name: str, *blocks: Block | None, level: int = 2) -> None:
        """Add a section.

        Args:
            title: its heading.
            name: what a link calls it; changed where it is taken or no word.
            blocks: what is in it; None is left out.
            level: 1 for a chapter, 2 for a section.
        """
        kept = tuple(block for block in blocks if block is not None)
        self.sections.append(Section(title, self._unused(name), level, kept))

    def menu(self) -> list[Section]:
        """The sections that the top of the page links to: chapters where there are any."""
        top = min((section.level for section in self.sections), default=2)
        return [section for section in self.sections if section.level == top]

    def figure(
        self, name: str, figure: go.Figure | None, caption: str = "", *, empty: str | None = None
    ) -> Block | None:
        """The place of a figure.

        Args:
            name: what it is called on the page; changed where it is taken or no word.
            figure: None where there is nothing to draw.
            caption: a sentence below it.
            empty: a sentence that stands there instead of nothing.
        """
        if figure is None:
            return Note(empty) if empty else None
        name = self._unused(name)
        self.figures[name] = figure
        return Figure(name, figure.layout.height, caption)

    def table(self, name: str, columns: Sequence[Mapping[str, Any]], rows: Sequence[Any]) -> Block:
        """The place of a table that can be sorted and filtered; see `tables.columns_and_rows`."""
        name = self._unused(name)
        self.tables[name] = {"columns": list(columns), "rows": list(rows)}
        return Explorer(name)

    def html(self) -> str:
        """The whole page, with all that it needs to be shown without a network."""
        figures = {name: json.loads(plotly.io.to_json(each)) for name, each in self.figures.items()}
        version = provenance.versions().get("hpo-job", "")
        return (
            _environment()
            .get_template("page.html")
            .render(
                page=self,
                figures=figures,
                written=f"{datetime.now():%Y-%m-%d %H:%M}, hpo-job {version}",
                style=_asset("page.css"),
                scripts=[Markup(get_plotlyjs()), _asset("table.js"), _asset("page.js")],
            )
        )

    def _unused(self, name: str) -> str:
        """The name as an id that nothing else on the page has."""
        base = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "part"
        taken = {*self.figures, *self.tables, *(section.name for section in self.sections)}
        # the page's own elements, see templates/page.html
        taken |= {"figures", "tables", "theme"}
        unused, count = base, 2
        while unused in taken:
            unused, count = f"{base}-{count}", count + 1
        return unused


@cache
def _environment() -> Environment:
    """Templates in which every expression is escaped, and a name that is missing is an error."""
    environment = Environment(
        loader=PackageLoader("hpo_job.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # the filter tojson escapes what would end a script element; NaN is no JSON
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False}
    return environment


def _asset(name: str) -> Markup:
    """A style sheet or script of this package, which is inserted as it is."""
    file = resources.files("hpo_job.report").joinpath("assets", name)
    return Markup(file.read_text(encoding="utf-8"))
