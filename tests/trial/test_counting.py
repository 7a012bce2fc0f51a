"""Which trials count as results, and which use up the budget: each state, constraint and value."""

from __future__ import annotations

import math
import warnings
from typing import Any

import optuna
import pytest
from optuna.exceptions import ExperimentalWarning
from optuna.trial import FrozenTrial, TrialState, create_trial

from hpo_job.trial.counting import counted, counts, evaluated, keeps_constraints


def trial(**contents: Any) -> FrozenTrial:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return create_trial(**contents)


def test_a_complete_trial_with_a_value_counts() -> None:
    assert counts(trial(value=0.5))
    assert counts(trial(values=[0.5, 2.0]))
    assert counts(trial(value=math.inf)), "infinite is a value, if a poor one"


@pytest.mark.parametrize("state", [s for s in TrialState if s != TrialState.COMPLETE])
def test_no_other_state_counts_whatever_it_reported(state: TrialState) -> None:
    assert not counts(trial(state=state, intermediate_values={0: 0.5}))


@pytest.mark.parametrize("constraints", [{"size": 0.1}, {"size": -1.0, "time": 2.0}])
def test_an_infeasible_trial_does_not_count(constraints: dict[str, float]) -> None:
    infeasible = trial(value=0.5, constraints=constraints)
    assert not keeps_constraints(infeasible)
    assert not counts(infeasible)
    assert evaluated(infeasible), "it cost as much as any other, so it uses up the budget"


def test_constraints_as_samplers_stored_them_before_optuna_5_are_read_too() -> None:
    assert not counts(trial(value=0.5, system_attrs={"constraints": [-1.0, 0.5]}))
    assert counts(trial(value=0.5, system_attrs={"constraints": [-1.0, 0.0]}))


def test_a_constraint_that_is_nan_is_not_kept() -> None:
    assert not counts(trial(value=0.5, system_attrs={"constraints": [math.nan]}))


def test_a_value_that_is_nan_or_missing_does_not_count() -> None:
    unmeasured = trial(value=0.5)
    unmeasured.values = [math.nan]
    assert not counts(unmeasured)
    unmeasured.values = None
    assert not counts(unmeasured)


def test_of_a_study_and_of_trials_the_same_ones_are_counted() -> None:
    study = optuna.create_study()
    study.add_trials(
        [
            trial(value=0.5),
            trial(value=0.1, constraints={"size": 1.0}),
            trial(state=TrialState.PRUNED, intermediate_values={0: 0.0}),
            trial(state=TrialState.FAIL),
            trial(value=0.7),
        ]
    )
    assert [each.number for each in counted(study)] == [0, 4]
    assert counted(study.trials) == counted(study)
    assert [each.number for each in study.trials if evaluated(each)] == [0, 1, 2, 4]
