"""What `make coverage` prints."""

from __future__ import annotations

from pathlib import Path

import coverage
import pytest

from tests import covered

ERROR = """
def read(file):
    if not file:
        raise SpecError(f"{file}: cannot be read")
    return file
"""


def test_lines_of_packages_and_errors_that_nobody_raised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    package = tmp_path / "hpo_job"
    for name in ("cli/__init__", "spec/reading", "spec/urls", "machine"):
        file = package / f"{name}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(ERROR)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(covered, "ROOT", tmp_path)
    monkeypatch.setattr(covered, "PACKAGE", package)
    data = coverage.CoverageData(str(tmp_path / ".coverage"))
    read = {"spec/urls": range(1, 10), "spec/reading": [2, 3, 5], "machine": [2, 3, 4]}
    data.add_lines({str(package / f"{name}.py"): lines for name, lines in read.items()})
    data.write()
    assert covered.main() == 0
    table, errors = capsys.readouterr().out.split("\n\n")
    rows = [line.split() for line in table.splitlines()]
    assert rows == [
        ["package", "lines", "not", "run", "run"],
        ["cli", "4", "4", "0%"],
        ["machine.py", "4", "1", "75%"],
        ["spec", "8", "1", "88%"],
        ["all", "16", "6", "62%"],
    ]
    error = 'raise SpecError(f"{file}: cannot be read")'
    assert errors.splitlines() == [
        "2 errors that no test raises:",
        f"hpo_job/cli/__init__.py:4: {error}",
        f"hpo_job/spec/reading.py:4: {error}",
    ]
