"""Samplers, pruners, objectives and metrics that a study names: made, or refused with a reason."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest

from hpo_job.spec.combinations import EXHAUSTIVE
from hpo_job.spec.reading import read_spec
from hpo_job.study import pruners, samplers

Job = Callable[..., Path]
Refused = Callable[..., str]


FINITE: dict[str, Any] = {"x": {"type": "float", "low": 0.0, "high": 1.0, "step": 0.25}}
SAMPLERS: list[dict[str, Any]] = [
    {"name": "BruteForceSampler", "avoid_premature_stop": True},
    {"name": "CmaEsSampler", "n_startup_trials": 2},
    {"name": "GPSampler"},
    {"name": "GridSampler", "search_space": {"x": [0.0, 0.5]}},
    {"name": "NSGAIISampler", "population_size": 4},
    {"name": "NSGAIIISampler"},
    {
        "name": "PartialFixedSampler",
        "fixed_params": {"x": 0.5},
        "base_sampler": {"name": "TPESampler", "n_startup_trials": 2},
    },
    {"name": "QMCSampler", "independent_sampler": {"name": "TPESampler"}},
    {"name": "RandomSampler"},
    {"name": "TPESampler", "multivariate": False},
]


@pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda sampler: str(sampler["name"]))
def test_every_sampler_suggests(job: Job, sampler: dict[str, Any]) -> None:
    spec = read_spec(job(sampler=sampler, search_space=FINITE))
    component = samplers.make_sampler(spec)
    # of a sampler that tries every combination, the rest is drawn at random
    expected = "RandomSampler" if sampler["name"] in EXHAUSTIVE else sampler["name"]
    assert type(component).__name__.removeprefix("Bounded") == expected
    if sampler["name"] == "GPSampler":
        return  # it needs torch, seconds to import
    study = optuna.create_study(sampler=component)
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1, step=0.25), n_trials=4)
    assert len(study.trials) == 4
    if sampler["name"] == "PartialFixedSampler":
        assert {trial.params["x"] for trial in study.trials} == {0.5}


def test_every_sampler_is_tried_here() -> None:
    assert [sampler["name"] for sampler in SAMPLERS] == list(samplers.SAMPLERS)


def test_every_sampler_and_pruner_is_optunas() -> None:
    assert all(hasattr(optuna.samplers, name) for name in samplers.SAMPLERS)
    assert [n for n in pruners.PRUNERS if not hasattr(optuna.pruners, n)] == ["PromotionPruner"]


PRUNERS: list[dict[str, Any]] = [
    {"name": "HyperbandPruner", "min_resource": 1, "max_resource": 9},
    {"name": "MedianPruner", "n_startup_trials": 0, "n_warmup_steps": 0},
    {"name": "NopPruner"},
    {"name": "PatientPruner", "patience": 2, "wrapped_pruner": {"name": "MedianPruner"}},
    {"name": "PercentilePruner", "percentile": 25.0},
    {"name": "PromotionPruner", "min_resource": 2, "brackets": 2},
    {"name": "SuccessiveHalvingPruner", "min_resource": 2},
    {"name": "ThresholdPruner", "upper": 0.5},
    {"name": "WilcoxonPruner", "p_threshold": 0.1},
]


@pytest.mark.parametrize("pruner", PRUNERS)
def test_every_pruner_is_made_with_its_options(job: Job, pruner: dict[str, Any]) -> None:
    component = pruners.make_pruner(read_spec(job(pruner=pruner)))
    assert type(component).__name__.removeprefix("Bounded") == pruner["name"]


def test_every_pruner_is_tried_here() -> None:
    assert [pruner["name"] for pruner in PRUNERS] == sorted(pruners.PRUNERS)


def test_a_pruners_options_reach_it(job: Job) -> None:
    pruner = pruners.make_pruner(read_spec(job(pruner={"name": "ThresholdPruner", "upper": 5})))
    study = optuna.create_study(pruner=pruner)
    trial = study.ask()
    trial.report(4.0, 0)
    assert not trial.should_prune()
    trial.report(6.0, 1)
    assert trial.should_prune()


def test_a_samplers_options_reach_it(job: Job) -> None:
    spec = read_spec(job(sampler={"name": "TPESampler", "n_startup_trials": 123}))
    sampler = samplers.make_sampler(spec)
    assert isinstance(sampler, optuna.samplers.TPESampler)
    assert sampler._n_startup_trials == 123


def _first(job: Path, draw: int) -> float:
    sampler = samplers.make_sampler(read_spec(job), draw)
    return optuna.create_study(sampler=sampler).ask().suggest_float("x", 0, 1)


def test_a_seed_and_a_draw_give_one_point(job: Job) -> None:
    folder = job(seed=5)
    assert _first(folder, 3) == _first(folder, 3)


def test_no_two_draws_share_a_point(job: Job) -> None:
    folder = job(seed=5)
    assert len({_first(folder, draw) for draw in range(30)}) == 30


def test_another_seed_gives_other_points(job: Job) -> None:
    first = [_first(job(seed=1), draw) for draw in range(5)]
    assert not np.isclose(first, [_first(job(seed=2), draw) for draw in range(5)]).any()


BAD: list[tuple[dict[str, Any], str, str]] = [
    ({"sampler": {"name": "TPESampeler"}}, "sampler.name", "did you mean 'TPESampler'?"),
    ({"sampler": {"name": "NoSampler"}}, "sampler.name", "known: BruteForceSampler"),
    ({"sampler": {"name": "PartialFixedSampler"}}, "sampler", "needs fixed_params"),
    (
        {"sampler": {"name": "PartialFixedSampler", "fixed_params": 3}},
        "sampler.fixed_params",
        "should be a table of parameters, found 3",
    ),
    (
        {"sampler": {"name": "PartialFixedSampler", "fixed_params": {"x": 1.0}}},
        "sampler",
        "needs base_sampler",
    ),
    (
        {
            "sampler": {
                "name": "PartialFixedSampler",
                "fixed_params": {"x": 99.0},
                "base_sampler": {"name": "TPESampler"},
            }
        },
        "sampler.fixed_params.x",
        "99.0 is not in the search space",
    ),
    (
        {
            "sampler": {
                "name": "PartialFixedSampler",
                "fixed_params": {"x": 1.0},
                "base_sampler": {"name": "GridSampler"},
            }
        },
        "sampler.base_sampler.name",
        "unknown sampler 'GridSampler'",
    ),
    ({"sampler": {"name": "__name__"}}, "sampler.name", "unknown sampler"),
    (
        {"sampler": {"name": "TPESampler", "n_startup_trial": 3}},
        "sampler.n_startup_trial",
        "did you mean 'n_startup_trials'?",
    ),
    ({"sampler": {"name": "TPESampler", "seed": 3}}, "sampler.seed", "top of study.toml"),
    ({"sampler": {"name": "TPESampler", "n_startup_trials": "ten"}}, "sampler", "ten"),
    ({"sampler": {"name": "TPESampler", "n_startup_trials": 2.5}}, "sampler", "2.5"),
    ({"sampler": {"name": "TPESampler", "multivariate": "yes"}}, "sampler", "yes"),
    ({"sampler": {"name": "TPESampler", "gamma": 3}}, "sampler", "gamma"),
    ({"sampler": {"name": "NSGAIISampler", "population_size": 1}}, "sampler", "population_size"),
    ({"sampler": {"name": "RandomSampler", "n_startup_trials": 1}}, "sampler.", "unknown option"),
    ({"pruner": {"name": "MedianPrunner"}}, "pruner.name", "did you mean 'MedianPruner'?"),
    ({"pruner": {"name": "MedianPruner", "warmup": 3}}, "pruner.warmup", "'n_warmup_steps'"),
    ({"pruner": {"name": "MedianPruner", "n_startup_trials": -1}}, "pruner", "negative"),
    ({"pruner": {"name": "MedianPruner", "n_startup_trials": "5"}}, "pruner", "'5'"),
    ({"pruner": {"name": "PercentilePruner"}}, "pruner", "percentile"),
    ({"pruner": {"name": "PercentilePruner", "percentile": 101.0}}, "pruner", "100"),
    ({"pruner": {"name": "ThresholdPruner"}}, "pruner", "lower"),
    ({"pruner": {"name": "PatientPruner", "patience": 3}}, "pruner", "wrapped_pruner"),
    (
        {"pruner": {"name": "PatientPruner", "patience": 3, "wrapped_pruner": "MedianPruner"}},
        "pruner.wrapped_pruner",
        "table",
    ),
    (
        {"pruner": {"name": "PatientPruner", "patience": 3, "wrapped_pruner": {"n": 1}}},
        "pruner.wrapped_pruner",
        "name",
    ),
    (
        {"pruner": {"name": "PatientPruner", "patience": 3, "wrapped_pruner": {"name": "Medan"}}},
        "pruner.",
        "unknown pruner 'Medan'",
    ),
]


@pytest.mark.parametrize(("keys", "key", "problem"), BAD)
def test_bad_component(
    job: Job, refused: Refused, keys: dict[str, Any], key: str, problem: str
) -> None:
    line = refused("check", job(**keys))
    assert f"study.toml: {key}" in line
    assert problem in line


@pytest.mark.parametrize(
    "command", ["create", pytest.param("run", marks=pytest.mark.processes), "worker"]
)
def test_a_bad_sampler_is_refused_before_the_study_is_made(
    job: Job, refused: Refused, command: str
) -> None:
    assert "unknown sampler" in refused(command, job(sampler={"name": "TPE"}))


SHIPPED: list[tuple[dict[str, Any], str, str]] = [
    ({"metric": "acuracy"}, "metric", "did you mean 'accuracy'?"),
    ({"metric": None}, "metric", "missing; known: accuracy"),
    ({"direction": "minimize"}, "direction", "maximize"),
    ({"metric": "error_rate"}, "direction", "minimize"),
    ({"data": None}, "data", "missing"),
    (
        {"objective": "image_clasification"},
        "objective",
        "did you mean 'image_classification'?",
    ),
    (
        {"objective": "image_clasification", "data": None, "metric": None},
        "objective",
        "did you mean 'image_classification'?",
    ),
    ({"search_space": {"learning_rat": 0.1}}, "search_space.learning_rat", "'learning_rate'?"),
    (
        {"search_space": {"max_turn": {"type": "float", "low": 0.0, "high": 180.0}}},
        "search_space.max_turn",
        "known: apply_tfms, balance, batch_size, channels_last, compile, do_flip, epochs",
    ),
    ({"search_space": {"epochs": 0}}, "search_space.epochs", "found 0"),
    ({"search_space": {"epochs": True}}, "search_space.epochs", "found True"),
    ({"search_space": {"pre_trained": 1}}, "search_space.pre_trained", "found 1"),
    ({"search_space": {"model": 18}}, "search_space.model", "found 18"),
    (
        {"search_space": {"epochs": {"type": "float", "low": 1.0, "high": 3.0}}},
        "search_space.epochs",
        "found",
    ),
    (
        {"search_space": {"batch_size": {"type": "int", "low": 0, "high": 64}}},
        "search_space.batch_size",
        "found 0",
    ),
    (
        {"search_space": {"learning_rate": {"type": "categorical", "choices": [0.1, "low"]}}},
        "search_space.learning_rate",
        "found 'low'",
    ),
    (
        {"search_space": {"learning_rate": {"type": "float", "low": 0.0, "high": 0.1}}},
        "search_space.learning_rate",
        "greater than 0",
    ),
    ({"enqueue": [{"learning_rat": 0.01}]}, "enqueue.0.learning_rat", "'learning_rate'?"),
    (
        {"enqueue": [{}, {"learning_rate": 2}]},
        "enqueue.1.learning_rate",
        "2 is not in the search",
    ),
    (
        {"enqueue": [{"pre_trained": True}]},
        "enqueue.0.pre_trained",
        "True is not in the search",
    ),
    (
        {"enqueue": [{"learning_rate": 0.0}]},
        "enqueue.0.learning_rate",
        "0.0 is not in the search",
    ),
    ({"enqueue": [{"learning_rate": 0.01}], "search_space": None}, "enqueue.0.learning_rate", ""),
]


@pytest.mark.parametrize(("keys", "key", "problem"), SHIPPED)
def test_bad_name_or_value_for_the_shipped_objective(
    image_job: Job, refused: Refused, keys: dict[str, Any], key: str, problem: str
) -> None:
    line = refused("check", image_job(**keys))
    assert f"study.toml: {key}: " in line
    assert problem in line


def test_the_good_job_is_not_refused(
    image_job: Job, cli: Callable[..., Any], image_folder: Path
) -> None:
    result = cli("check", image_job())
    assert result.exit_code == 0
    assert str(image_folder) in result.output


@pytest.mark.parametrize(
    ("objective", "code", "problem"),
    [
        ("nothere.py:train", "", "no such file"),
        ("objective.py:trian", "def train(trial, context): ...", "no function trian"),
        ("objective.py:train", "train = 3", "no function train"),
        ("objective.py:train", "def train(:", "SyntaxError"),
        ("objective.py:train", "import not_installed", "ModuleNotFoundError"),
        ("objective.py:train", "raise ValueError('first\\nsecond')", "first second"),
        ("study.toml:train", "", "not a Python file"),
        ("objective.py:", "", "no function"),
        (":train", "", ""),
    ],
)
def test_bad_function(job: Job, refused: Refused, objective: str, code: str, problem: str) -> None:
    line = refused("check", job(objective=objective, code=code))
    assert "study.toml: objective: " in line
    assert problem in line


def test_enqueue_outside_a_functions_search_space(job: Job, refused: Refused) -> None:
    line = refused("check", job(enqueue=[{"n": 10}]))
    assert "enqueue.0.n: 10 is not in the search space: int 0 to 9" in line


def test_before_a_quasi_random_sequence_begins_trials_differ(job: Job) -> None:
    folder = job(sampler={"name": "QMCSampler"})
    assert len({_first(folder, draw) for draw in range(5)}) == 5


def test_all_workers_go_along_one_quasi_random_sequence(job: Job) -> None:
    folder = job(sampler={"name": "QMCSampler", "scramble": True})
    study = optuna.create_study()
    for draw in range(8):
        study.sampler = samplers.make_sampler(read_spec(folder), draw)
        trial = study.ask()
        trial.suggest_float("x", 0, 1)
        study.tell(trial, 0.0)
    # of 8 scrambled Sobol points, one lies in each eighth; of 8 random ones, one in 400 times
    xs = [trial.params["x"] for trial in study.trials[1:]]
    assert len({int(8 * x) for x in xs}) == len(xs)
