"""The bounded TPE sampler suggests what Optuna's does, and looks at a bounded history beyond."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.samplers import TPESampler
from optuna.samplers._tpe import sampler as tpe
from optuna.trial import TrialState, create_trial

from hpo_job.study import bounded_tpe as history
from hpo_job.study.bounded_tpe import BoundedTPESampler

optuna.logging.set_verbosity(optuna.logging.ERROR)
pytestmark = [
    pytest.mark.studies,
    pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning"),
]


def mixed(trial: optuna.Trial) -> float:
    """Every kind of parameter and of end: complete, pruned, infeasible, failed."""
    x = trial.suggest_float("x", -5, 5)
    rate = trial.suggest_float("rate", 1e-4, 1, log=True)
    size = trial.suggest_int("size", 1, 20)
    quarter = trial.suggest_float("quarter", 0, 1, step=0.25)
    if trial.suggest_categorical("kind", ["a", "b", None]) == "a":
        x += trial.suggest_float("only_a", 0, 1)
    value = x * x + rate + size / 10 + quarter
    for step in range(trial.number % 3 if trial.number % 5 == 1 else 3):
        trial.report(float("nan") if trial.number == 31 else value + step, step)
    if trial.number % 5 == 1:
        raise optuna.TrialPruned
    if trial.number % 7 == 0:
        trial.set_constraint("k", trial.number % 2 - 0.5)
    if trial.number % 11 == 0:
        raise RuntimeError
    return value


def plain(trial: optuna.Trial) -> float:
    return sum(trial.suggest_float(f"x{i}", -5, 5) ** 2 for i in range(3))


def run(
    make: Callable[[int], TPESampler],
    objective: Callable[[optuna.Trial], float] = mixed,
    n_trials: int = 45,
    at_once: int = 3,
    **options: Any,
) -> list[dict[str, Any]]:
    """The suggestions of a study whose trials overlap, with a new sampler for each of them."""
    study = optuna.create_study(**options)
    asked: list[tuple[optuna.Trial, float | None, TrialState | None]] = []
    for i in range(n_trials):
        study.sampler = make(i)
        trial = study.ask()
        try:
            asked.append((trial, objective(trial), None))
        except optuna.TrialPruned:
            asked.append((trial, None, TrialState.PRUNED))
        except RuntimeError:
            asked.append((trial, None, TrialState.FAIL))
        if len(asked) >= at_once:
            trial, value, state = asked.pop(random.Random(i).randrange(len(asked)))
            study.tell(trial, value, state)
    return [trial.params for trial in study.trials]


@pytest.mark.parametrize(
    "sampler",
    [
        {},
        {"constant_liar": False},
        {"multivariate": False, "n_startup_trials": 3},
        {"group": True},
    ],
)
@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_suggestions_are_those_of_optunas_sampler(sampler: dict[str, Any], direction: str) -> None:
    assert run(lambda i: BoundedTPESampler(seed=i, **sampler), direction=direction) == run(
        lambda i: TPESampler(seed=i, **sampler), direction=direction
    )


def test_suggestions_are_optunas_where_hyperband_shows_the_sampler_a_part_of_the_study() -> None:
    def suggestions(kind: type[TPESampler]) -> list[dict[str, Any]]:
        pruner = optuna.pruners.HyperbandPruner(max_resource=9)
        return run(lambda i: kind(seed=i), n_trials=60, pruner=pruner)

    assert suggestions(BoundedTPESampler) == suggestions(TPESampler)


def test_suggestions_are_the_same_on_any_storage(tmp_path: Path) -> None:
    def ours(**options: Any) -> list[dict[str, Any]]:
        return run(lambda i: BoundedTPESampler(seed=i), n_trials=25, **options)

    assert ours(storage=f"sqlite:///{tmp_path}/study.db") == ours()


def test_suggestions_for_many_continuous_parameters_are_those_of_optunas_sampler() -> None:
    options: dict[str, Any] = {"objective": plain, "n_trials": 200, "at_once": 1}
    assert run(lambda i: BoundedTPESampler(seed=i), **options) == run(
        lambda i: TPESampler(seed=i), **options
    )


def test_several_objectives_are_left_to_optunas_sampler() -> None:
    def best(kind: type[TPESampler]) -> list[dict[str, Any]]:
        study = optuna.create_study(directions=["minimize"] * 2, sampler=kind(seed=1))
        study.optimize(lambda t: (plain(t), t.suggest_float("y", 0, 1)), n_trials=15)
        return [t.params for t in study.trials]

    assert best(BoundedTPESampler) == best(TPESampler)


def long_study(n_trials: int) -> optuna.Study:
    drawn = random.Random(0)
    space: dict[str, BaseDistribution] = {"x": FloatDistribution(0, 1)}
    study = optuna.create_study()
    for i in range(n_trials):
        pruned: dict[str, Any] = {
            "state": TrialState.PRUNED,
            "intermediate_values": {i % 4: drawn.random()},
        }
        complete: dict[str, Any] = {"value": float(drawn.randrange(100))}
        study.add_trial(
            create_trial(
                params={"x": drawn.random()},
                distributions=space,
                system_attrs={"constraints": [drawn.random() - 0.9]} if i % 3 else {},
                **(pruned if i % 5 else complete),
            )
        )
    return study


@pytest.mark.parametrize("limit", [200, 1000])
def test_the_good_side_is_optunas_and_the_other_is_bounded(limit: int) -> None:
    study = long_study(600)
    trials = study.get_trials(deepcopy=False)
    good, bad = history._history_of(study).learn(trials, 1.0).split(25, limit, ["x"])
    below, above = tpe._split_trials(study, trials, 25)
    assert good[:, 0].tolist() == [t.number for t in below]
    assert good[:, 1].tolist() == [t.params["x"] for t in below]
    if limit >= len(above):
        assert bad[:, 0].tolist() == [t.number for t in above]
    else:
        assert abs(len(bad) - limit) <= 12
        gaps = np.diff([-1, *(n for n in bad[:, 0] if n not in good[:, 0]), 600])
        assert gaps.max() <= 12


def test_what_was_left_out_stays_out() -> None:
    def values_seen(n_trials: int) -> set[float]:
        study = long_study(n_trials)
        finished = history._history_of(study).learn(study.get_trials(deepcopy=False), 1.0)
        good, bad = finished.split(25, 200, ["x"])
        return {*good[:, 0], *bad[:, 0]}

    first, later = values_seen(500), values_seen(600)
    assert len({n for n in later - first if n < 500}) <= 3  # those that left the good side


def test_a_study_of_any_length_gets_suggestions_and_finished_trials_are_read_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    study = long_study(300)
    reads = 0
    rank = history._rank

    def counted(*arguments: Any) -> Any:
        nonlocal reads
        reads += 1
        return rank(*arguments)

    monkeypatch.setattr(history, "_rank", counted)
    monkeypatch.setattr(BoundedTPESampler, "limit", 50)
    for seed in range(4):
        study.sampler = BoundedTPESampler(seed=seed)
        trial = study.ask()
        assert 0 <= trial.suggest_float("x", 0, 1) <= 1
        study.tell(trial, 1.0)
    assert reads == 303
