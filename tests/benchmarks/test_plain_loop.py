"""The plain fastai loop that hpo-job is compared with."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests import ROOT

LOOP = ROOT / "benchmarks" / "sides" / "plain_loop.py"
DATA = ROOT / "jobs" / "people-vs-animals" / "data"
TRIAL = {
    "pre_trained": False,
    "epochs": 1,
    "learning_rate": 0.003,
    "unfrozen_epochs": 0,
    "unfrozen_learning_rate": 0.0001,
}


@pytest.mark.fastai
@pytest.mark.processes
@pytest.mark.parametrize("trials", [[TRIAL], []], ids=["a list", "a search"])
def test_it_announces_a_value_for_each_trial(
    tmp_path: Path, trials: list[dict[str, object]]
) -> None:
    order = tmp_path / "order.json"
    files = [
        file.relative_to(DATA).as_posix()
        for folder in sorted(filter(Path.is_dir, DATA.iterdir()))
        for file in sorted(folder.iterdir())[:12]
    ]
    sets = {"root": str(DATA), "train": files[::2], "valid": files[1::2]}
    order.write_text(json.dumps({**sets, "trials": trials, "count": 2, "seed": 0}))
    done = subprocess.run(
        [sys.executable, LOOP, order], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    lines = [line.split() for line in done.stdout.splitlines() if line.startswith("TRIAL ")]
    values = [float(value) for _, _, value in lines]
    assert len(values) == (1 if trials else 2)
    assert all(0 <= value <= 1 for value in values)
