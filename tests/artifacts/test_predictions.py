"""Stored predictions: kept and swept with their models, read back as they were, and explained."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import optuna
import pyarrow.parquet as pq
import pytest
from click.testing import Result
from PIL import Image

from hpo_job import report
from hpo_job.artifacts.models import Models
from hpo_job.artifacts.predictions import kept_predictions, trial_predictions
from hpo_job.artifacts.stores import open_store
from hpo_job.data.tables import read_table
from hpo_job.errors import StudyError
from hpo_job.objectives.predictions import FILE, Predictions, _named, interval
from hpo_job.results.errors import by_class, calibration, confusion, mcnemar, worst, wrong_in_all
from hpo_job.results.errors_text import errors_text
from hpo_job.results.ranking import score, within_chance
from hpo_job.spec.metrics import METRICS
from hpo_job.spec.study_toml import Data
from hpo_job.storage.database import Storage
from hpo_job.trial import attributes
from tests import synthetic

pytestmark = pytest.mark.studies

Cli = Callable[..., Result]
CLASSES = ("cats", "dogs", "<i>birds</i>")


def predictions(seed: int, *, skill: float = 0.7, count: int = 90, root: str = "") -> Predictions:
    """A classifier that is right for about ``skill`` of the items; the last three always wrong."""
    targets = np.arange(count) % 3
    rng = np.random.default_rng(seed)
    answers = np.where(rng.random(count) < skill, targets, (targets + 1) % 3)
    answers[-3:] = (targets[-3:] + 1) % 3
    sure = rng.uniform(0.5, 0.98, count)
    outputs = np.repeat((1 - sure)[:, None] / 2, 3, axis=1)
    outputs[np.arange(count), answers] = sure
    ends = interval(METRICS["f1_weighted"], targets, outputs)
    items = [f"{number:03}.png" for number in range(count)]
    return Predictions(items, [], CLASSES, targets, outputs, root, ends)


def numbers() -> Predictions:
    """A regression of five numbers, in words of their own."""
    targets = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    outputs = targets + np.array([0.0, 0.1, -3.0, 0.1, 0.3])
    texts = [f"width={number}" for number in range(5)]
    return Predictions([f"row {n}" for n in range(1, 6)], texts, (), targets, outputs)


def finish(models: Models, study: optuna.Study, stored: Predictions) -> optuna.Trial:
    """A trial that ends as a worker ends one, with the value of these predictions."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Heartbeat of storage is supposed")
        trial = study.ask()
    metric = METRICS["f1_weighted" if stored.classes else "rmse"]
    value = metric.score(stored.targets, stored.outputs)
    artifact = models.offer(trial, [value], [value], lambda folder: stored.write(folder / FILE))
    if artifact:
        trial.set_user_attr(attributes.ARTIFACT, artifact)
    study.tell(trial, value)
    models.sweep()
    return trial


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(90):
        Image.new("RGB", (300, 200), (number, 100, 100)).save(folder / f"{number:03}.png")
    return folder


@pytest.fixture
def study(storage: Storage, tmp_path: Path, images: Path) -> optuna.Study:
    """Three trials, of which the models of two are kept."""
    store = str(tmp_path / "store")
    spec: dict[str, Any] = {"artifacts": {"keep": 2, "store": store}, "budget": {"trials": 9}}
    study = synthetic.study(storage=storage.optuna, **spec)
    models = Models(study, open_store(store), keep=2)
    for seed, skill in ((1, 0.4), (2, 0.8), (3, 0.75)):
        finish(models, study, predictions(seed, skill=skill, root=str(images)))
    return study


def test_they_are_read_back_as_they_were(tmp_path: Path) -> None:
    for stored in (predictions(0), numbers()):
        stored.write(tmp_path / FILE)
        again = Predictions.read(tmp_path / FILE)
        assert (again.items, again.texts, again.classes) == (
            stored.items,
            stored.texts,
            stored.classes,
        )
        assert (again.outputs == stored.outputs).all()
        assert (again.targets == stored.targets).all()
        assert again.interval == stored.interval
    names = pq.read_table(tmp_path / FILE).column_names
    assert names == ["item", "text", "target", "prediction", "probabilities", "loss"]


def test_they_are_kept_and_swept_with_the_models(study: optuna.Study, tmp_path: Path) -> None:
    kept = kept_predictions(study, "elsewhere")
    assert [each.trial.number for each in kept] == [1, 2]
    assert (kept[0].predictions.outputs == predictions(2, skill=0.8).outputs).all()
    names = {t.user_attrs[n] for t in study.trials[1:] for n in ("artifact_id", "predictions_id")}
    assert {file.name for file in (tmp_path / "store").iterdir()} == names
    with pytest.raises(StudyError, match="was not kept; those of the best are: #1, #2"):
        trial_predictions(study, "elsewhere", 0)
    with pytest.raises(StudyError, match="no trial 17"):
        trial_predictions(study, "elsewhere", 17)


def test_a_study_without_predictions_says_so(storage: Storage, cli: Cli, database: str) -> None:
    synthetic.study(synthetic.trials(3), "none", storage=storage.optuna)
    synthetic.study(synthetic.trials(3), "theirs", storage=storage.optuna, ours=False)
    for name, reason in (("none", "no predictions"), ("theirs", "not created by hpo-job")):
        done = cli("errors", name, "--storage", database)
        assert done.exit_code == 2
        assert reason in done.stderr
        assert len(done.stderr.splitlines()) == 1


# intervals


def test_the_interval_stands_with_every_best_value(
    study: optuna.Study, cli: Cli, database: str
) -> None:
    best = study.best_trial
    low, high = best.user_attrs["interval"]
    assert low < best.value < high
    assert f"f1_weighted {best.value:.4f} [{low:.4f}, {high:.4f}]" in score(study, best)
    assert [trial.number for trial in within_chance(study)] == [2]
    status = " ".join(cli("status", "synthetic", "--storage", database).stdout.split())
    assert f"[{low:.4f}, {high:.4f}]" in status
    assert "is within chance of it" in status
    assert f"[{low:.4f}" in cli("best", "synthetic", "--storage", database).stdout


def test_an_interval_narrows_with_the_items() -> None:
    wide, narrow = (predictions(0, count=count).interval for count in (60, 6000))
    assert wide is not None
    assert narrow is not None
    assert narrow[1] - narrow[0] < (wide[1] - wide[0]) / 5


def test_what_is_all_right_has_no_interval() -> None:
    outputs = np.eye(2)[[0, 1] * 20]
    assert interval(METRICS["accuracy"], np.array([0, 1] * 20), outputs) is None


def test_repeats_have_no_interval_of_one_model(tmp_path: Path) -> None:
    study = optuna.create_study(direction="maximize")
    models = Models(study, open_store(str(tmp_path)), keep=1)
    trial = study.ask()
    models.offer(trial, [0.5], [0.6], lambda folder: predictions(0).write(folder / FILE))
    assert "interval" not in trial.user_attrs
    assert "predictions_id" in trial.user_attrs


# what they say


def test_confusion_and_classes_are_scikit_learns() -> None:
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

    stored = predictions(5)
    assert (confusion(stored).to_numpy() == confusion_matrix(stored.targets, stored.answers)).all()
    expected = precision_recall_fscore_support(stored.targets, stored.answers)
    table = by_class(stored)
    for name, column in zip(("precision", "recall", "f1", "items"), expected, strict=True):
        assert table[name].to_numpy() == pytest.approx(column)


def test_a_class_that_is_never_right_or_never_there() -> None:
    outputs = np.array([[0.9, 0.1, 0.0], [0.8, 0.2, 0.0]])
    stored = Predictions(["a", "b"], [], CLASSES, np.array([0, 1]), outputs)
    assert by_class(stored)["f1"].tolist() == pytest.approx([2 / 3, 0, 0])


def test_the_worst_items_and_those_that_all_get_wrong() -> None:
    models = [predictions(seed, skill=0.9) for seed in range(4)]
    (first, *_) = worst(models[0], 5)
    assert first.loss == models[0].losses[models[0].wrong].max()
    names = {item.name for item in wrong_in_all(models)}
    assert {"087.png", "088.png", "089.png"} <= names
    assert len(names) < models[0].wrong.sum()
    assert wrong_in_all(models[:1]) == []
    assert wrong_in_all([models[0], predictions(1, count=30)]) == []
    assert [item.name for item in worst(numbers(), 2)] == ["row 3", "row 5"]


def test_calibration_of_a_model_that_knows_and_of_one_that_boasts() -> None:
    rng = np.random.default_rng(0)
    sure = rng.uniform(0.5, 1, 20_000)
    right = rng.random(20_000) < sure
    outputs = np.column_stack([sure, 1 - sure])
    honest = Predictions([""] * 20_000, [], ("a", "b"), np.where(right, 0, 1), outputs)
    assert calibration(honest).error < 0.02
    boasting = np.tile([0.99, 0.01], (20_000, 1))
    other = Predictions([""] * 20_000, [], ("a", "b"), np.where(right, 0, 1), boasting)
    assert calibration(other).error == pytest.approx(0.99 - right.mean(), abs=1e-6)


def test_mcnemar_is_exact() -> None:
    def model(right: str) -> Predictions:
        targets = np.zeros(len(right), dtype=np.int64)
        outputs = np.array([[1.0, 0.0] if each == "1" else [0.0, 1.0] for each in right])
        return Predictions([str(n) for n in range(len(right))], [], ("a", "b"), targets, outputs)

    test = mcnemar(model("1111111100"), model("0000000010"))
    assert test is not None
    assert (test.items, test.only_first, test.only_second) == (10, 8, 1)
    assert test.p == pytest.approx(2 * (1 + 9) / 2**9)  # as R's binom.test(1, 9)
    same = mcnemar(model("10"), model("10"))
    assert same is not None
    assert same.p == 1
    assert mcnemar(model("1"), numbers()) is None


# the command and the report


def test_errors_are_printed_in_80_columns(study: optuna.Study, cli: Cli, database: str) -> None:
    done = cli("errors", "synthetic", "--against", "2", "--storage", database)
    assert done.exit_code == 0, done.output
    assert max(map(len, done.stdout.splitlines())) <= 80
    for text in (
        "trial 1 of synthetic, f1_weighted 0.",
        "confusion",
        "precision",
        "worst items",
        "wrong in all 2 kept models",
        "expected calibration error",
        "only #1 gets",
    ):
        assert text in " ".join(done.stdout.split())
    other = cli("errors", "synthetic", "--trial", "2", "--storage", database).stdout
    assert "trial 2 of synthetic" in other


def test_long_names_of_classes_are_cut_with_a_sign() -> None:
    long = tuple(f"{name} {'of the nineteenth century ' * 4}" for name in CLASSES)
    stored = replace(predictions(0), classes=long, texts=["long words " * 90] * 90)
    text = errors_text("trial 0", stored, [stored], 80)
    assert max(map(len, click.unstyle(text).splitlines())) <= 80
    assert "cats of the ninet…" in text
    assert "confusion: true classes in rows" in text
    assert "most frequent confusions" in errors_text("trial 0", stored, [stored], 70)


def test_a_number_has_no_probability() -> None:
    text = click.unstyle(errors_text("trial 0", numbers(), [numbers()], 80))
    lines = [line.split() for line in text.splitlines()]
    header = lines.index(["true", "predicted", "loss", "item"])
    assert lines[header + 1] == ["3", "0", "9", "row", "3:", "width=2"]


def test_errors_as_json(study: optuna.Study, cli: Cli, database: str) -> None:
    asked = ["errors", "synthetic", "--against", "synthetic", "--format", "json"]
    record = json.loads(cli(*asked, "--storage", database).stdout)
    stored = predictions(2, skill=0.8)
    assert record["items"] == 90
    assert record["confusion"]["cats"]["cats"] == confusion(stored).loc["cats", "cats"]
    assert len(record["worst"]) == stored.wrong.sum()
    assert record["mcnemar"]["p"] == 1


def test_the_report_shows_the_images_that_it_has(study: optuna.Study, tmp_path: Path) -> None:
    page = report.report([study]).html()
    low, high = study.best_trial.user_attrs["interval"]
    assert f"f1_weighted [{low:.4f}, {high:.4f}], trial #1; #2 at" in page
    both = report.report([study, synthetic.study(synthetic.trials(9), "other")]).html()
    assert f"{study.best_value:.4f} [{low:.4f}, {high:.4f}]" in both
    assert page.count('<img src="data:image/jpeg;base64,') >= 10
    assert "&lt;i&gt;birds&lt;/i&gt;" in page
    assert "<i>birds" not in page
    for file in (tmp_path / "images").iterdir():
        file.unlink()
    assert "<img" not in report.report([study]).html()


def test_the_report_of_a_regression_lists_rows(storage: Storage, tmp_path: Path) -> None:
    store = str(tmp_path / "rows")
    spec: dict[str, Any] = {"artifacts": {"keep": 1, "store": store}, "metric": "rmse"}
    study = synthetic.study(storage=storage.optuna, name="rows", direction="minimize", **spec)
    finish(Models(study, open_store(store), keep=1), study, numbers())
    page = report.report([study]).html()
    assert "row 3: width=2" in page
    assert "Confusion" not in page


def test_rows_are_named_with_their_dates(tmp_path: Path) -> None:
    """Not with the days since 1970 that models get."""
    file = tmp_path / "sales.csv"
    rows = [f"{1 + n % 28:02}.03.2021,{n}.5,{n * 2}.25" for n in range(40)]
    file.write_text("\n".join(["sold,area,price", *rows, ",7.5,3.25"]), encoding="utf-8")
    data = read_table(file, Data(path="sales.csv", label="price"), 1, regression=True)
    data = replace(data, valid=np.array([0, 40]))
    assert _named(data) == (
        ["row 1", "row 41"],
        ["sold=2021-03-01, area=0.5", "sold=nan, area=7.5"],
    )
