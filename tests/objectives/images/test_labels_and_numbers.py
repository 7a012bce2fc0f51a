"""Images with several labels or a number: trained, kept, exported, and shown by every command."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageDraw

from hpo_job.artifacts.inference import load
from hpo_job.data.image_table import read_image_table
from hpo_job.objectives import image_multilabel, image_regression
from hpo_job.objectives.balance import label_weights
from hpo_job.objectives.context import Context
from hpo_job.report.serving import application
from hpo_job.spec.metrics import METRICS, MULTILABEL
from hpo_job.spec.study_toml import Data
from tests.objectives.commands import run
from tests.objectives.stored import require_predictions

pytestmark = pytest.mark.fastai
MakeContext = Callable[..., Context]
SMALL = {"model": "xresnet18", "pre_trained": False, "precision": "fp32"}
STUDY = """
name = "{name}"
objective = "{objective}"
metric = "{metric}"
direction = "{direction}"
[budget]
trials = 2
[data]
path = "shapes.csv"
image = "file"
label = "{label}"
[search_space]
model = "xresnet18"
pre_trained = false
image_size = 32
batch_size = 16
learning_rate = {{ type = "float", low = 1e-3, high = 1e-2, log = true }}
"""


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of 60 drawings: which shapes each has, how large the disc is, and its part."""
    folder = tmp_path_factory.mktemp("shapes")
    draw, rows = np.random.default_rng(0), []
    for number in range(60):
        image = Image.new("RGB", (32, 32), "white")
        pencil, size = ImageDraw.Draw(image), int(draw.integers(2, 14))
        names = [name for name, share in (("disc", 0.6), ("box", 0.4)) if draw.random() < share]
        if "disc" in names:
            pencil.ellipse((16 - size, 16 - size, 16 + size, 16 + size), "red")
        if "box" in names:
            pencil.rectangle((0, 0, 9, number % 20), "blue")
        image.save(folder / f"{number}.png")
        part = ("train", "train", "train", "valid", "test")[number % 5]
        rows.append((f"{number}.png", "|".join(names), size * 100.5, part))
    table = pd.DataFrame(rows, columns=["file", "shapes", "size", "split"])
    table.to_csv(folder / "shapes.csv", index=False)
    return folder


def labels_of(folder: Path) -> Data:
    return Data(path="-", image="file", label="shapes")


@pytest.mark.parametrize("balance", ["none", "class_weights"])
def test_labels(shapes: Path, make_context: MakeContext, tmp_path: Path, balance: str) -> None:
    data = read_image_table(shapes / "shapes.csv", labels_of(shapes), 1, "multilabel")
    context = make_context(**SMALL, epochs=2, threshold=0.4, balance=balance)
    context.data, context.metrics = data, (MULTILABEL["f1_micro"],)
    value = image_multilabel.train(context.trial, context)
    assert context.keep is not None
    context.keep(tmp_path)
    stored = require_predictions(tmp_path, context, value)
    assert stored.has_label_sets and stored.threshold == 0.4
    assert MULTILABEL["f1_micro"].at(0.4).score(stored.targets, stored.outputs) == value
    files = [data.root / name for name in stored.items]
    table = image_multilabel.predict(image_multilabel.rebuild(tmp_path), files)
    assert list(table.columns) == ["file", "prediction", "box", "disc"]
    assert table[["box", "disc"]].to_numpy() == pytest.approx(stored.outputs, abs=1e-3)
    above = table[["box", "disc"]].to_numpy() > 0.4
    names = ["|".join(np.array(["box", "disc"])[row]) for row in above]
    assert list(table["prediction"]) == names


def test_weights_make_a_label_count_as_much_as_its_absence(shapes: Path) -> None:
    data = read_image_table(shapes / "shapes.csv", labels_of(shapes), 1, "multilabel")
    having = data.targets[data.train].sum(axis=0)
    assert label_weights(data) * having == pytest.approx(len(data.train) - having)
    never = replace(data, train=np.flatnonzero(data.targets.sum(axis=1) == 0))
    assert label_weights(never).tolist() == [1.0, 1.0]


def test_numbers(shapes: Path, make_context: MakeContext, tmp_path: Path) -> None:
    keys = Data(path="-", image="file", label="size")
    data = read_image_table(shapes / "shapes.csv", keys, 1, "regression")
    context = make_context(**SMALL, epochs=2, unfrozen_epochs=1)
    context.data, context.metrics = data, (METRICS["rmse"], METRICS["r2"])
    values = image_regression.train(context.trial, context)
    assert isinstance(values, tuple)
    assert math.isfinite(values[0]) and values[0] < 5 * data.targets.std()  # in its own unit
    assert context.keep is not None
    context.keep(tmp_path)
    stored = require_predictions(tmp_path, context, values)
    files = [data.root / name for name in stored.items]
    table = image_regression.predict(image_regression.rebuild(tmp_path), files)
    assert list(table.columns) == ["file", "prediction"]
    assert table["prediction"].to_numpy() == pytest.approx(stored.outputs, rel=1e-3, abs=0.1)


# Through the commands


def study(folder: Path, shapes: Path, **keys: str) -> Path:
    """A folder with a finished study of two trials, and its final model."""
    name = keys["name"]
    (folder / name).mkdir()
    for file in shapes.iterdir():
        (folder / name / file.name).write_bytes(file.read_bytes())
    (folder / name / "study.toml").write_text(STUDY.format(**keys))
    run(folder, "worker", name)
    run(folder, "train", name, "-o", "final", "--seeds", "2")
    return folder


@pytest.fixture(scope="module")
def marked(shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return study(
        tmp_path_factory.mktemp("labels"),
        shapes,
        name="marked",
        objective="image_multilabel",
        metric="f1_macro",
        direction="maximize",
        label="shapes",
    )


@pytest.fixture(scope="module")
def sized(shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return study(
        tmp_path_factory.mktemp("numbers"),
        shapes,
        name="sized",
        objective="image_regression",
        metric="mae",
        direction="minimize",
        label="size",
    )


def test_the_study_of_labels_is_described(marked: Path) -> None:
    shown = run(marked, "check", "marked").stdout
    assert "60 images with 2 labels" in shown
    assert "by always answering the labels that score best in" in shown
    assert "12 images are held out: no trial sees them" in " ".join(shown.split())
    assert "labels that score best" in " ".join(run(marked, "results", "marked").stdout.split())


def test_errors_of_labels(marked: Path) -> None:
    shown = run(marked, "errors", "marked").stdout
    assert "by label, predicted above a probability of 0.5" in shown
    assert "confusion" not in shown
    assert "of the labels is" in shown
    record = json.loads(run(marked, "errors", "marked", "--format", "json").stdout)
    assert set(record["labels"]) == {"box", "disc"} and "confusion" not in record
    assert record["threshold"] == 0.5
    run(marked, "report", "marked", "-o", "report.html")
    page = (marked / "report.html").read_text()
    assert "By label" in page and "true \\ predicted" not in page
    run(marked, "advise", "marked")


def test_the_card_of_labels(marked: Path) -> None:
    card = (marked / "final" / "README.md").read_text()
    assert "On the test part, which no trial has seen:" in card
    assert "| label | items | precision | recall | F1 |" in card
    assert "learnt from 48 items, scored on 12" in card


def test_predictions_of_labels(marked: Path) -> None:
    shown = run(marked, "predict", "final", "marked/[0-9].png").stdout
    assert "prediction, above 0.5" in shown
    assert "10 items" in shown
    record = json.loads(run(marked, "predict", "final", "marked/3.png", "--format", "json").stdout)[
        0
    ]
    assert record["prediction"] == [n for n in ("box", "disc") if record[n] > 0.5]
    csv = run(marked, "predict", "final", "marked/3.png", "--format", "csv").stdout
    assert csv.splitlines()[1].split(",")[1] == "|".join(record["prediction"])


def test_labels_are_served(marked: Path) -> None:
    client = application(load(marked / "final"), hosts=None).test_client()
    image = (marked / "marked" / "3.png").read_bytes()
    answer = client.post("/predict", data={"files": (io.BytesIO(image), "3.png")}).get_json()[0]
    probabilities = answer["probabilities"]
    assert answer["prediction"] == [n for n in ("box", "disc") if probabilities[n] > 0.5]
    assert client.get("/model").get_json()["threshold"] == 0.5
    assert "labels above 0.5" in client.get("/").get_data(as_text=True)


def test_numbers_through_the_commands(sized: Path) -> None:
    shown = run(sized, "check", "sized").stdout
    assert "target        size: " in shown
    assert "mae" in shown and "by always answering the median of training" in shown
    errors = run(sized, "errors", "sized").stdout
    assert "rmse" in errors and "confusion" not in errors and "by class" not in errors
    run(sized, "report", "sized", "-o", "report.html")
    assert "On the test part" in (sized / "final" / "README.md").read_text()
    record = json.loads(run(sized, "predict", "final", "sized/3.png", "--format", "json").stdout)
    assert isinstance(record[0]["prediction"], float)
    client = application(load(sized / "final"), hosts=None).test_client()
    image = (sized / "sized" / "3.png").read_bytes()
    answer = client.post("/predict", data={"files": (io.BytesIO(image), "3.png")}).get_json()[0]
    assert answer["prediction"] == pytest.approx(record[0]["prediction"])
    assert answer["probabilities"] == {}
