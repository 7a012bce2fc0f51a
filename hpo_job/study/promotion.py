"""Asynchronous successive halving that pauses trials, and promotes the best of each rung.

Optuna's SuccessiveHalvingPruner decides once, when a trial reaches a rung, by what others had
reached until then; so the first trials always pass, and one that was stopped is gone. Here every
trial stops at every rung, with its state saved, and the best 1/reduction_factor of a rung go on, as
soon as they are (Li et al., A System for Massively Parallel Hyperparameter Tuning, 2020).

There is no controller: a free worker looks, within the study's lock, for a trial to promote, and
asks for new parameters where there is none. A promotion is another attempt at the same parameters:
it names the paused trial as its ``retry_of``, and carries its next rung as `attributes.RUNG`.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence

import optuna
from optuna.pruners import BasePruner
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from hpo_job.trial import attributes
from hpo_job.trial.counting import counts
from hpo_job.trial.phases import measured_value

NAME = "PromotionPruner"


class PromotionPruner(BasePruner):
    """Stops each trial at its next rung.

    Rung r of bracket b is after ``min_resource * reduction_factor ** (b + r)`` reports.

    Args:
        min_resource: reports until the first rung.
        reduction_factor: one of so many trials of a rung is promoted to the next.
        brackets: trials take turns in so many brackets. Those of bracket 0 stop first after
            ``min_resource`` reports, those of each further bracket ``reduction_factor`` times
            later; each bracket has its own rungs, as in Hyperband.
    """

    def __init__(self, min_resource: int = 1, reduction_factor: int = 3, brackets: int = 1) -> None:
        least = {"min_resource": 1, "reduction_factor": 2, "brackets": 1}
        for name, value in zip(least, (min_resource, reduction_factor, brackets), strict=True):
            if value < least[name]:
                raise ValueError(f"{name} should be at least {least[name]}, found {value}")
        self.min_resource, self.reduction_factor = min_resource, reduction_factor
        self.brackets = brackets

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Whether ``trial`` has reached its rung, so that it should pause."""
        if measured_value(trial) is None:  # a phase with another metric: nothing to rank it by
            return False
        step = trial.last_step
        return step is not None and step + 1 >= self.resource(*place(trial))

    def resource(self, bracket: int, rung: int) -> int:
        """After how many reports a rung is reached."""
        return self.min_resource * int(self.reduction_factor ** (bracket + rung))

    def next(
        self, study: optuna.Study, trials: Sequence[FrozenTrial], *, last: bool = False
    ) -> FrozenTrial | None:
        """The paused trial to promote next: of the highest rung that has one, the best.

        Args:
            study: says which way is better.
            trials: all of the study.
            last: whether nothing else will be tried. Then, if no trial has reached its end yet,
                the best of the highest rung goes on, so that the study has a result.
        """
        continued = {trial.user_attrs.get(attributes.RETRY_OF) for trial in trials}
        rungs: dict[tuple[int, int], list[FrozenTrial]] = defaultdict(list)
        for trial in trials:
            if is_paused(trial):
                bracket, rung = place(trial)
                rungs[rung, -bracket].append(trial)
        sign = -1 if study.directions[0] == StudyDirection.MAXIMIZE else 1
        for _, reached in sorted(rungs.items(), reverse=True):
            reached.sort(key=lambda trial: (_rank(trial, sign), trial.number))
            for trial in reached[: len(reached) // self.reduction_factor]:
                if trial.number not in continued:
                    return trial
        if not last or not rungs or any(map(counts, trials)):
            return None
        best = rungs[max(rungs)][0]
        return None if best.number in continued else best


def stored_pruner(pruner: object) -> PromotionPruner | None:
    """The PromotionPruner of a stored spec; None if it names another one.

    Args:
        pruner: the entry of that key.
    """
    if not isinstance(pruner, Mapping) or pruner.get("name") != NAME:
        return None
    return PromotionPruner(**{name: each for name, each in pruner.items() if name != "name"})


def place(trial: FrozenTrial) -> tuple[int, int]:
    """The bracket of a trial, and the rung that it is to reach."""
    attrs = trial.user_attrs
    return int(attrs.get(attributes.BRACKET) or 0), int(attrs.get(attributes.RUNG) or 0)


def is_paused(trial: FrozenTrial) -> bool:
    """Whether ``trial`` has stopped at a rung; it may have been promoted since."""
    paused = trial.user_attrs.get(attributes.PAUSED_AT) is not None
    return trial.state == TrialState.PRUNED and paused


def superseded(trials: Sequence[FrozenTrial]) -> set[int]:
    """The numbers of paused trials whose parameters another trial has gone on with."""
    continued = {trial.user_attrs.get(attributes.RETRY_OF) for trial in trials}
    return {t.number for t in trials if is_paused(t) and t.number in continued}


def _rank(trial: FrozenTrial, sign: int) -> float:
    value = measured_value(trial)
    return math.inf if value is None or math.isnan(value) else sign * value
