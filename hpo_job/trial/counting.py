"""Which trials count: one rule for results, another for the budget, each asked here only.

A result is a trial that `counts`: "best", a Pareto front, an importance or a kept model is taken
from these and no others. The budget is used up by trials that were `evaluated`, whether their
result counts or not: a pruned or an infeasible trial cost as much as any other.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import optuna
from optuna.trial import FrozenTrial, TrialState

from hpo_job.trial import attributes

# The states of trials that use up the budget; FAIL does not
EVALUATED = (TrialState.COMPLETE, TrialState.PRUNED)


def counts(trial: FrozenTrial) -> bool:
    """Whether ``trial`` is a result: COMPLETE, feasible, and with a value for each objective.

    A value may be infinite, as Optuna allows; NaN and a missing one are no values.
    """
    return (
        trial.state == TrialState.COMPLETE
        and keeps_constraints(trial)
        and bool(trial.values)
        and not any(map(math.isnan, trial.values))
    )


def counted(trials: optuna.Study | Iterable[FrozenTrial]) -> list[FrozenTrial]:
    """The trials that count, in the order of their numbers; not copied, so not to be changed.

    Args:
        trials: a study, or trials that were read already, whose order is kept.
    """
    if isinstance(trials, optuna.Study):
        trials = trials.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return [trial for trial in trials if counts(trial)]


def keeps_constraints(trial: FrozenTrial) -> bool:
    """Whether ``trial`` is feasible: each of its constraints is 0 or less, or it has none.

    A constraint is what Optuna's ``Trial.set_constraint`` or a sampler's ``constraints_func``
    stored; one that is NaN is not kept.
    """
    return all(value <= 0 for value in trial.constraints.values())


def infeasible(trial: FrozenTrial) -> bool:
    """Whether ``trial`` ended COMPLETE, but breaks a constraint, so that it does not count."""
    return trial.state == TrialState.COMPLETE and not keeps_constraints(trial)


def evaluated(trial: FrozenTrial) -> bool:
    """Whether ``trial`` used up a place in the budget: it ended COMPLETE or PRUNED."""
    return trial.state in EVALUATED


def takes_place(trial: FrozenTrial) -> bool:
    """Whether ``trial`` is counted in the budget, which counts parameter sets.

    That is each trial that was evaluated, except for those that go on with parameters which a
    PromotionPruner had paused: these were counted when they first stopped.
    """
    return evaluated(trial) and not is_promotion(trial)


def is_promotion(trial: FrozenTrial) -> bool:
    """Whether ``trial`` goes on with parameters that were paused at a rung."""
    return bool(trial.user_attrs.get(attributes.RUNG))
