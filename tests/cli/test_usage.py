"""Options that do not go together are refused before anything is opened or written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from hpo_job.errors import SpecError
from hpo_job.worker.start_methods import START_VARIABLE, start_method


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


def test_a_folder_whose_name_is_no_studys(refused: Callable[..., str], image_folder: Path) -> None:
    assert refused("init", "___", "--data", image_folder) == (
        "hpo-job: ___: no name for a study in it; use letters a to z, digits, dashes"
    )


def test_an_unknown_way_to_start_workers_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(START_VARIABLE, "threads")
    with pytest.raises(SpecError) as error:
        start_method()
    assert str(error.value) == "HPO_JOB_WORKER_START=threads: use one of fork, forkserver, spawn"
