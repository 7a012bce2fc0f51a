"""A user's own repository: the installed package lays k8s/ into it, and every clone can submit."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from hpo_job.cluster.render import render
from hpo_job.cluster.repository import SHIPPED, lay_manifests
from hpo_job.errors import ClusterError
from tests import ROOT
from tests.cluster.conftest import Api

Object = dict[str, Any]
STUDY = """
name = "mine"
objective = "objective.py:train"
metric = "loss"
direction = "minimize"
[budget]
trials = 3
"""


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: Callable[..., Result]) -> Path:
    """An empty repository, as far as a command looks at one; the working folder is in it."""
    folder = tmp_path / "mine"
    (folder / ".git").mkdir(parents=True)
    (folder / "notes").mkdir()
    monkeypatch.chdir(folder / "notes")
    return folder


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that this tree builds, from a copy of it: a build leaves folders behind."""
    tree, into = tmp_path_factory.mktemp("tree"), tmp_path_factory.mktemp("wheel")
    for name in ("hpo_job", "k8s"):
        shutil.copytree(
            ROOT / name,
            tree / name,
            symlinks=True,
            ignore=shutil.ignore_patterns("__pycache__"),
        )
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree / name)
    build = (
        "import sys; from setuptools.build_meta import build_wheel; print(build_wheel(sys.argv[1]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", build, str(into)], cwd=tree, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return into / done.stdout.split()[-1]


def write_job(repository: Path) -> Path:
    folder = repository / "tuning/mine"
    folder.mkdir(parents=True)
    (folder / "study.toml").write_text(STUDY)
    (folder / "objective.py").write_text("def train(trial, context):\n    return 0.0\n")
    return folder


@pytest.mark.needs("setuptools")
def test_the_wheel_has_every_manifest(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        packed = {name.removeprefix("hpo_job/cluster/") for name in archive.namelist()}
    files = {str(file.relative_to(ROOT)) for file in (ROOT / "k8s").rglob("*") if file.is_file()}
    assert files <= packed


@pytest.mark.processes
@pytest.mark.needs("setuptools", "git")
def test_a_second_clone_of_a_users_repository_renders_the_same(
    api: Api, wheel: Path, tmp_path: Path, secret: Object, namespace: None
) -> None:
    """With nothing of this tree but its wheel: installed, laid, submitted, cloned, submitted."""
    venv.create(tmp_path / "env", with_pip=False, symlinks=True)
    site = next((tmp_path / "env").glob("lib/python*/site-packages"))
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    # the libraries of this environment; links to this tree, in .pth files there, are not followed
    libraries = [place for place in sys.path if Path(place).name == "site-packages"]
    (site / "libraries.pth").write_text("\n".join(libraries))
    python = tmp_path / "env/bin/python"
    program = "from hpo_job.cli import main; main(prog_name='hpo-job')"
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    path = Path(sys.executable).parent  # of kubectl

    def hpo(folder: Path, *arguments: str) -> str:
        done = subprocess.run(
            [str(python), "-c", program, *arguments],
            cwd=folder,
            capture_output=True,
            text=True,
            env={**environment, "PATH": f"{path}{os.pathsep}{environment['PATH']}"},
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def git(folder: Path, *arguments: str) -> None:
        who = ("-c", "user.name=a", "-c", "user.email=a@example.org")
        subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True)

    api.put("v1/secrets", secret)
    mine = tmp_path / "mine"
    mine.mkdir()
    git(mine, "init")
    assert "wrote         k8s" in hpo(mine, "init", "--cluster")
    job = write_job(mine)
    hpo(mine, "submit", str(job))
    sent = [{**thing} for thing in api.applied]
    assert {thing["kind"] for thing in sent} == {"Job", "ConfigMap", "ServiceAccount"}
    git(mine, "add", ".")
    git(mine, "commit", "-m", "Tune")
    git(tmp_path, "clone", "mine", "theirs")
    for file in (tmp_path / "theirs").rglob("*.yaml"):
        assert str(tmp_path) not in file.read_text()
    shutil.rmtree(mine)
    api.applied.clear()
    api.objects = {path: thing for path, thing in api.objects.items() if "/jobs/" not in path}
    hpo(tmp_path / "theirs/tuning", "submit", "mine")
    assert api.applied == sent


@pytest.mark.processes
def test_manifests_are_laid_into_the_root_of_the_repository(
    repository: Path, cli: Callable[..., Result]
) -> None:
    done = cli("init", "--cluster")
    assert done.exit_code == 0, done.output
    assert "wrote         ../k8s" in done.stdout
    for source in SHIPPED.rglob("*.yaml"):
        file = repository / "k8s" / source.relative_to(SHIPPED)
        assert file.read_bytes() == source.read_bytes()
    assert render(repository / "k8s/cluster")


def test_what_a_user_has_changed_is_kept(repository: Path, cli: Callable[..., Result]) -> None:
    cli("init", "--cluster")
    settings = repository / "k8s/settings/kustomization.yaml"
    settings.write_text(settings.read_text().replace("namespace: hpo-job", "namespace: mine"))
    (repository / "k8s/base/worker.yaml").unlink()
    done = cli("init", "--cluster")
    assert "kept          ../k8s/settings/kustomization.yaml" in done.stdout
    assert "wrote         ../k8s (1 file)" in done.stdout
    assert "namespace: mine" in settings.read_text()
    assert "../k8s is there already" in cli("init", "--cluster").stdout


def test_a_folder_that_cannot_be_written_is_one_line(repository: Path) -> None:
    (repository / "k8s").write_text("a file")
    with pytest.raises(ClusterError, match=r"k8s/base/kustomization.yaml: Not a directory"):
        lay_manifests(repository)


def test_without_manifests_the_next_step_is_named(
    api: Api, repository: Path, cli: Callable[..., Result], namespace: None
) -> None:
    job = write_job(repository)
    refused = cli("submit", job)
    assert refused.exit_code == 2
    assert "hpo-job init --cluster copies k8s/ into the repository" in refused.stderr
    assert not (job / "kustomization.yaml").exists()
    assert "hpo-job init --cluster" in cli("database").stderr


def test_the_database_is_applied_from_any_folder_of_the_repository(
    api: Api, repository: Path, cli: Callable[..., Result], namespace: None
) -> None:
    api.answers["get /api/v1"]["resources"].append(
        {"name": "persistentvolumeclaims", "kind": "PersistentVolumeClaim", "namespaced": True}
    )
    cli("init", "--cluster")
    printed = cli("database", "--dry-run")
    assert "kind: StatefulSet" in printed.stdout, printed.output
