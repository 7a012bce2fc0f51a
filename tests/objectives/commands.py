"""The command, run in this process where fastai is imported already."""

from __future__ import annotations

import os
from pathlib import Path

from click.testing import CliRunner, Result

from hpo_job.cli import main


def run(folder: Path, *arguments: str | Path) -> Result:
    """Run a command in ``folder``, which has to succeed; also for fixtures of whole modules."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        done = CliRunner().invoke(main, list(map(str, arguments)), env={"COLUMNS": "80"})
    finally:
        os.chdir(before)
    assert done.exit_code == 0, done.output
    if "--format" not in arguments:  # what a program reads has lines of any length
        assert all(len(line) <= 80 for line in done.stdout.splitlines() if "data   " not in line)
    return done
