"""What has to work on CUDA: all of it on one card, in a few minutes. See docs/gpu.md."""

from __future__ import annotations

import gc
import math
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch

from hpo_job import objectives
from hpo_job.data.tables import LabelledRows, read_table
from hpo_job.objectives import (
    image_classification,
    tabular_classification,
    tabular_regression,
    text_classification,
)
from hpo_job.objectives.context import Context
from hpo_job.objectives.parameters import (
    TabularClassification,
    TabularRegression,
    TextClassification,
)
from hpo_job.objectives.precision import resolved
from hpo_job.spec.metrics import METRICS
from hpo_job.spec.study_toml import Data
from hpo_job.trial import attributes
from hpo_job.worker import repeats
from tests import ROOT
from tests.objectives.pruners import PrunesAt
from tests.quick import command

pytestmark = pytest.mark.needs("gpu")
Make = Callable[..., Context]
JOBS = ROOT / "jobs"
WEIGHTS = 43 * 2**20  # bytes of a resnet18


@pytest.fixture(scope="module")
def kept() -> int:
    """Bytes that cuBLAS keeps for each thread that has multiplied matrices."""
    layer = torch.nn.Linear(64, 64, device="cuda")
    layer(torch.ones(64, 64, device="cuda")).sum().backward()
    del layer
    return torch.cuda.memory_allocated()


@pytest.fixture(autouse=True)
def memory_is_given_back(kept: int) -> Iterator[None]:
    yield
    objectives.release_memory(everything=True)
    assert torch.cuda.memory_allocated() - kept < 2**26


@pytest.fixture
def quick(make_context: Make) -> Make:
    """A trial of a small random model."""

    def make(**params: Any) -> Context:
        return make_context(model="resnet18", pre_trained=False, **params)

    return make


def train(context: Context) -> float:
    value = image_classification.train(context.trial, context)
    assert isinstance(value, float)
    assert math.isfinite(value)
    return value


@pytest.mark.parametrize("channels_last", [True, False])
@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16", "auto"])
def test_images_train_in_every_precision(quick: Make, precision: str, channels_last: bool) -> None:
    context = quick(precision=precision, channels_last=channels_last, unfrozen_epochs=1)
    value = train(context)
    assert 0 <= value <= 1
    assert context.device == "cuda"
    assert context.gpu is not None
    times = context.timings.values()
    peak = times[attributes.PEAK_GPU_MEMORY_MIB]
    assert isinstance(peak, float)
    assert 40 < peak < 8000  # the model's weights alone take 43 MiB
    assert attributes.EXECUTE_TIME in times


def test_auto_is_a_half_precision() -> None:
    assert resolved("auto", "cuda") in ("bf16", "fp16")


@pytest.mark.parametrize(
    "params", [{"balance": "class_weights"}, {"balance": "sampler"}, {"apply_tfms": True}]
)
def test_balance_and_augmentations(quick: Make, params: dict[str, Any]) -> None:
    train(quick(**params))


def test_a_value_is_the_same_however_batches_are_read(quick: Make) -> None:
    values = [
        train(replace(quick(precision="fp32", epochs=2), **how))
        for how in ({}, {"loader_workers": 0}, {"loader_workers": 2, "cache_size": 0.0})
    ]
    assert len(set(values)) == 1


def test_a_compiled_model_trains(quick: Make) -> None:
    train(quick(compile=True, epochs=2))


def test_a_trial_keeps_to_its_share_of_the_memory(quick: Make) -> None:
    """The others of the GPU do not notice one that needs more."""
    total = torch.cuda.get_device_properties(0).total_memory
    small = replace(quick(batch_size=8), gpu_share=2.5 * 2**30 / total)
    try:
        train(small)
        large = quick(image_size=512, batch_size=128, precision="fp32", unfrozen_epochs=1)
        with pytest.raises(torch.OutOfMemoryError):
            train(replace(large, gpu_share=small.gpu_share))
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


def test_learning_rates_are_found(quick: Make) -> None:
    names = ["learning_rate", "unfrozen_learning_rate"]
    curves = image_classification.lr_find(quick(), names)
    assert all(0 < curves[name].suggestion < 10 for name in names)


def test_repeats(quick: Make) -> None:
    trained = repeats.run(image_classification.train, quick(), 3, compared=False)
    assert len(trained.attrs[attributes.REPEAT_VALUES]) == 3
    assert trained.keep is not None


def test_a_model_that_waits_to_be_kept_takes_the_memory_of_its_weights(
    quick: Make, kept: int
) -> None:
    context = quick(precision="fp32", unfrozen_epochs=1)
    train(context)
    objectives.release_memory(everything=True)
    assert context.keep is not None
    assert torch.cuda.memory_allocated() - kept < 2 * WEIGHTS


def test_a_pruned_trial_is_timed(make_context: Make) -> None:
    context = make_context(PrunesAt(0), model="resnet18", pre_trained=False, epochs=3)
    with pytest.raises(optuna.TrialPruned):
        image_classification.train(context.trial, context)
    assert attributes.EXECUTE_TIME in context.timings.values()


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_after_running_out_of_memory_the_next_trial_trains(
    quick: Make, precision: str, kept: int
) -> None:
    """A real shortage: this process may use little more than the small trial needs."""
    share = 1.2 * 2**30 / torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(share)
    try:
        value = train(quick(batch_size=8))
        objectives.release_memory(everything=True)
        for _ in range(2):
            with pytest.raises(torch.OutOfMemoryError):
                train(quick(image_size=512, batch_size=64, precision=precision, unfrozen_epochs=1))
            gc.collect()
            objectives.release_memory(everything=True)
            assert torch.cuda.memory_allocated() - kept < 2**26
            assert not torch.is_autocast_enabled("cuda")
            assert train(quick(batch_size=8)) == value
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


@pytest.mark.parametrize("workers", [None, 2])
@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_tables_train(make_context: Make, precision: str, workers: int | None) -> None:
    for name, label, objective, kind in (
        ("species", "species", tabular_classification, TabularClassification),
        ("mass", "body_mass_g", tabular_regression, TabularRegression),
    ):
        file = JOBS / f"penguins-{name}" / "penguins.csv"
        regression = objective is tabular_regression
        data = read_table(file, Data(path="-", label=label), 1, regression=regression)
        context = replace(
            make_context(),
            data=data,
            params=kind().model_dump() | {"epochs": 1, "precision": precision},
            metrics=(METRICS["rmse" if regression else "f1_macro"],),
            loader_workers=workers,
        )
        value = objective.train(context.trial, context)
        assert isinstance(value, float)
        assert math.isfinite(value)


@pytest.fixture(scope="module")
def passages() -> LabelledRows:
    file = JOBS / "state-of-the-union-early" / "passages.csv.gz"
    return read_table(file, Data(path="-", label="party", text="text", sample=96), 1)


@pytest.mark.parametrize("workers", [None, 2])
@pytest.mark.parametrize("precision", ["auto", "fp32", "fp16", "bf16"])
def test_texts_train(
    make_context: Make, passages: LabelledRows, precision: str, workers: int | None
) -> None:
    sizes = {"emb_sz": 32, "n_hid": 32, "n_layers": 2, "max_tokens": 80, "batch_size": 16}
    params = {"pre_trained": False, "classifier_epochs": 2, "precision": precision, **sizes}
    context = replace(
        make_context(),
        data=passages,
        params=TextClassification().model_dump() | params,
        metrics=(METRICS["f1_macro"],),
        loader_workers=workers,
    )
    value = text_classification.train(context.trial, context)
    assert isinstance(value, float)
    assert math.isfinite(value)


def test_the_commands_train_export_and_predict(job: Callable[..., Path], tmp_path: Path) -> None:
    """Two spawned workers on one card, by two of its names, as if they were two."""
    listing = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=True)
    uuid = listing.stdout.split("UUID: ")[1].split(")")[0]
    images = JOBS / "people-vs-animals" / "data"
    folder = job(
        name="on-gpu",
        objective="image_classification",
        metric="accuracy",
        direction="maximize",
        budget={"trials": 4},
        data={"path": str(images), "valid_pct": 0.3, "seed": 1},
        search_space={
            "model": "resnet18",
            "pre_trained": False,
            "image_size": 64,
            "learning_rate": {"type": "float", "low": 1e-4, "high": 1e-2, "log": True},
        },
    )
    place = {
        "HPO_JOB_STORAGE": f"sqlite:///{tmp_path}/studies.db",
        "HPO_JOB_CACHE": str(tmp_path / "cache"),
        "HPO_JOB_ARTIFACTS": str(tmp_path / "artifacts"),
        "CUDA_VISIBLE_DEVICES": f"0,{uuid}",
    }
    image = next((images / "people").iterdir())
    commands: list[list[str | Path]] = [
        ["run", folder, "--workers", "2"],
        ["export", "on-gpu", "-o", tmp_path / "best"],
        ["predict", tmp_path / "best", image],
    ]
    for arguments in commands:
        process = command(*arguments, env=place)
        output, errors = process.communicate(timeout=200)
        assert process.returncode == 0, output + errors
    study = optuna.load_study(study_name="on-gpu", storage=place["HPO_JOB_STORAGE"])
    trials = study.get_trials(deepcopy=False)
    assert {trial.state.name for trial in trials} == {"COMPLETE"}
    assert {trial.user_attrs[attributes.GPU] for trial in trials} <= {"0", uuid}
    assert all(attributes.PEAK_GPU_MEMORY_MIB in trial.user_attrs for trial in trials)
