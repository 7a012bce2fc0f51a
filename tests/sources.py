"""The package's source as trees: each file is parsed once for all tests of a process."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path


@cache
def parsed(file: Path) -> ast.Module:
    """The tree of a Python file, which nobody may change."""
    return ast.parse(file.read_text(encoding="utf-8"))
