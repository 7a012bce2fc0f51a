"""Small real studies of the shipped illustrations, for the tests of the objectives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import optuna
import pytest

from hpo_job.data.images import LabelledFiles, read_image_folder
from hpo_job.objectives.context import Context
from hpo_job.spec.metrics import METRICS
from hpo_job.spec.study_toml import Data
from tests import ROOT
from tests.objectives import LOADER_WORKERS

JOB = ROOT / "jobs" / "people-vs-animals"


@pytest.fixture(scope="session")
def all_images() -> LabelledFiles:
    """The shipped images, in the split of their study."""
    return read_image_folder(JOB / "data", Data(path="-", valid_pct=0.3), seed=42)


@pytest.fixture(scope="session")
def few(all_images: LabelledFiles) -> LabelledFiles:
    """64 training and 33 validation images of both classes, drawn from the shipped ones."""
    rng = np.random.default_rng(0)
    train = np.sort(rng.choice(all_images.train, 64, replace=False))
    valid = np.sort(rng.choice(all_images.valid, 33, replace=False))
    return replace(all_images, train=train, valid=valid)


@pytest.fixture(scope="session")
def image_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the tests' trials keep decoded images."""
    return tmp_path_factory.mktemp("images")


@pytest.fixture
def make_context(few: LabelledFiles, image_cache: Path, tmp_path: Path) -> Callable[..., Context]:
    """A trial of a fresh in-memory study, with small and quick parameters."""

    def make(pruner: optuna.pruners.BasePruner | None = None, **params: object) -> Context:
        study = optuna.create_study(pruner=pruner or optuna.pruners.NopPruner())
        quick = {"model": "tf_efficientnet_lite0", "image_size": 32, "batch_size": 16}
        return Context(
            loader_workers=LOADER_WORKERS,
            trial=study.ask(),
            params=quick | params,
            path=None,
            seed=1,
            threads=1,
            weights=tmp_path / "weights",
            cache=image_cache,
            data=few,
            metrics=(METRICS["accuracy"],),
        )

    return make
