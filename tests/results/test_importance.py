"""How many trials an importance is computed on."""

from __future__ import annotations

import random

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import create_trial

from hpo_job.results import importance as importances
from hpo_job.results.importance import importance


@pytest.fixture
def study() -> optuna.Study:
    """A study of 60 trials, in which ``a`` decides; one has no finite value."""
    study, drawn = optuna.create_study(), random.Random(0)
    space = {"a": FloatDistribution(0, 1), "b": FloatDistribution(0, 1)}
    for number in range(60):
        params = {name: drawn.random() for name in space}
        value = float("inf") if number == 7 else params["a"]
        study.add_trial(create_trial(params=params, distributions=dict(space), value=value))
    return study


def test_fanova_looks_at_some_trials_of_a_large_study(
    study: optuna.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its time grows with their square; the same ones are drawn each time."""
    monkeypatch.setattr(importances, "FANOVA_TRIALS", 40)
    assessed = importance(study, "fanova")
    assert assessed.trials == 40
    assert assessed.notes == ("computed on 40 of 59 trials, drawn at random",)
    assert list(assessed.shares) == ["a", "b"]
    assert importance(study, "fanova") == assessed


@pytest.mark.parametrize("method", ["ped-anova", "fanova", "mean-decrease-impurity"])
def test_all_finite_trials_are_looked_at_where_there_are_few(
    study: optuna.Study, method: str
) -> None:
    assessed = importance(study, method)
    assert (assessed.trials, assessed.notes) == (59, ())
    assert list(assessed.shares) == ["a", "b"]
