"""A training that is continued from a saved state ends as one that was never broken off."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest

from hpo_job.data.image_targets import MeasuredFiles, MultiLabelFiles
from hpo_job.data.images import LabelledFiles
from hpo_job.data.tables import read_table
from hpo_job.objectives import (
    image_classification,
    image_multilabel,
    image_regression,
    tabular_regression,
    text_classification,
)
from hpo_job.objectives.context import Context, Misfit
from hpo_job.objectives.epochs import Epochs
from hpo_job.spec.metrics import METRICS, MULTILABEL
from hpo_job.spec.study_toml import Data
from hpo_job.trial import checkpoint_file
from hpo_job.trial.checkpoint_file import State
from tests import ROOT
from tests.objectives import LOADER_WORKERS, small

IMAGES = {
    "model": "tf_efficientnet_lite0",
    "image_size": 32,
    "batch_size": 16,
    "apply_tfms": True,
    "epochs": 1,
    "unfrozen_epochs": 2,
    "precision": "fp32",
}
ROWS = {"epochs": 3, "batch_size": 64, "ps": 0.3}
# each stage of gradual unfreezing
TEXTS = {**small.TEXTS, "lm_body_epochs": 1, "classifier_epochs": 3}


@dataclass
class Files:
    """Keeps states in files, at every so many calls of `save`, and gives one of them back."""

    folder: Path
    every: int = 1
    saved: Path | None = None
    calls: int = 0
    wanted: Callable[[], bool] = lambda: True
    files: list[Path] = field(default_factory=list)
    steps: int | None = None

    @property
    def due(self) -> bool:
        self.calls += 1
        return self.every > 0 and self.calls % self.every == 0 and self.wanted()

    def write(self, tree: State, *, wait: bool = False) -> bool:
        self.files.append(self.folder / f"{self.calls}.state")
        with self.files[-1].open("wb") as file:
            checkpoint_file.write(file, tree, {})
        return True

    def load(self, misfit: Misfit) -> State | None:
        if self.saved is None:
            return None
        with self.saved.open("rb") as file:
            tree, _ = checkpoint_file.read(file)
        self.why = misfit(tree)
        return tree if self.why is None else None

    def resumed(self, steps: int) -> None:
        self.steps = steps


Trained = tuple[float, dict[int, float]]  # the value, and all reports
Noted = dict[tuple[str, int], dict[str, Any]]  # what fastai's recorder has, by phase and fit
Train = Callable[[Files], Trained]


def keys(data: LabelledFiles) -> dict[str, Any]:
    return {
        "root": data.root,
        "files": data.files,
        "train": data.train,
        "valid": data.valid,
    }


def labelled(data: LabelledFiles) -> MultiLabelFiles:
    """The images with a label more, that some have."""
    names = [f"{name};odd" if n % 3 else name for n, name in enumerate(data.labels)]
    return MultiLabelFiles(labels=tuple(names), **keys(data))


def measured(data: LabelledFiles) -> MeasuredFiles:
    """The images with a number each."""
    values = (100.0 * data.targets + np.arange(len(data)) % 7).astype(np.float64)
    return MeasuredFiles(labels=data.labels, values=values, column="size", **keys(data))


@pytest.fixture
def trainings(few: LabelledFiles, image_cache: Path, tmp_path: Path) -> dict[str, Train]:
    """A training of each kind, which saves to and resumes from the files it is given."""
    rows = ROOT / "jobs" / "penguins-mass" / "penguins.csv"
    texts = ROOT / "jobs" / "state-of-the-union-early" / "passages.csv.gz"
    columns = Data(path="-", label="party", valid_pct=0.25, text="text", group="address", sample=96)
    kinds: dict[str, tuple[Any, Any, dict[str, Any], str]] = {
        "images": (image_classification, few, IMAGES, "log_loss"),
        "rows": (
            tabular_regression,
            read_table(rows, Data(path="-", label="body_mass_g"), 42, regression=True),
            ROWS,
            "rmse",
        ),
        "texts": (text_classification, read_table(texts, columns, 1), TEXTS, "log_loss"),
        "labels": (image_multilabel, labelled(few), {**IMAGES, "threshold": 0.4}, "f1_micro"),
        "numbers": (image_regression, measured(few), IMAGES, "rmse"),
    }

    def training(kind: str) -> Train:
        objective, data, params, metric = kinds[kind]

        def train(files: Files) -> Trained:
            study = optuna.create_study()
            context = Context(
                loader_workers=LOADER_WORKERS,
                trial=study.ask(),
                params=dict(params),
                path=None,
                seed=1,
                threads=1,
                weights=tmp_path,
                cache=image_cache if kind == "images" else tmp_path / "cache",
                data=data,
                metrics=((METRICS | MULTILABEL)[metric],),
                checkpoints=files,
            )
            value = objective.train(context.trial, context)
            return value, study.trials[0].intermediate_values

        return train

    return {kind: training(kind) for kind in kinds}


@pytest.fixture
def noted(monkeypatch: pytest.MonkeyPatch) -> Noted:
    """Filled by each fit that trains something."""
    fits: Noted = {}

    def note(epochs: Epochs) -> None:
        recorder = epochs.recorder
        if recorder.values:
            fits[epochs.phase.name, epochs.fits] = {
                "values": [value for each in recorder.values for value in each],
                "final": list(epochs.learn.final_record),
                "iters": list(recorder.iters),
                "rates": list(recorder.lrs),
                "losses": [float(loss) for loss in recorder.losses],
                "iterations": epochs.train_iter,
                **recorder.hps,
            }

    monkeypatch.setattr(Epochs, "after_fit", note, raising=False)
    return fits


@pytest.mark.parametrize(
    ("kind", "every"),
    [("images", 5), ("rows", 2), ("texts", 4), ("labels", 4), ("numbers", 4)],
)
def test_it_ends_the_same_from_every_state(
    kind: str, every: int, trainings: dict[str, Train], noted: Noted, tmp_path: Path
) -> None:
    """At the end of epochs, in their middle, in each phase and stage; fastai's records included."""
    train = trainings[kind]
    broken = Files(tmp_path, every)
    undisturbed = train(broken)
    whole = dict(noted)
    assert whole
    assert len(broken.files) >= 3
    phases = set()
    for file in broken.files:
        with file.open("rb") as opened:
            phases.add(checkpoint_file.read(opened)[0]["objective"]["phase"])
        goes_on = Files(tmp_path, every=0, saved=file)
        noted.clear()
        value, reports = train(goes_on)
        assert value == pytest.approx(undisturbed[0], abs=1e-6), file.name
        assert reports == pytest.approx(undisturbed[1], abs=1e-6), file.name
        for fit, records in noted.items():
            for name, values in records.items():
                assert values == pytest.approx(whole[fit][name], abs=1e-6), (file.name, fit, name)
        assert noted
        assert goes_on.calls < broken.calls
        file.unlink()
    assert len(phases) == {"rows": 1, "texts": 3}.get(kind, 2)


@pytest.fixture
def validating(monkeypatch: pytest.MonkeyPatch) -> Callable[[], bool]:
    """Whether a training is in its validation."""
    validates = False
    before, after = Epochs.before_validate, Epochs.after_validate

    def begins(epochs: Epochs) -> None:
        nonlocal validates
        before(epochs)
        validates = True

    def ends(epochs: Epochs) -> None:
        nonlocal validates
        after(epochs)
        validates = False

    monkeypatch.setattr(Epochs, "before_validate", begins)
    monkeypatch.setattr(Epochs, "after_validate", ends)
    return lambda: validates


def test_a_state_is_saved_while_it_validates(
    trainings: dict[str, Train], validating: Callable[[], bool], tmp_path: Path
) -> None:
    """A worker that is asked to stop there loses the validation only.

    What the attempt before has saved is not saved once more: that would count as progress, and a
    validation that kills its worker would be run again for ever.
    """
    train = trainings["rows"]
    broken = Files(tmp_path, wanted=validating)
    undisturbed = train(broken)
    assert len(broken.files) >= ROWS["epochs"]  # in each
    middle = broken.files[len(broken.files) // 2]
    assert reported(middle) == 1  # the second epoch is not reported yet
    saved = middle.rename(tmp_path / "saved")
    goes_on = Files(tmp_path, saved=saved, wanted=validating)
    value, reports = train(goes_on)
    assert value == pytest.approx(undisturbed[0], abs=1e-6)
    assert reports == pytest.approx(undisturbed[1], abs=1e-6)
    assert [reported(file) for file in goes_on.files] == [2] * len(goes_on.files) != []


def reported(file: Path) -> int:
    """How many epochs the state in a file has reported."""
    with file.open("rb") as opened:
        return len(checkpoint_file.read(opened)[0]["values"])


def test_a_state_of_other_parameters_or_versions_is_not_continued(
    trainings: dict[str, Train], tmp_path: Path
) -> None:
    train = trainings["rows"]
    broken = Files(tmp_path, every=2)
    value, _ = train(broken)

    def why(**changes: object) -> str | None:
        with broken.files[0].open("rb") as file:
            tree, _ = checkpoint_file.read(file)
        tree["objective"] = changes if "x" in changes else {**tree["objective"], **changes}
        with (tmp_path / "other").open("wb") as file:
            checkpoint_file.write(file, tree, {})
        files = Files(tmp_path, every=0, saved=tmp_path / "other")
        assert train(files)[0] == value  # from the start
        return files.why

    assert why(params={"epochs": 7}) == "it has other parameters"
    assert why(seed=7) == "it has another seed"
    assert "saved it, and here is" in str(why(versions={"torch": "1.0", "fastai": "2.8"}))
    assert why(x=np.zeros(2)) == "it is of another objective"
