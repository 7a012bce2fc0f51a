"""A shipped objective's trial, in the real command: killed, it goes on where it was."""

from __future__ import annotations

import contextlib
import shutil
import signal
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

from hpo_job.trial import attributes
from tests import ROOT
from tests.quick import command, wait_until

EPOCHS = 30
STUDY = f"""
name = "mass"
objective = "tabular_regression"
metric = "rmse"
direction = "minimize"
[budget]
trials = 1
[data]
path = "penguins.csv"
label = "body_mass_g"
[checkpoint]
every = 0.1
[search_space]
epochs = {EPOCHS}
ps = 0.2
"""
IMAGES = """
name = "mass"
objective = "image_classification"
metric = "log_loss"
direction = "minimize"
[budget]
trials = 1
[data]
path = "images"
valid_pct = 0.3
[checkpoint]
every = 1e-9
[search_space]
model = "squeezenet1_1"
pre_trained = false
image_size = 32
batch_size = 4
apply_tfms = true
epochs = 1
unfrozen_epochs = 2
"""
pytestmark = [pytest.mark.processes, pytest.mark.fastai]


def write_job(place: Path) -> Path:
    folder = place / "mass"
    folder.mkdir()
    (folder / "study.toml").write_text(STUDY)
    shutil.copy(ROOT / "jobs" / "penguins-mass" / "penguins.csv", folder)
    return folder


@pytest.fixture
def job(tmp_path: Path) -> Path:
    return write_job(tmp_path)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> FrozenTrial:
    """The trial of a study whose worker nobody killed."""
    job = write_job(tmp_path_factory.mktemp("undisturbed"))
    end = worker(job, "undisturbed")
    assert (end.communicate()[0], end.returncode) == ("", 0)
    (trial,) = trials(job, "undisturbed")
    return trial


def worker(job: Path, study: str, *options: str) -> subprocess.Popen[str]:
    folder = job.parent / study
    folder.mkdir(exist_ok=True)
    url = f"sqlite:///{folder}/studies.db"
    places = ("--storage", url, "--artifacts", folder / "models", "--cache", folder / "cache")
    return command("worker", job, "--threads", "1", *places, *options)


def trials(job: Path, study: str) -> list[FrozenTrial]:
    url = f"sqlite:///{job.parent / study}/studies.db"
    return optuna.load_study(study_name="mass", storage=url).trials


def reports(job: Path, study: str) -> int:
    """How many there are in the database; its tables may not be there yet."""
    file = job.parent / study / "studies.db"
    with (
        contextlib.suppress(sqlite3.OperationalError),
        contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database,
    ):
        return int(database.execute("SELECT COUNT(*) FROM trial_intermediate_values").fetchone()[0])
    return 0


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_trial_goes_on_and_ends_the_same(
    job: Path, undisturbed: FrozenTrial, number: signal.Signals
) -> None:
    broken = worker(job, "broken")

    def has_begun() -> bool:
        assert broken.poll() is None, broken.communicate()
        saved = list((job.parent / "broken" / "models").rglob("*"))
        return reports(job, "broken") > 5 and bool(saved)

    wait_until(has_begun, 120)
    broken.send_signal(number)
    broken.communicate()
    assert broken.returncode == (-9 if number == signal.SIGKILL else 143)
    end = worker(job, "broken")
    assert (end.communicate()[0], end.returncode) == ("", 0)
    first, second = trials(job, "broken")
    assert (first.state, second.state) == (TrialState.FAIL, TrialState.COMPLETE)
    assert second.user_attrs[attributes.RESUMED_FROM] == 0
    assert second.user_attrs[attributes.RESUMED_AT] > 0
    assert second.value == pytest.approx(undisturbed.value, abs=1e-6)
    wanted = pytest.approx(undisturbed.intermediate_values, abs=1e-6)
    assert second.intermediate_values == wanted
    assert len(second.user_attrs[attributes.EPOCH_TIMES]) == EPOCHS


@pytest.mark.slow
def test_images_that_loader_processes_read_go_on_at_a_batch(
    job: Path, images: Callable[..., Path]
) -> None:
    """Killed in the middle of an epoch, while processes read its next batches."""
    (job / "study.toml").write_text(IMAGES)
    images({"cats": 30, "dogs": 30}, "mass/images")
    options = ("--loader-workers", "2", "--cache-size", "0")
    broken = worker(job, "broken", *options)
    states: set[str] = set()

    def goes_on_in_an_epoch() -> bool:
        assert broken.poll() is None, broken.communicate()
        models = job.parent / "broken" / "models"
        if models.exists() and reports(job, "broken") == 1:
            states.update(file.name for file in models.iterdir())
        return len(states) > 7  # some are older than the report

    wait_until(goes_on_in_an_epoch, 120)
    broken.send_signal(signal.SIGKILL)
    broken.communicate(timeout=60)  # all that held its output has ended, too
    for study in ("broken", "undisturbed"):
        end = worker(job, study, *options)
        assert (end.communicate()[0], end.returncode) == ("", 0)
    (whole,) = trials(job, "undisturbed")
    first, second = trials(job, "broken")
    assert second.user_attrs[attributes.RESUMED_FROM] == first.number
    assert second.user_attrs[attributes.RESUMED_AT] == 1
    assert second.value == pytest.approx(whole.value, abs=1e-6)
    wanted = pytest.approx(whole.intermediate_values, abs=1e-6)
    assert second.intermediate_values == wanted
