"""Several GPUs in one machine, shared out among the workers of the real command."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import optuna
import pytest
from click.testing import Result

from hpo_job.errors import SpecError
from hpo_job.machine import VISIBLE
from hpo_job.worker import gpus
from hpo_job.worker.gpus import available, choose, share
from tests.quick import command, write_job

Cli = Callable[..., Result]

# A trial that notes which GPU it was shown, and waits until every worker has one
REPORTS = """
import os, time
from pathlib import Path

def train(trial, context):
    visible, order = os.environ["CUDA_VISIBLE_DEVICES"], os.environ["CUDA_DEVICE_ORDER"]
    trial.set_user_attr("seen", [visible, order])
    folder = Path(__file__).parent
    (folder / f"running-{os.getpid()}").touch()
    while len(list(folder.glob("running-*"))) < int((folder / "workers").read_text()):
        time.sleep(0.05)
    return 0.0
"""


@pytest.fixture(autouse=True)
def no_gpus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """A machine without a driver, whatever this one has."""
    monkeypatch.delenv(VISIBLE, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(gpus, "DRIVER", tmp_path / "driver")
    gpus._parsed.cache_clear()
    yield
    gpus._parsed.cache_clear()


def driver(folder: Path, listing: str, code: int = 0) -> None:
    """A program called nvidia-smi that prints ``listing``."""
    program = folder / "bin" / "nvidia-smi"
    program.parent.mkdir(exist_ok=True)
    lines = ["#!/bin/sh", '[ "$1" = -L ] || exit 9', "/bin/cat <<'END'", listing, "END"]
    program.write_text("\n".join([*lines, f"exit {code}", ""]))
    program.chmod(0o755)
    gpus._parsed.cache_clear()


TWO = """GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-1a2b)
GPU 1: NVIDIA H100 80GB HBM3 (UUID: GPU-3c4d)"""
CUT = """GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-1a2b)
  MIG 3g.20gb     Device  0: (UUID: MIG-aaaa)
  MIG 3g.20gb     Device  1: (UUID: MIG-bbbb)
GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-3c4d)"""


@pytest.mark.parametrize(
    ("listing", "names"), [(TWO, ["0", "1"]), (CUT, ["MIG-aaaa", "MIG-bbbb", "1"]), ("", [])]
)
def test_the_driver_lists_them(tmp_path: Path, listing: str, names: list[str]) -> None:
    driver(tmp_path, listing)
    assert available() == names


def test_a_driver_that_fails_has_none_and_is_asked_again(tmp_path: Path) -> None:
    driver(tmp_path, "NVIDIA-SMI has failed because it couldn't communicate", 9)
    assert available() == []
    program = tmp_path / "bin" / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n/bin/cat <<'END'\n{TWO}\nEND\n")
    assert available() == ["0", "1"]


def test_without_nvidia_smi_the_kernel_counts_them(tmp_path: Path) -> None:
    assert available() == []
    for name in ("0000:01:00.0", "0000:02:00.0"):
        (tmp_path / "driver" / name).mkdir(parents=True)
    assert available() == ["0", "1"]


@pytest.mark.parametrize(
    ("visible", "model"),
    [
        (None, "NVIDIA A100-SXM4-40GB MIG 3g.20gb"),
        ("1,MIG-bbbb", "NVIDIA A100-SXM4-40GB"),
        ("MIG-bbbb", "NVIDIA A100-SXM4-40GB MIG 3g.20gb"),
        ("GPU-3c", "NVIDIA A100-SXM4-40GB"),
        ("0", "NVIDIA A100-SXM4-40GB"),  # of which CUDA uses the first instance
        ("GPU-1a2b", "NVIDIA A100-SXM4-40GB"),
        ("7", None),
        ("", None),
    ],
)
def test_the_driver_names_the_first_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, visible: str | None, model: str | None
) -> None:
    assert gpus.model() is None  # there is no driver yet
    driver(tmp_path, CUT)
    if visible is not None:
        monkeypatch.setenv(VISIBLE, visible)
    assert gpus.model() == model


@pytest.mark.parametrize(
    ("visible", "names"),
    [
        ("2,3", ["2", "3"]),
        (" GPU-1a2b , MIG-aaaa", ["GPU-1a2b", "MIG-aaaa"]),
        ("", []),
        ("-1", []),
        ("NoDevFiles", []),
    ],
)
def test_what_is_visible_passes_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, visible: str, names: list[str]
) -> None:
    driver(tmp_path, TWO)
    monkeypatch.setenv(VISIBLE, visible)
    assert available() == names


def test_choosing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VISIBLE, "4,5,GPU-1a2b")
    assert choose(None) == ["4", "5", "GPU-1a2b"]
    assert choose("5, GPU-1a2b") == ["5", "GPU-1a2b"]
    for wrong in ("", ",", "4,4"):
        with pytest.raises(SpecError, match="name each GPU once"):
            choose(wrong)
    with pytest.raises(SpecError, match=r"^--gpus: unknown GPU '0'; known: 4, 5, GPU-1a2b"):
        choose("0")
    monkeypatch.setenv(VISIBLE, "")
    with pytest.raises(SpecError, match="no GPU here"):
        choose("0")


def test_workers_take_them_in_turn() -> None:
    assert share(["0", "2"], 5) == ["0", "2", "0", "2", "0"]
    assert share([], 2) == [None, None]


def seen_by_run(tmp_path: Path, workers: int, *options: str, visible: str) -> list[str]:
    """The GPU of each trial of a real run, one trial for each worker."""
    job = write_job(tmp_path, REPORTS, budget=f"trials = {workers}")
    (job / "workers").write_text(str(workers))
    url = f"sqlite:///{tmp_path}/studies.db"
    run = command("run", job, "--storage", url, *options, env={VISIBLE: visible})
    output, errors = run.communicate(timeout=120)
    assert run.returncode == 0, output + errors
    trials = optuna.load_study(study_name="quick", storage=url).get_trials(deepcopy=False)
    for trial in trials:
        assert trial.user_attrs["seen"] == [trial.user_attrs["gpu"], "PCI_BUS_ID"]
    return sorted(trial.user_attrs["gpu"] for trial in trials)


@pytest.mark.processes
def test_four_workers_use_four(tmp_path: Path) -> None:
    assert seen_by_run(tmp_path, 4, "--workers", "4", visible="0,1,2,3") == ["0", "1", "2", "3"]


@pytest.mark.processes
def test_the_number_for_each_gpu_may_be_a_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HPO_JOB_WORKERS_PER_GPU", "2")
    assert seen_by_run(tmp_path / "four", 4, visible="0,1") == ["0", "0", "1", "1"]
    assert seen_by_run(tmp_path / "one", 1, "--workers", "1", visible="0,1") == ["0"]


@pytest.mark.processes
def test_a_worker_uses_the_one_it_is_started_for(tmp_path: Path) -> None:
    job = write_job(tmp_path, REPORTS, budget="trials = 1")
    (job / "workers").write_text("1")
    url = f"sqlite:///{tmp_path}/studies.db"
    worker = command("worker", job, "--storage", url, "--gpus", "3", env={VISIBLE: "2,3"})
    assert worker.communicate(timeout=120)[0] == ""
    (trial,) = optuna.load_study(study_name="quick", storage=url).get_trials(deepcopy=False)
    assert trial.user_attrs["seen"] == ["3", "PCI_BUS_ID"]
    assert trial.user_attrs["gpu"] == "3"


@pytest.mark.processes
def test_some_are_chosen_with_several_workers_each(tmp_path: Path) -> None:
    gpus_of_trials = seen_by_run(
        tmp_path, 4, "--gpus", "0,MIG-b", "--workers-per-gpu", "2", visible="0,1,MIG-b"
    )
    assert gpus_of_trials == ["0", "0", "MIG-b", "MIG-b"]


def test_wrong_options_are_one_line(
    tmp_path: Path, refused: Callable[..., str], cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = write_job(tmp_path)
    monkeypatch.setenv(VISIBLE, "")
    line = refused("run", job, "--workers-per-gpu", "2")
    assert line == "hpo-job: --workers-per-gpu: no GPU here; use --workers"
    assert "no GPU here" in refused("run", job, "--gpus", "0")
    both = cli("run", job, "--workers", "2", "--workers-per-gpu", "2")
    assert both.exit_code == 2
    assert "--workers and --workers-per-gpu cannot be combined" in both.stderr
