"""``make coverage``: which lines of each package the tests run, and which errors none raises."""

from __future__ import annotations

import ast
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import coverage

from tests import ROOT

PACKAGE = ROOT / "hpo_job"


def package(file: Path) -> str:
    """The package that a file belongs to: the first folder below hpo_job, or the module."""
    return file.relative_to(PACKAGE).parts[0]


def raises(file: Path) -> Iterator[tuple[int, str]]:
    """Each statement that raises an error: its line, and its beginning."""
    text = file.read_text(encoding="utf-8")
    lines = text.splitlines()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Raise):
            yield node.lineno, lines[node.lineno - 1].strip()


def main() -> int:
    """Print a line for each package and one for each error that no test raises."""
    data = coverage.Coverage()
    data.load()
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    untested: list[str] = []
    for file in sorted(PACKAGE.rglob("*.py")):
        _, statements, _, missing, _ = data.analysis2(str(file))
        for name in (package(file), "all"):
            counts[name][0] += len(statements)
            counts[name][1] += len(missing)
        untested += [
            f"{file.relative_to(ROOT)}:{line}: {text}"
            for line, text in raises(file)
            if line in missing
        ]
    print(f"{'package':<14} {'lines':>6} {'not run':>8} {'run':>5}")
    for name, (lines, missed) in counts.items():
        if lines and name != "all":
            print(f"{name:<14} {lines:>6} {missed:>8} {1 - missed / lines:>5.0%}")
    lines, missed = counts["all"]
    print(f"{'all':<14} {lines:>6} {missed:>8} {1 - missed / lines:>5.0%}")
    if untested:
        print(f"\n{len(untested)} errors that no test raises:")
        print("\n".join(untested))
    return 0


if __name__ == "__main__":
    sys.exit(main())
