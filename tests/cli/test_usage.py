"""Options that do not go together are refused before anything is opened or written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("results mine --format parquet", "parquet is not text: name a file with --output"),
        ("best mine --pareto value,duration --fastest-within 0.1", "choose one"),
        ("status mine --watch --format json", "--watch and --format json: choose one"),
        ("init", "name a JOB, or add --cluster"),
        ("delete mine --study", "--study goes with --cluster"),
    ],
)
def test_what_does_not_go_together(
    cli: Callable[..., Result], tmp_path: Path, command: str, says: str
) -> None:
    before = set(tmp_path.rglob("*"))
    done = cli(*command.split())
    assert done.exit_code == 2
    assert done.stdout == ""
    assert says in done.stderr.splitlines()[-1]
    assert set(tmp_path.rglob("*")) == before
