"""What ``hpo-job init`` writes passes ``hpo-job check``, and one kind of each is trained."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from tests import ROOT

JOBS = ROOT / "jobs"
# Where the data lies, and the options that say what to predict
KINDS = {
    "images": ("people-vs-animals/data", []),
    "numbers": ("penguins-mass/penguins.csv", ["--label", "body_mass_g"]),
    "classes": ("penguins-species/penguins.csv", ["--label", "species"]),
    "texts": ("state-of-the-union-late/passages.csv.gz", []),
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_init_writes_passes_check(cli: Callable[..., Result], kind: str) -> None:
    path, options = KINDS[kind]
    written = cli("init", "mine", "--data", JOBS / path, *options)
    assert written.exit_code == 0, written.output
    checked = cli("check", "mine", "--format", "json")
    assert checked.exit_code == 0, checked.output
    assert json.loads(checked.stdout)["study"] == "mine"


def test_a_written_study_is_trained(cli: Callable[..., Result]) -> None:
    shutil.copy(JOBS / "penguins-species" / "penguins.csv", "penguins.csv")
    options = ["--label", "species", "--trials", "2"]
    assert cli("init", "birds", "--data", Path("penguins.csv"), *options).exit_code == 0
    short = ["--set", "search_space.epochs=1", "--set", "search_space.batch_size=64"]
    ran = cli("worker", "birds", *short)
    assert ran.exit_code == 0, ran.output
    assert "2 of 2 trials" in cli("status", "birds").stdout
