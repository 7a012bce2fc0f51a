"""A study of the first release, with a worker of it still running, is continued by this one."""

from __future__ import annotations

import subprocess
import sys
import tarfile
from io import BytesIO
from pathlib import Path

import pytest

from tests import ROOT
from tests.quick import Quick, command, wait_until, write_job
from tests.storage.mysql.server import new_database

# The commit that was in use first; its version was 0.1.0
FIRST = "ee6966b2b5fd85558458b78bf7374dd98bc60b81"
# Two trials last until the file "go" is there
HELD = """
import time
from pathlib import Path

def train(trial, context):
    folder = Path(__file__).parent
    (folder / f"running-{trial.number}").touch()
    while trial.number in (1, 3) and not (folder / "go").exists():
        time.sleep(0.02)
    return (context.params["x"] - 1) ** 2
"""
pytestmark = [pytest.mark.needs("git"), pytest.mark.processes, pytest.mark.slow]


@pytest.fixture(scope="module")
def first_release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the first release's package; it works with today's dependencies."""
    if subprocess.run(["git", "-C", str(ROOT), "cat-file", "-e", FIRST]).returncode:
        pytest.skip(f"this clone does not have the commit {FIRST}: git fetch --unshallow")
    folder = tmp_path_factory.mktemp("first")
    command = ["git", "-C", str(ROOT), "archive", "--format=tar", FIRST, "hpo_job"]
    archive = subprocess.run(command, capture_output=True, check=True).stdout
    with tarfile.open(fileobj=BytesIO(archive)) as source:
        source.extractall(folder, filter="data")
    return folder


def old_worker(site: Path, job: Path, url: str) -> subprocess.Popen[str]:
    """A worker of the first release."""
    start = (
        "import hpo_job, sys; assert hpo_job.__file__.startswith(sys.argv[1]), hpo_job.__file__;"
        "from hpo_job.cli import main; main(sys.argv[2:])"
    )
    return subprocess.Popen(
        [sys.executable, "-c", start, site, "worker", job, "--storage", url],
        cwd=site,  # which `python -c` looks for modules in
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(
    "kind", ["sqlite", pytest.param("mysql", marks=pytest.mark.needs("mysql"))]
)
def test_both_releases_work_on_a_study_of_the_first(
    request: pytest.FixtureRequest, first_release: Path, tmp_path: Path, kind: str
) -> None:
    url = f"sqlite:///{tmp_path}/studies.db"
    if kind == "mysql":
        url = new_database(request.getfixturevalue("root_url"))
    job = write_job(tmp_path, HELD, budget="trials = 12")
    old = old_worker(first_release, job, url)
    wait_until((job / "running-1").exists)
    new = command("run", job, "--storage", url)
    wait_until((job / "running-3").exists)
    late = old_worker(first_release, job, url)  # of a machine that is not yet upgraded
    wait_until((job / "running-6").exists)
    (job / "go").touch()
    for process in (old, new, late):
        output, said = process.communicate(timeout=120)
        assert process.returncode == 0, output + said
    results = command("results", "quick", "--storage", url, "--format", "csv")
    output, _ = results.communicate(timeout=120)
    assert output.count("COMPLETE") == 12 and "FAIL" not in output


def test_the_first_release_refuses_a_study_of_this_one(first_release: Path, tmp_path: Path) -> None:
    quick = Quick(tmp_path)
    stored = dict(quick.study.user_attrs)
    old = old_worker(first_release, quick.job, quick.url)
    _, said = old.communicate(timeout=120)
    assert old.returncode == 2
    assert "exists with another spec" in said and "Traceback" not in said
    assert quick.study.user_attrs == stored and quick.states() == {}
    quick.storage.close()
