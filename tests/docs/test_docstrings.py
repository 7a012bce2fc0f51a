"""Docstrings are alike: Google's sections, which ruff checks, with entries in lower case."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import ROOT
from tests.sources import parsed

SECTIONS = ("Args", "Attributes", "Raises")
NAMES = {"Flask", "Kubernetes", "None", "Optuna", "Python"}
PACKAGES = sorted(
    {file.relative_to(ROOT / "hpo_job").parts[0] for file in ROOT.glob("hpo_job/**/*.py")}
)


def entries(file: Path) -> Iterator[tuple[str, str]]:
    """The entries of all sections in a file, each as (name, description)."""
    kinds = (ast.ClassDef, ast.FunctionDef)
    for node in ast.walk(parsed(file)):
        section = None
        for line in (ast.get_docstring(node) or "").splitlines() if isinstance(node, kinds) else ():
            if heading := re.fullmatch(r"(\w+):", line):
                section = heading[1]
            elif section in SECTIONS and (entry := re.match(r" {4}\**([\w.]+): (.+)", line)):
                yield entry[1], entry[2]


@pytest.mark.parametrize("package", PACKAGES)
def test_entries_begin_in_lower_case(package: str) -> None:
    place = ROOT / "hpo_job" / package
    files = [place] if place.is_file() else sorted(place.rglob("*.py"))
    wrong = [
        f"{file.relative_to(ROOT)}: {name}: {text}"
        for file in files
        for name, text in entries(file)
        if re.match(r"[A-Z][a-z]*\b", text) and text.split()[0].rstrip("'s:,") not in NAMES
    ]
    assert wrong == []


def test_entries_are_found() -> None:
    names = [name for name, _ in entries(ROOT / "hpo_job" / "data" / "tables.py")]
    assert {"file", "frame", "DataError", "regression"} <= set(names)
