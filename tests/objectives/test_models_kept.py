"""A kept image model scores as its trial did, and predicts on new files, also through fastai."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from click.testing import Result
from fastai.learner import load_learner

from hpo_job.errors import DataError, SpecError
from hpo_job.objectives import (
    image_classification,
    saved,
    tabular_classification,
    text_classification,
)
from hpo_job.objectives.candidates import Candidates
from hpo_job.objectives.context import Context
from hpo_job.objectives.image_classification import predict, rebuild, train
from hpo_job.objectives.images import objective as image_objective
from hpo_job.objectives.images.heads import CLASSES
from hpo_job.objectives.precision import check_precision, full_precision, resolved
from hpo_job.objectives.predictions import FILE
from hpo_job.spec.metrics import METRICS
from tests import ROOT
from tests.objectives.stored import require_predictions

MakeContext = Callable[..., Context]
JOB = ROOT / "jobs" / "people-vs-animals"


@pytest.mark.parametrize("model", ["tf_efficientnet_lite0", "xresnet18"])
def test_rebuilt_weights_reproduce_the_metric(
    make_context: MakeContext, tmp_path: Path, model: str
) -> None:
    pre_trained = model == "tf_efficientnet_lite0"
    context = make_context(model=model, pre_trained=pre_trained, epochs=2, image_size=48)
    context.metrics = (METRICS["log_loss"],)
    value = train(context.trial, context)
    assert context.keep is not None
    context.keep(tmp_path)
    stored = require_predictions(tmp_path, context, value)
    data = context.data
    assert data is not None
    files = [data.root / data.files[item] for item in data.valid]  # type: ignore[union-attr]
    table = predict(rebuild(tmp_path), files)
    probabilities = table[list(data.classes)].to_numpy()
    again = METRICS["log_loss"].score(data.targets[data.valid], probabilities)
    assert again == pytest.approx(value, abs=1e-3)
    assert list(table["file"]) == [str(file) for file in files]
    assert [data.root / name for name in stored.items] == files
    assert stored.outputs == pytest.approx(probabilities, abs=1e-3)
    assert (table["prediction"] == np.array(data.classes)[probabilities.argmax(axis=1)]).all()


def test_a_model_is_kept_where_parquet_cannot_be_written(
    make_context: MakeContext,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    context = make_context(model="xresnet18", pre_trained=False)
    train(context.trial, context)
    assert context.keep is not None
    context.keep(tmp_path)
    assert not (tmp_path / FILE).exists()
    assert len(predict(rebuild(tmp_path), [next((JOB / "data").rglob("*.jpg"))])) == 1
    (message,) = caplog.messages
    assert "which need pyarrow: pip install 'hpo-job[fastai]'" in message


@pytest.mark.filterwarnings("ignore:.*load_learner:UserWarning")  # of pickles; this one is ours
def test_through_the_command(
    cli: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = tmp_path / "small"
    job.mkdir()
    text = (JOB / "study.toml").read_text()
    for old, new in (
        ('name = "people-vs-animals"', 'name = "small"'),
        ("trials = 12", "trials = 1"),
        ('path = "data"', f'path = "{JOB / "data"}"'),
        ("image_size = 80", "image_size = 32"),
        ("pre_trained = { type", "# { type"),
        ("\npre_trained = true\nlearning_rate = 3e-3", '\nlearning_rate = "lr_find"\nepochs = 1'),
        ("pre_trained = false\nlearning_rate = 3e-3", "epochs = 1"),
    ):
        assert old in text
        text = text.replace(old, new)
    (job / "study.toml").write_text(text)

    assert cli("worker", job).exit_code == 0
    refused = cli("lr-find", job, "-o", "plot.txt")
    assert (refused.exit_code, refused.stderr) == (
        2,
        "hpo-job: plot.txt: write a .png, .svg, .pdf\n",
    )
    output = cli("lr-find", job)  # shows what the worker found, and runs nothing
    assert output.exit_code == 0
    assert "learning_rate " in output.stdout
    assert (tmp_path / "small-lr-find.png").read_bytes().startswith(b"\x89PNG")
    facts = json.loads(cli("lr-find", job, "--format", "json").stdout)
    assert facts["learning_rate"]["suggestion"] > 0

    exported = cli("export", "small", "-o", "best")
    assert exported.exit_code == 0, exported.output
    assert exported.stdout.startswith("best: trial 0 of small, accuracy 0.")
    image = JOB / "data" / "people" / "0133-people.jpg"
    predicted = cli("predict", "best", image, "--format", "json")
    assert predicted.exit_code == 0, predicted.output
    assert '"prediction":' in predicted.stdout
    learn = load_learner(tmp_path / "best" / "export.pkl")
    name, _, probabilities = learn.predict(image)
    assert f'"prediction":"{name}"' in predicted.stdout.replace(" ", "")
    assert probabilities.sum() == pytest.approx(1, abs=1e-4)

    (tmp_path / "broken.jpg").write_bytes(image.read_bytes()[:300])
    broken = cli("predict", "best", image, "broken.jpg")
    said = "hpo-job: broken.jpg: cannot be read as an image\n"
    assert (broken.exit_code, broken.stderr) == (2, said)
    with monkeypatch.context() as patched:
        patched.setattr(saved, "load", _not_loaded)
        half = cli("export", "small", "-o", "half")
    assert (half.exit_code, half.stderr) == (2, "hpo-job: not loaded\n")
    assert not [path.name for path in tmp_path.iterdir() if "half" in path.name]
    nowhere = cli("export", "small", "-o", "/proc/nowhere/best")
    assert nowhere.exit_code == 2
    assert nowhere.stderr.startswith("hpo-job: --output /proc/nowhere/best: cannot be written: ")

    again = cli("export", "small", "-o", "best")
    assert again.exit_code == 2
    assert "exists already" in again.stderr
    (tmp_path / "here").mkdir()
    (tmp_path / "link").symlink_to("here")
    assert cli("export", "small", "-o", "link").exit_code == 0
    with monkeypatch.context() as patched:
        patched.setenv("HPO_JOB_STORAGE", f"sqlite:///{tmp_path}/.hpo/studies.db")
        patched.setenv("HPO_JOB_ARTIFACTS", str(tmp_path / ".hpo/artifacts"))
        (tmp_path / "inside").mkdir()
        patched.chdir(tmp_path / "inside")
        assert cli("export", "small", "-o", ".").exit_code == 0
    files = sorted(path.name for path in (tmp_path / "best").iterdir())
    for place in ("here", "inside"):
        assert sorted(path.name for path in (tmp_path / place).iterdir()) == files
    unknown = cli("export", "small", "--trial", "7", "-o", "other")
    assert (unknown.exit_code, unknown.stderr) == (2, "hpo-job: study 'small': no trial 7\n")
    nothing = cli("predict", tmp_path, image)
    assert nothing.exit_code == 2
    assert "no exported model in it" in nothing.stderr
    missing = cli("predict", "best", "nowhere.jpg")
    assert (missing.exit_code, missing.stderr) == (2, "hpo-job: nowhere.jpg: no such file\n")


def _not_loaded(folder: Path, model: torch.nn.Module) -> None:
    raise DataError("not loaded")


def test_weights_of_another_model_are_refused(tmp_path: Path) -> None:
    saved.write(tmp_path, torch.nn.Linear(2, 2), {"objective": "image_classification"})
    with pytest.raises(Exception, match="not this model's weights"):
        saved.load(tmp_path, torch.nn.Linear(3, 2))


def test_half_precision_is_used_where_it_is_quick(make_context: MakeContext) -> None:
    assert resolved("fp32", "cuda") == "fp32"
    assert resolved("bf16", "cpu") == "bf16"
    assert resolved("auto", "mps") == "fp32"
    with pytest.raises(ValueError, match="precision: fp16 needs a CUDA GPU, found cpu"):
        resolved("fp16", "cpu")


@pytest.mark.needs("no-gpu")
@pytest.mark.parametrize(
    "objective", [image_classification, tabular_classification, text_classification]
)
def test_a_precision_that_cannot_be_had_is_told_before_any_trial(
    objective: ModuleType, tmp_path: Path
) -> None:
    check_precision(["auto", "fp32", "bf16"])
    with pytest.raises(SpecError, match=r"^precision: fp16 needs a CUDA GPU"):
        objective.check(Candidates({"precision": ["auto", "fp16"]}, tmp_path))


def test_bf16_trains_on_a_cpu_and_scores_in_full(make_context: MakeContext) -> None:
    seen: list[torch.dtype] = []
    context = make_context(model="squeezenet1_1", pre_trained=False, precision="bf16")
    learn, parameters = image_objective.start(CLASSES, context)
    convolution = next(m for m in learn.model.modules() if isinstance(m, torch.nn.Conv2d))
    convolution.register_forward_hook(lambda *hooked: seen.append(hooked[2].dtype))
    image_objective.fit_head(learn, context, parameters)
    assert set(seen) == {torch.bfloat16}
    assert learn.get_preds()[0].dtype == torch.float32
    assert not torch.is_autocast_enabled("cpu")  # nor is it for the next trial


def test_a_cpu_computes_the_gradients_of_depthwise_convolutions_in_full(
    make_context: MakeContext,
) -> None:
    seen: set[tuple[str, bool, torch.dtype]] = set()
    model = "tf_efficientnet_lite0"
    context = make_context(model=model, pre_trained=False, precision="bf16", image_size=32)
    learn, parameters = image_objective.start(CLASSES, context)
    for module in learn.model.modules():
        if isinstance(module, torch.nn.Conv2d):
            kind = "depthwise" if module.groups > 1 else "other"
            module.register_forward_hook(
                lambda hooked, _, output, kind=kind: seen.add((kind, hooked.training, output.dtype))
            )
    image_objective.fit_head(learn, context, parameters)
    assert seen == {
        ("depthwise", True, torch.float32),
        ("depthwise", False, torch.bfloat16),  # where no gradient is computed, bf16 is faster
        ("other", True, torch.bfloat16),
        ("other", False, torch.bfloat16),
    }
    assert full_precision(learn)
    assert not any("forward" in vars(module) for module in learn.model.modules())
