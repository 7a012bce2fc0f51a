"""Text for plotly, which reads some HTML, such as ``<b>``, as markup."""

from __future__ import annotations

from textwrap import wrap

from markupsafe import Markup, escape

LINE_BREAK = Markup("<br>")


def label(text: object) -> Markup:
    """Text as plotly draws it literally."""
    return Markup(str(escape(str(text))).replace("&#34;", '"').replace("&#39;", "'"))


def in_lines(name: str, width: int = 16) -> Markup:
    """The name of a parameter or a phase in lines of about ``width`` characters, cut at a ``_``."""
    lines = wrap(name.replace("_", "_ "), width, break_long_words=False)
    return LINE_BREAK.join(label(line.replace("_ ", "_")) for line in lines)
