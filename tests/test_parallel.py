"""How `make test` divides the tests among processes: by files, the longest first."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests import ROOT

TESTS = """
import os
import pathlib
import pytest

@pytest.fixture(scope="module")
def made():
    with pathlib.Path("made").open("a") as file:
        file.write(f"{__name__}\\n")

@pytest.mark.parametrize("number", range(10))
def test_it(made, number):
    pass
"""


@pytest.mark.processes
def test_what_a_files_fixtures_make_is_made_once(tmp_path: Path) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (options,) = re.findall(r"^PARALLEL \?= (.*)$", makefile, re.MULTILINE)
    for name in ("test_a.py", "test_b.py", "test_c.py"):
        (tmp_path / name).write_text(TESTS)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:kmock", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, *options.split(), "--rootdir", tmp_path, tmp_path],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert "30 passed" in done.stdout, done.stdout + done.stderr
    assert sorted((tmp_path / "made").read_text().split()) == ["test_a", "test_b", "test_c"]


def test_files_with_quick_tests_only_come_last(request: pytest.FixtureRequest) -> None:
    from tests import selection

    items = selection.longest_first(list(reversed(request.session.items)))
    not_quick = {item.path for item in items if not selection.is_quick(item)}
    order = [item.path in not_quick for item in items]
    assert order == sorted(order, reverse=True)
    files = [item.path for item in items]
    blocks = [file for file, before in zip(files, [None, *files], strict=False) if file != before]
    assert len(blocks) == len({*files})
