"""A study that version 0.1.0 began, on SQLite, goes on: its worker was killed in the fourth trial.

``begun/studies.sql`` is the database as an early 0.1.0 (of November 2026) left it.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

BEGUN = Path(__file__).parent / "begun"
Cli = Callable[..., Result]


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """The database of the study, with its job folder next to it."""
    shutil.copytree(BEGUN, tmp_path / "begun", ignore=shutil.ignore_patterns("*.sql"))
    file = tmp_path / "studies.db"
    connection = sqlite3.connect(file)
    connection.executescript((BEGUN / "studies.sql").read_text(encoding="utf-8"))
    connection.close()
    return file


def states(database: Path) -> list[tuple[int, str]]:
    connection = sqlite3.connect(database)
    rows = connection.execute("SELECT number, state FROM trials ORDER BY number").fetchall()
    connection.close()
    return rows


@pytest.mark.studies
def test_a_study_of_0_1_0_is_read_and_goes_on(cli: Cli, database: Path) -> None:
    at = ("--storage", f"sqlite:///{database}")
    assert [state for _, state in states(database)] == ["COMPLETE"] * 3 + ["RUNNING"]
    before = cli("best", "begun", *at)
    assert before.exit_code == 0, before.output
    assert "trial 0: loss 0.0360" in before.stdout
    done = cli("worker", "begun", *at, "--grace", "30")
    assert done.exit_code == 0, done.output
    after = states(database)
    # the budget of 6, and the trial whose worker was killed; its parameters ran again
    assert [state for _, state in after].count("COMPLETE") == 6
    assert after[3] == (3, "FAIL")
    assert len(after) == 7
    assert cli("results", "begun", *at).exit_code == 0
    assert "6 of 6 trials" in cli("status", "begun", *at).stdout


def test_a_changed_study_of_0_1_0_is_refused(cli: Cli, database: Path, tmp_path: Path) -> None:
    study = tmp_path / "begun" / "study.toml"
    study.write_text(study.read_text().replace("5.0 }", "6.0 }"))
    done = cli("worker", "begun", "--storage", f"sqlite:///{database}")
    assert done.exit_code == 2
    assert "search_space" in done.stderr
