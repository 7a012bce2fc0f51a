"""Shared fixtures: job folders with a fast objective, an embedded storage, images, the command."""

from __future__ import annotations

import gc
import logging
import os
import shutil
import signal
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import optuna
import pytest
import tomli_w
from click.testing import CliRunner, Result
from PIL import Image

from hpo_job.cli import main
from hpo_job.storage import urls
from hpo_job.storage.database import Storage
from tests import needs, quick, selection

QUADRATIC = '''
def train(trial, context):
    """A bowl over every number among the parameters, lowest at 1."""
    numbers = [v for v in context.params.values() if isinstance(v, int | float)]
    value = float(sum((number - 1) ** 2 for number in numbers))
    context.report(value)
    return value
'''
SPACE: dict[str, Any] = {
    "x": {"type": "float", "low": -5.0, "high": 5.0},
    "n": {"type": "int", "low": 0, "high": 9},
}

FREE_MEMORY = 4 * 2**30  # bytes

# Threads of torch that wait for each other do not take the CPU from other tests' processes
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# The image_classification helper in fastai uses it on import
warnings.filterwarnings("ignore", message=".*torch.jit.script. is deprecated")


def pytest_configure(config: pytest.Config) -> None:
    """Let processes hear Ctrl-C, and keep what tests write in memory where there is room.

    A shell ignores Ctrl-C for what it runs in the background, and so would what tests start. SQLite
    waits for a disk at each write.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    memory = Path("/dev/shm")
    if memory.is_dir() and shutil.disk_usage(memory).free > FREE_MEMORY:
        os.environ.setdefault("TMPDIR", str(memory))
        tempfile.tempdir = None  # it may have been looked up


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--quick", action="store_true", help="only tests that take nothing slow")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Do not import files all of whose tests would be deselected."""
    return True if config.getoption("quick") and selection.is_never_quick(collection_path) else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        selection.mark(item)
    if config.getoption("quick"):
        config.hook.pytest_deselected(items=[i for i in items if not selection.is_quick(i)])
        items[:] = [item for item in items if selection.is_quick(item)]
    items[:] = selection.longest_first(items)


def pytest_collection_finish() -> None:
    """Keep what is imported by now out of the garbage collection after each trial."""
    gc.freeze()


def pytest_sessionfinish() -> None:
    gc.unfreeze()


def pytest_report_header() -> str:
    return f"optuna {optuna.__version__}"


def pytest_runtest_setup(item: pytest.Item) -> None:
    needs.check(item)


@pytest.fixture(scope="module", autouse=True)
def imported_for_good() -> None:
    """Keep what earlier modules have imported out of the garbage collection after each trial."""
    gc.freeze()


@pytest.fixture(scope="session")
def basic_programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The PATH of the tests that declare no needs."""
    return needs.basic_programs(tmp_path_factory.mktemp("programs"))


@pytest.fixture(autouse=True)
def fresh_process(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, basic_programs: Path
) -> Iterator[None]:
    """A test sees nothing of another's objective, the user's settings, or undeclared programs."""
    for name in [name for name in os.environ if name.startswith("HPO_JOB_")]:
        if not name.startswith("HPO_JOB_TEST_"):  # those say which servers the tests use
            monkeypatch.delenv(name)
    if request.node.get_closest_marker("needs") is None:
        monkeypatch.setenv("PATH", str(basic_programs))
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(urls, "_NAMES", {})  # of servers, whose ports other tests have, too
    monkeypatch.setattr(urls, "_FILES", {})
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    logging.getLogger("hpo_job").setLevel(logging.NOTSET)  # a command sets it
    listened = selection.hold_to_quick(monkeypatch) if selection.is_quick(request.node) else []
    yield
    for name in [name for name in sys.modules if name.startswith("hpo_job_objective_")]:
        del sys.modules[name]
    selection.require_no_server(listened)


@pytest.fixture
def caplog(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """Captures logs, but for those of threads that earlier tests have left running."""
    earlier = {each.ident: each for each in threading.enumerate()}
    del earlier[threading.get_ident()]

    def is_of_this_test(record: logging.LogRecord) -> bool:
        thread = earlier.get(record.thread)
        return thread is None or not thread.is_alive()

    caplog.handler.addFilter(is_of_this_test)
    yield caplog
    caplog.handler.removeFilter(is_of_this_test)


@pytest.fixture
def job(tmp_path: Path) -> Callable[..., Path]:
    """Writes a job folder: a quadratic, with the keys given here in place of the usual ones.

    A key that is None is left out; ``text`` replaces the whole study.toml, ``code`` the objective,
    ``folder`` its place under the test's own directory.
    """

    def make(
        text: str | None = None, *, folder: str = "job", code: str = QUADRATIC, **keys: Any
    ) -> Path:
        usual: dict[str, Any] = {
            "name": "quadratic",
            "objective": "objective.py:train",
            "direction": "minimize",
            "budget": {"trials": 10},
            "search_space": SPACE,
        }
        table = {key: value for key, value in (usual | keys).items() if value is not None}
        path = tmp_path / folder
        path.mkdir(parents=True, exist_ok=True)
        (path / "study.toml").write_text(tomli_w.dumps(table) if text is None else text)
        (path / "objective.py").write_text(code)
        return path

    return make


@pytest.fixture
def database(tmp_path: Path) -> str:
    """The URL of a SQLite file that does not exist yet."""
    return f"sqlite:///{tmp_path}/test-studies.db"


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with Optuna's tables and no study: creating them costs more than a copy."""
    file = tmp_path_factory.mktemp("empty") / "studies.db"
    file.write_bytes(quick.empty_database())
    return file


@pytest.fixture(scope="session")
def template_database(empty_database: Path) -> Path:
    """What ``storage`` begins with; a module whose tests begin with the same study has its own."""
    return empty_database


@pytest.fixture
def storage(database: str, template_database: Path) -> Iterator[Storage]:
    """An embedded storage in a file of the test's own, that at ``database``."""
    shutil.copy(template_database, database.removeprefix("sqlite:///"))
    opened = Storage(database)
    yield opened
    opened.close()


@pytest.fixture
def images(tmp_path: Path) -> Callable[..., Path]:
    """Writes an image folder: tiny PNGs, as many of each class as given."""

    def make(counts: Mapping[str, int], folder: str = "images") -> Path:
        root = tmp_path / folder
        root.mkdir(exist_ok=True)
        for shade, (name, count) in enumerate(counts.items()):
            (root / name).mkdir()
            for number in range(count):
                colour = (40 * shade, number % 256, 100)
                Image.new("RGB", (8, 8), colour).save(root / name / f"{number:04}.png")
        return root

    return make


@pytest.fixture
def image_folder(images: Callable[..., Path]) -> Path:
    """12 cats, 8 dogs."""
    return images({"cats": 12, "dogs": 8})


@pytest.fixture
def image_job(
    job: Callable[..., Path], image_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Path]:
    """A job over ``image_folder`` with the shipped objective, without torch: training is faked."""
    module = ModuleType("hpo_job.objectives.image_classification")
    module.__dict__["check"] = lambda *_: None
    module.__dict__["train"] = lambda trial, context: context.params["learning_rate"]
    monkeypatch.setitem(sys.modules, module.__name__, module)

    def make(**keys: Any) -> Path:
        usual: dict[str, Any] = {
            "name": "cats-and-dogs",
            "objective": "image_classification",
            "metric": "accuracy",
            "direction": "maximize",
            "data": {"path": str(image_folder), "valid_pct": 0.25, "seed": 1},
            "search_space": {
                "pre_trained": False,
                "learning_rate": {"type": "float", "low": 1e-4, "high": 1e-1, "log": True},
            },
        }
        return job(**(usual | keys))

    return make


@pytest.fixture
def program() -> click.Command:
    """What ``cli`` runs."""
    return main


@pytest.fixture
def cli(
    program: click.Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Result]:
    """Runs ``hpo-job`` in this process, in the test's own directory, at 80 columns."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")

    def invoke(*arguments: str | Path, **env: str) -> Result:
        return CliRunner().invoke(
            program, [str(argument) for argument in arguments], env=env, catch_exceptions=False
        )

    return invoke


@pytest.fixture
def refused(cli: Callable[..., Result], tmp_path: Path) -> Callable[..., str]:
    """Runs ``hpo-job`` on bad input, and returns the one line it says.

    It must end with exit code 2 (``code``), print nothing else and write nothing.
    """

    def written() -> set[Path]:
        return {path for path in tmp_path.rglob("*") if "__pycache__" not in path.parts}

    def invoke(*arguments: str | Path, code: int = 2, **env: str) -> str:
        before = written()
        result = cli(*arguments, **env)
        assert result.exit_code == code, result.output
        assert result.stdout == ""
        lines = result.stderr.splitlines()
        assert len(lines) == 1, result.stderr
        assert lines[0].startswith("hpo-job: ")
        assert "s3cret" not in result.output
        assert written() == before
        return lines[0]

    return invoke
