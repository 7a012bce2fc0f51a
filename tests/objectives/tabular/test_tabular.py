"""Real tabular trainings on the shipped penguins: that they learn, repeat, and can be rebuilt."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pytest
from fastai.learner import load_learner

from hpo_job.data.tables import LabelledRows, read_table
from hpo_job.errors import DataError
from hpo_job.objectives import tabular_classification, tabular_regression
from hpo_job.objectives.context import Context
from hpo_job.objectives.parameters import TabularClassification, TabularRegression
from hpo_job.objectives.tabular import model
from hpo_job.objectives.tabular.preparation import Preparation, learn, restore
from hpo_job.spec.baselines import baseline
from hpo_job.spec.metrics import METRICS
from hpo_job.spec.study_toml import Data
from tests import ROOT
from tests.objectives import LOADER_WORKERS
from tests.objectives.stored import require_predictions

JOBS = ROOT / "jobs"
SPECIES, MASS = (JOBS / name / "penguins.csv" for name in ("penguins-species", "penguins-mass"))
OBJECTIVES = {"classification": tabular_classification, "regression": tabular_regression}
Make = Callable[..., Context]


@pytest.fixture(scope="module")
def species() -> LabelledRows:
    return read_table(SPECIES, Data(path="-", label="species", valid_pct=0.3), 42)


@pytest.fixture(scope="module")
def mass() -> LabelledRows:
    return read_table(MASS, Data(path="-", label="body_mass_g", valid_pct=0.3), 42, regression=True)


@pytest.fixture
def make_context(tmp_path: Path) -> Make:
    """A trial of a fresh in-memory study on these rows."""

    def make(
        data: LabelledRows,
        metric: str | None = None,
        pruner: optuna.pruners.BasePruner | None = None,
        seed: int = 1,
        **params: object,
    ) -> Context:
        kind = TabularClassification if data.classes else TabularRegression
        scored = METRICS[metric or ("f1_macro" if data.classes else "rmse")]
        study = optuna.create_study(
            direction=scored.direction, pruner=pruner or optuna.pruners.NopPruner()
        )
        return Context(
            loader_workers=LOADER_WORKERS,
            trial=study.ask(),
            params=kind().model_dump() | {"epochs": 2} | params,
            path=None,
            seed=seed,
            threads=1,
            weights=tmp_path,
            cache=tmp_path / "cache",
            data=data,
            metrics=(scored,),
        )

    return make


def objective(data: LabelledRows) -> Any:
    return OBJECTIVES["classification" if data.classes else "regression"]


def train(context: Context) -> float:
    assert isinstance(context.data, LabelledRows)
    value = objective(context.data).train(context.trial, context)
    assert isinstance(value, float)
    return value


def rows(frame: pd.DataFrame, folder: Path, label: str = "kind", **options: Any) -> LabelledRows:
    """A table of these columns, read as a study's is."""
    frame.to_csv(folder / "table.csv", index=False)
    regression = options.pop("regression", False)
    data = Data(path="-", label=label, valid_pct=0.25, **options)
    return read_table(folder / "table.csv", data, 1, regression=regression)


@pytest.mark.parametrize("name", ["species", "mass"])
def test_it_learns(name: str, make_context: Make, request: pytest.FixtureRequest) -> None:
    data = request.getfixturevalue(name)
    context = make_context(data, epochs=5)
    steps: list[int] = []  # what was reported before each note of progress
    context.progress = lambda: steps.append(len(context.history.values))
    value = train(context)
    assert all(steps.count(epoch) > 2 for epoch in range(5))  # batches of both sets, and a report
    targets = data.targets[data.train], data.targets[data.valid]
    nothing = baseline(context.metrics[0], *targets)
    assert value > nothing + 0.5 if data.classes else value < 0.6 * nothing
    reported = context.trial.study.get_trials()[0].intermediate_values
    assert sorted(reported) == [0, 1, 2, 3, 4]
    assert reported[4] == pytest.approx(value)


@pytest.mark.parametrize("name", ["species", "mass"])
def test_it_repeats_with_the_seed(
    name: str, make_context: Make, request: pytest.FixtureRequest
) -> None:
    data = request.getfixturevalue(name)
    metric = "log_loss" if data.classes else "rmse"
    values = [train(make_context(data, metric, seed=seed)) for seed in (1, 1, 2)]
    assert values[0] == values[1] != values[2]


@pytest.mark.parametrize("name", sorted(METRICS))
def test_any_metric_of_the_task(
    name: str, make_context: Make, species: LabelledRows, mass: LabelledRows
) -> None:
    data = mass if METRICS[name].task == "regression" else species
    assert np.isfinite(train(make_context(data, name, epochs=1)))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", ["species", "mass"])
def test_a_kept_model_predicts_what_it_scored(
    name: str, precision: str, make_context: Make, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """The rows held out, from the file itself: rebuilt, and as a fastai export."""
    data = request.getfixturevalue(name)
    metric = "log_loss" if data.classes else "mae"
    context = make_context(data, metric, ps=0.2, precision=precision)
    value = train(context)
    kept = tmp_path / "model"
    kept.mkdir()
    assert context.keep is not None
    context.keep(kept)
    stored = require_predictions(kept, context, value)
    assert stored.items == [f"row {row + 1}" for row in data.valid]
    assert f"{data.features[0]}=" in stored.texts[0]
    module = objective(data)
    learner = module.rebuild(kept)
    answers = module.predict(learner, [data.file])
    assert answers["row"].tolist() == list(range(1, len(data) + 1))
    columns = list(data.classes) or ["prediction"]
    predicted = answers[columns].to_numpy()
    again = context.metrics[0].score(data.targets[data.valid], predicted[data.valid])
    assert again == pytest.approx(value, abs=1e-4)
    if data.classes:
        assert answers["prediction"].isin(data.classes).all()
        assert predicted.sum(axis=1) == pytest.approx(1)

    learner.export(tmp_path / "export.pkl")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of pickle
        loaded = load_learner(tmp_path / "export.pkl")
    table = pd.read_csv(data.file)
    again = loaded.get_preds(dl=loaded.dls.test_dl(table))[0].numpy()
    assert again == pytest.approx(predicted, rel=1e-4, abs=1e-5)
    one = loaded.predict(table.iloc[0])[2].numpy()
    assert one == pytest.approx(predicted[0], rel=1e-4, abs=1e-5)


def test_predict_takes_several_files_and_needs_no_label(
    make_context: Make, species: LabelledRows, tmp_path: Path
) -> None:
    context = make_context(species)
    train(context)
    assert context.keep is not None
    context.keep(tmp_path)
    learner = tabular_classification.rebuild(tmp_path)
    table = pd.read_csv(SPECIES).drop(columns="species")
    table.head(3).to_csv(tmp_path / "a.csv", index=False)
    table.tail(2)[table.columns[::-1]].to_parquet(tmp_path / "b.parquet")
    answers = tabular_classification.predict(learner, [tmp_path / "a.csv", tmp_path / "b.parquet"])
    assert answers["row"].tolist() == [1, 2, 3, 1, 2]
    assert answers["file"].nunique() == 2
    both = tabular_classification.predict(learner, [SPECIES])
    assert answers["Adelie"].to_numpy() == pytest.approx(
        both["Adelie"].iloc[[0, 1, 2, 342, 343]].to_numpy()
    )

    wrong = {
        "c.csv": (table.drop(columns="sex"), "unknown column 'sex'"),
        "d.csv": (
            table.assign(bill_depth_mm="deep"),
            "column 'bill_depth_mm': 'deep' is no number",
        ),
        "e.csv": (table.head(0), "no rows"),
    }
    for name, (content, problem) in wrong.items():
        content.to_csv(tmp_path / name, index=False)
        with pytest.raises(DataError, match=problem) as refusal:
            tabular_classification.predict(learner, [tmp_path / name])
        assert str(tmp_path / name) in str(refusal.value)


def test_a_value_that_training_did_not_have(
    make_context: Make, species: LabelledRows, tmp_path: Path
) -> None:
    """An island nobody has been to, and a measurement that is missing: answered all the same."""
    context = make_context(species)
    train(context)
    assert context.keep is not None
    context.keep(tmp_path)
    table = pd.read_csv(SPECIES).assign(island="Deception", year=np.nan, bill_depth_mm=np.nan)
    table.to_csv(tmp_path / "a.csv", index=False)
    learner = tabular_classification.rebuild(tmp_path)
    answers = tabular_classification.predict(learner, [tmp_path / "a.csv"])
    assert answers[list(species.classes)].notna().to_numpy().all()


# Preparation


def test_the_preparation_is_of_the_training_part(species: LabelledRows) -> None:
    preparation = learn(species)
    trained = species.frame.iloc[species.train]
    assert list(preparation.numbers) == [
        "bill_length_mm",
        "bill_depth_mm",
        "flipper_length_mm",
        "body_mass_g",
    ]
    assert preparation.categories["year"] == ("2007", "2008", "2009")
    assert preparation.categories["sex"] == ("female", "male")
    depth = preparation.numbers["bill_depth_mm"]
    assert depth.fill == trained["bill_depth_mm"].median()
    assert depth.mean == pytest.approx(trained["bill_depth_mm"].fillna(depth.fill).mean())
    elsewhere = replace(species, train=species.valid, valid=species.train)
    assert learn(elsewhere).numbers["bill_depth_mm"] != depth


def test_what_only_the_validation_part_has(tmp_path: Path) -> None:
    """A category, and a missing number: fastai's own steps would fail, or have looked ahead."""
    frame = pd.DataFrame({"kind": ["a", "b"] * 20, "place": ["x"] * 40, "size": np.arange(40.0)})
    data = rows(frame, tmp_path)
    frame.loc[int(data.valid[0]), "place"] = "elsewhere"
    frame.loc[int(data.valid[0]), "size"] = np.nan
    data = rows(frame, tmp_path)
    preparation = learn(data)
    assert preparation.categories == {"place": ("x",)}
    assert not preparation.numbers["size"].flagged
    encoded = preparation.encode(data.frame)
    assert encoded["place"].tolist().count(0) == 1
    assert encoded["place"][data.valid[0]] == 0
    expected = (
        preparation.numbers["size"].fill - preparation.numbers["size"].mean
    ) / preparation.numbers["size"].std
    assert encoded["size"][data.valid[0]] == pytest.approx(expected)


def test_missing_numbers_are_filled_and_told_of(tmp_path: Path) -> None:
    size = np.where(np.arange(40) % 4 == 0, np.nan, np.arange(40.0))
    frame = pd.DataFrame(
        {"kind": ["a", "b"] * 20, "size": size, "none": [None] * 40, "same": [0.3] * 40}
    )
    data = rows(frame, tmp_path)
    preparation = learn(data)
    encoded = preparation.encode(data.frame)
    assert preparation.category_names == ["size is missing", "none is missing"]
    assert preparation.sizes == [2, 2]
    assert encoded["size is missing"].tolist() == np.isnan(size).astype(int).tolist()
    assert encoded[preparation.number_names].notna().to_numpy().all()
    assert encoded["size"].iloc[data.train].mean() == pytest.approx(0, abs=1e-6)
    # what never changes in training is not blown up where it does
    assert preparation.encode(data.frame.assign(same=1.3))["same"].iloc[0] == pytest.approx(
        1, abs=0.01
    )


def test_infinite_numbers_count_as_missing(tmp_path: Path) -> None:
    frame = pd.DataFrame({"kind": ["a", "b"] * 20, "size": [np.inf, 1.5] * 20})
    encoded = learn(rows(frame, tmp_path)).encode(rows(frame, tmp_path).frame)
    assert np.isfinite(encoded["size"]).all()


def test_categories_are_the_same_however_they_are_written(tmp_path: Path) -> None:
    frame = pd.DataFrame({"kind": ["a", "b"] * 20, "code": [1, 2] * 20, "yes": [True, False] * 20})
    preparation = learn(rows(frame, tmp_path))
    assert preparation.categories == {"code": ("1", "2"), "yes": ("False", "True")}
    for code in ([2, 1], [2.0, 1.0], ["2", "1"]):
        encoded = preparation.encode(pd.DataFrame({"code": code, "yes": [True, False]}))
        assert encoded["code"].tolist() == [2, 1]
        assert encoded["yes"].tolist() == [2, 1]


def test_a_preparation_is_stored_as_it_is(species: LabelledRows) -> None:
    preparation = learn(species)
    assert restore(json.loads(json.dumps(preparation.stored()))) == preparation
    assert preparation.formats["year"].kind == "category"


# Parameters: each of them does something


def make_learner(context: Context, data: LabelledRows) -> tuple[Any, Preparation]:
    kind = TabularClassification if data.classes else TabularRegression
    learner, _, preparation = model._start(kind, context)
    return learner, preparation


def widths(learner: Any) -> list[int]:
    """The units of the hidden layers."""
    shapes = [p.shape for name, p in learner.model.named_parameters() if name.endswith("weight")]
    hidden = [shape[0] for shape in shapes if len(shape) == 2]
    return hidden[len(learner.model.embeds) : -1]


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({}, [200, 100]),
        ({"layers": 3, "units": 64}, [64, 32, 16]),
        ({"layers": 3, "units": 64, "halving": False}, [64, 64, 64]),
        ({"layers": 4, "units": 3}, [3, 1, 1, 1]),
    ],
)
def test_layers_and_units(
    make_context: Make, species: LabelledRows, params: dict[str, Any], expected: list[int]
) -> None:
    assert widths(make_learner(make_context(species, **params), species)[0]) == expected


def test_dropout_embeddings_and_weight_decay(make_context: Make, species: LabelledRows) -> None:
    learner, preparation = make_learner(
        make_context(species, ps=0.3, embed_p=0.1, embed_factor=2.0, weight_decay=0.7), species
    )
    plain, _ = make_learner(make_context(species), species)
    assert [m.p for m in learner.model.layers.modules() if type(m).__name__ == "Dropout"] == [
        0.3,
        0.3,
    ]
    assert learner.model.emb_drop.p == 0.1
    sizes = [embedding.embedding_dim for embedding in learner.model.embeds]
    assert sizes == [2 * embedding.embedding_dim for embedding in plain.model.embeds]
    assert [embedding.num_embeddings for embedding in learner.model.embeds] == preparation.sizes
    assert learner.wd == 0.7


def test_batches_hold_the_rows_with_their_targets(
    make_context: Make, species: LabelledRows, mass: LabelledRows
) -> None:
    """The validation batches, one by one, against the preparation of the study's own rows."""
    for data in (species, mass):
        learner, preparation = make_learner(make_context(data, batch_size=16), data)
        expected = preparation.encode(data.frame.iloc[data.valid])
        parts = [np.concatenate(part) for part in zip(*learner.dls.valid, strict=True)]
        assert np.array_equal(parts[0], expected[preparation.category_names])
        assert np.array_equal(parts[1], expected[preparation.number_names])
        assert parts[2].ravel() == pytest.approx(data.targets[data.valid])


def test_the_sampler_reaches_the_batches(make_context: Make, species: LabelledRows) -> None:
    shares = {}
    for balance in ("none", "sampler"):
        learner, _ = make_learner(make_context(species, balance=balance), species)
        targets = np.concatenate(
            [batch[2].ravel() for _ in range(5) for batch in learner.dls.train]
        )
        shares[balance] = np.bincount(targets) / len(targets)
    true = np.bincount(species.targets[species.train]) / len(species.train)
    assert shares["none"] == pytest.approx(true, abs=0.03)
    assert shares["sampler"] == pytest.approx([1 / 3] * 3, abs=0.06)
    weighed, _ = make_learner(make_context(species, balance="class_weights"), species)
    assert weighed.loss_func.func.weight.numpy() == pytest.approx(1 / (3 * true), rel=1e-5)


def test_the_unit_of_a_number_does_not_matter(
    make_context: Make, mass: LabelledRows, tmp_path: Path
) -> None:
    """In tonnes, or in micrograms: the same model, its error in the same unit."""
    value = train(make_context(mass))
    for factor in (1e-6, 1e6):
        frame = pd.read_csv(MASS)
        frame["body_mass_g"] = frame["body_mass_g"] * factor
        frame.to_csv(tmp_path / "scaled.csv", index=False)
        scaled = read_table(
            tmp_path / "scaled.csv",
            Data(path="-", label="body_mass_g", valid_pct=0.3),
            42,
            regression=True,
        )
        assert train(make_context(scaled)) == pytest.approx(value * factor, rel=0.02)


@pytest.mark.parametrize("columns", [["island", "sex"], ["bill_length_mm", "bill_depth_mm"]])
def test_only_categories_or_only_numbers(make_context: Make, columns: list[str]) -> None:
    frame = read_table(
        SPECIES, Data(path="-", label="species", valid_pct=0.3, features=columns), 42
    )
    assert train(make_context(frame)) > 0.2


def test_a_parquet_file_is_the_same_table(
    make_context: Make, species: LabelledRows, tmp_path: Path
) -> None:
    pd.read_csv(SPECIES).to_parquet(tmp_path / "penguins.parquet")
    data = read_table(
        tmp_path / "penguins.parquet", Data(path="-", label="species", valid_pct=0.3), 42
    )
    assert train(make_context(data, "log_loss")) == train(make_context(species, "log_loss"))


def test_fewer_rows_than_a_batch(make_context: Make, tmp_path: Path) -> None:
    frame = pd.read_csv(SPECIES).iloc[::20]
    frame.to_csv(tmp_path / "few.csv", index=False)
    assert np.isfinite(
        train(
            make_context(
                read_table(tmp_path / "few.csv", Data(path="-", label="species", valid_pct=0.3), 1)
            )
        )
    )


class PruneAfter(optuna.pruners.BasePruner):
    """Prunes a trial that has reported at ``step``."""

    def __init__(self, step: int) -> None:
        self.step = step

    def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
        return trial.last_step is not None and trial.last_step >= self.step


def test_a_pruned_trial_ends_pruned(make_context: Make, species: LabelledRows) -> None:
    context = make_context(species, pruner=PruneAfter(1), epochs=5)
    with pytest.raises(optuna.TrialPruned, match="pruned after epoch 2 of 5"):
        train(context)
    assert len(context.trial.study.get_trials()[0].intermediate_values) == 2
    assert context.keep is None


@pytest.mark.filterwarnings("ignore:numpy.core is deprecated")  # torch, reading fastai's file
def test_the_learning_rate_finder(
    make_context: Make, species: LabelledRows, mass: LabelledRows
) -> None:
    for data in (species, mass):
        curves = objective(data).lr_find(make_context(data), ["learning_rate"])
        assert 1e-6 < curves["learning_rate"].suggestion < 1
        assert len(curves["learning_rate"].lrs) == len(curves["learning_rate"].losses) > 20


@pytest.mark.parametrize("name", ["penguins-species", "penguins-mass"])
def test_the_shipped_jobs_run(name: str, cli: Callable[..., Any], tmp_path: Path) -> None:
    shutil.copytree(JOBS / name, tmp_path / name)
    toml = tmp_path / name / "study.toml"
    toml.write_text(toml.read_text().replace("trials = 12", "trials = 1"))
    output = cli("check", name).stdout
    assert "baseline " in output and "features " in output
    done = cli("worker", name, "--threads", "1")
    assert done.exit_code == 0, done.output
    assert "COMPLETE" in cli("results", name).stdout
