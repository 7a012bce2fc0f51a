"""Which parameters mattered, by Optuna's evaluators, and whether there are enough trials to say."""

from __future__ import annotations

import random
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import optuna
import pandas as pd
from optuna.importance import (
    BaseImportanceEvaluator,
    FanovaImportanceEvaluator,
    MeanDecreaseImpurityImportanceEvaluator,
    PedAnovaImportanceEvaluator,
    get_param_importances,
)
from optuna.trial import FrozenTrial

from hpo_job.errors import QueryError, plural, unknown
from hpo_job.results.trials import finite, metric_names, trials_of, value
from hpo_job.spec.choices import IMPORTANCE_METHODS
from hpo_job.trial.counting import infeasible

# Importances are unreliable with fewer COMPLETE trials than FEW, or than EACH per parameter
FEW = 20
EACH = 5
RARE = 10  # a conditional parameter is assessed if at least so many trials have it
# fANOVA takes time with the square of the trials: 10 s for these, minutes for 2,000
FANOVA_TRIALS = 500
SEED = 0  # of the methods that grow random forests, so that the same trials give the same answer


@dataclass(frozen=True)
class Importance:
    """What one method computed.

    Args:
        method: one of `METHODS`.
        metric: the name of the objective.
        shares: by parameter, the most important first; they add up to 1. Empty if no importance
            can be computed.
        trials: the number of COMPLETE trials it was computed on.
        conditional: parameters that only some of these trials have, with the number of trials.
        notes: what to keep in mind, a sentence each.
    """

    method: str
    metric: str
    shares: dict[str, float]
    trials: int
    conditional: dict[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def importance(
    study: optuna.Study, method: str = IMPORTANCE_METHODS[0], objective: int = 0
) -> Importance:
    """The importance of each parameter that varied, for one objective.

    Conditional parameters, which only some trials have, are assessed by PED-ANOVA alone; the
    other methods leave them out, and the notes name them. fANOVA looks at `FANOVA_TRIALS` at most.

    Raises:
        QueryError: the method is unknown.
    """
    if method not in IMPORTANCE_METHODS:
        raise QueryError(f"--method: {unknown('method', method, IMPORTANCE_METHODS)}")
    metric, forest = metric_names(study)[objective], method != IMPORTANCE_METHODS[0]
    all_trials = finite(study, objective)
    trials = _some_of(all_trials, FANOVA_TRIALS) if method == "fanova" else all_trials
    counts = _counts(trials)
    conditional = {name: count for name, count in counts.items() if count < len(trials)}
    rare = {name for name, count in conditional.items() if count < RARE}
    names = [
        name
        for name in counts
        if _varied(trials, name) and (name not in conditional or not (forest or name in rare))
    ]
    shares, problem = _evaluated(study, trials, names, method, objective)
    notes = [problem] if problem else [*_few(len(trials), len(names))]
    if len(trials) < len(all_trials):
        notes.append(f"computed on {len(trials)} of {len(all_trials)} trials, drawn at random")
    left_out = {name: n for name, n in conditional.items() if forest or name in rare}
    assessed = {name: n for name, n in conditional.items() if name not in left_out}
    if assessed:
        notes.append(f"{_some(assessed, trials)}: assessed on those alone")
    if left_out:
        why = "left out, ped-anova assesses it" if forest else "too few to say, so left out"
        notes.append(f"{_some(left_out, trials)}: {why}")
    return Importance(method, metric, shares, len(trials), conditional, tuple(notes))


def importances(
    studies: Sequence[optuna.Study], method: str = IMPORTANCE_METHODS[0], objective: int = 0
) -> pd.DataFrame:
    """Importances side by side: a row for each parameter, a column for each study."""
    table = pd.DataFrame(
        {
            study.study_name: pd.Series(importance(study, method, objective).shares, dtype=float)
            for study in studies
        }
    )
    table.index.name = "parameter"
    return table.loc[table.max(axis=1).sort_values(ascending=False, kind="stable").index]


def evaluator(method: str) -> BaseImportanceEvaluator:
    """Optuna's evaluator of a method."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some are "experimental"
        if method == "fanova":
            return FanovaImportanceEvaluator(seed=SEED)
        if method == "mean-decrease-impurity":
            return MeanDecreaseImpurityImportanceEvaluator(seed=SEED)
        return PedAnovaImportanceEvaluator()


def _some_of(trials: list[FrozenTrial], count: int) -> list[FrozenTrial]:
    """At most ``count`` of these, in their order; of the same trials always the same."""
    if len(trials) <= count:
        return trials
    chosen = sorted(random.Random(SEED).sample(range(len(trials)), count))
    return [trials[position] for position in chosen]


def _counts(trials: list[FrozenTrial]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for trial in trials:
        for name in trial.params:
            counts[name] = counts.get(name, 0) + 1
    return counts


def _varied(trials: list[FrozenTrial], name: str) -> bool:
    """Whether the trials have more than one value of a parameter."""
    first: Any = None
    known = False
    for trial in trials:
        if name in trial.params:
            if known and trial.params[name] != first:
                return True
            first, known = trial.params[name], True
    return False


def _evaluated(
    study: optuna.Study, trials: list[FrozenTrial], names: list[str], method: str, objective: int
) -> tuple[dict[str, float], str | None]:
    """The shares, and why there are none."""
    if len(trials) < 2:
        return {}, f"{plural(len(trials), 'COMPLETE trial')}: nothing to compare"
    if not names:
        return {}, "no parameter varied"
    if len({value(trial, objective) for trial in trials}) == 1:
        return {}, "all trials have the same value"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            shares = get_param_importances(
                _only(study, trials, objective),
                evaluator=evaluator(method),
                # Optuna 5.0 gives a forest's shares to the wrong names in any other order
                params=sorted(names),
                target=lambda trial: value(trial, objective),
            )
    except (ValueError, RuntimeError) as error:  # a distribution that changed, say
        return {}, f"{method} cannot say: {' '.join(str(error).split())}"
    ranked = sorted(shares.items(), key=lambda item: -item[1])
    return {name: float(share) for name, share in ranked}, None


def _only(study: optuna.Study, trials: list[FrozenTrial], objective: int) -> optuna.Study:
    """A study of these trials alone: Optuna's evaluators take every COMPLETE trial of a study."""
    if len(trials) == len(finite(study, objective)) and not any(map(infeasible, trials_of(study))):
        return study
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # a new study is logged
    try:
        copy = optuna.create_study(directions=study.directions)
    finally:
        optuna.logging.set_verbosity(verbosity)
    copy.add_trials(trials)
    return copy


def _some(counts: dict[str, int], trials: list[FrozenTrial]) -> str:
    named = ", ".join(f"{name} ({count})" for name, count in counts.items())
    return f"only some of the {len(trials)} trials have {named}"


def _few(trials: int, names: int) -> tuple[str, ...]:
    needed = max(FEW, EACH * names)
    if trials >= needed:
        return ()
    return (
        f"unreliable: {plural(trials, 'COMPLETE trial is', 'COMPLETE trials are')} few for "
        f"{plural(names, 'parameter')}; run {needed - trials} more",
    )
