"""A page as one HTML file: its body, its data, its style and its scripts, plotly.js once."""

from __future__ import annotations

import json
from datetime import datetime
from importlib import resources

import plotly.io
from plotly.offline import get_plotlyjs

from hpo_job.report.markup import Page, text
from hpo_job.study import provenance

# Nothing is fetched, whatever an error message or a parameter may hold
_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "img-src data: blob:; font-src data:"
)


def assembled(page: Page) -> str:
    """The whole file."""
    figures = {name: json.loads(plotly.io.to_json(made)) for name, made in page.figures.items()}
    menu = "".join(f'<a href="#{name}">{text(title)}</a>' for name, title in page.menu())
    made = f"{datetime.now():%Y-%m-%d %H:%M}, hpo-job {provenance.versions().get('hpo-job', '')}"
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<title>{text(page.title)}</title>
<style>{_asset("page.css")}</style>
</head>
<body>
<header><h1>{text(page.title)}</h1><p>{text(made)}</p>
<button id="theme" type="button" title="light or dark">◐ <span>theme</span></button></header>
<nav>{menu}</nav>
<main>{"".join(page.body)}</main>
<script type="application/json" id="figures">{_data(figures)}</script>
<script type="application/json" id="tables">{_data(page.tables)}</script>
<script>{get_plotlyjs()}</script>
<script>{_asset("table.js")}</script>
<script>{_asset("page.js")}</script>
</body>
</html>
"""


def _data(found: object) -> str:
    # a "</script>" in an error message would end the element
    dense = json.dumps(found, separators=(",", ":"), allow_nan=False)
    return dense.replace("<", "\\u003c").replace("\u2028", "\\u2028")


def _asset(name: str) -> str:
    return resources.files("hpo_job.report").joinpath("assets", name).read_text(encoding="utf-8")
