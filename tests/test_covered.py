"""What `make coverage` prints."""

from __future__ import annotations

from pathlib import Path

import coverage
import pytest

from hpo_job.spec import urls
from tests import covered


def test_lines_of_packages_and_errors_that_nobody_raised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    data = coverage.CoverageData(str(tmp_path / ".coverage"))
    file = Path(str(urls.__file__))
    data.add_lines({str(file): range(1, 10_000), str(file.parent / "reading.py"): [1, 2, 3]})
    data.write()
    assert covered.main() == 0
    table, errors = capsys.readouterr().out.split("\n\n")
    names = [line.split()[0] for line in table.splitlines()]
    assert names[0] == "package"
    assert names[-1] == "all"
    assert {"cli", "spec", "storage", "machine.py"} <= set(names)
    rows = {line.split()[0]: line.split()[1:] for line in table.splitlines()}
    assert int(rows["spec"][1]) < int(rows["spec"][0])
    assert rows["cli"][2] == "0%"
    assert "hpo_job/spec/reading.py" in errors
    assert 'raise SpecError(f"{file}: cannot be read' in errors
    assert "hpo_job/spec/urls.py" not in errors
