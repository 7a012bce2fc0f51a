"""TPE for long studies: the same suggestions up to 10,000 finished trials, in less time.

Optuna's TPESampler reads every finished trial anew for each suggestion, in Python. Finished
trials do not change: here they are read once, and kept in arrays per study.
"""

import math
import threading
import weakref
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution
from optuna.search_space import IntersectionSearchSpace
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from hpo_job.study.optuna_private import ExtensibleTPESampler, trials_as_first_asked
from hpo_job.trial.counting import EVALUATED, counts, evaluated

# How many finished trials, apart from TPE's good ones, it uses of a longer study. For limits of
# 225 and 1,000 it was not established that the best value stays the same: see docs/storage.md.
LIMIT = 10_000
GOLDEN = (math.sqrt(5) - 1) / 2


class BoundedTPESampler(ExtensibleTPESampler):
    """Optuna's TPESampler, with its arguments, for studies of many trials.

    Up to `limit` finished trials it suggests what TPESampler suggests with the same seed. Above,
    the good trials are still taken from the whole study; of the others about `limit` are used,
    evenly spaced. Running trials are all used. The study is read once for each trial. Studies
    with several objectives are left to TPESampler.
    """

    limit = LIMIT

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        self.use_search_space(_history_of(study).search_space)
        return super().infer_relative_search_space(study, trial)

    def suggest_relative(
        self, study: optuna.Study, trial: FrozenTrial, space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """What TPESampler suggests; a test compares both for each kind of parameter and trial."""
        if len(study.directions) > 1:
            return super().suggest_relative(study, trial, space)
        states = [*EVALUATED, *([TrialState.RUNNING] if self.constant_liar else [])]
        trials = trials_as_first_asked(study, states)
        sign = -1.0 if study.direction == StudyDirection.MAXIMIZE else 1.0
        finished = _history_of(study).learn(trials, sign)
        running = [
            self._observed(t, space, study)
            for t in trials
            if t.state == TrialState.RUNNING and t.number != trial.number
        ]
        n = len(finished.numbers)
        n_good = self.good_count(n, default=min(math.ceil(0.1 * n), 25))
        good, bad = finished.split(n_good, self.limit, space)
        bad = np.concatenate([bad, *running])
        bad = bad[np.argsort(bad[:, 0], kind="stable")]
        below, above = (
            self.estimate({name: rows[:, 1 + i] for i, name in enumerate(space)}, space)
            for rows in (good, bad)
        )
        best = self.best_candidate(below, above)
        return {name: d.to_external_repr(best[name]) for name, d in space.items()}

    def _observed(
        self, trial: FrozenTrial, space: dict[str, BaseDistribution], study: optuna.Study
    ) -> NDArray[np.float64]:
        """A row of number and parameters, or no row if the trial lacks one of them."""
        values = self.internal_values(trial, space, study)
        return np.array([[trial.number, *row] for row in values]).reshape(-1, 1 + len(space))


class _Finished(NamedTuple):
    """The finished trials of a study, a row each, by number."""

    numbers: NDArray[np.float64]
    ranks: NDArray[np.float64]
    params: dict[str, NDArray[np.float64]]

    def split(
        self, n_good: int, limit: int, names: Iterable[str]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Rows of number and parameters, as TPE splits them: the good ones, and the others.

        Of more than `limit` others those are used whose place, times the golden ratio, modulo 1,
        is below the share that is wanted. They are spaced evenly and follow no rhythm of the
        study, and one that was left out is not used again later.
        """
        n = len(self.numbers)
        good = np.zeros(n, bool)
        good[np.lexsort(self.ranks.T[::-1])[:n_good]] = True
        used = np.arange(n) * GOLDEN % 1 * (n - n_good) < limit
        missing = np.full(n, np.nan)
        rows = np.stack([self.numbers, *(self.params.get(name, missing) for name in names)], 1)
        whole = ~np.isnan(rows).any(axis=1)
        return rows[good & whole], rows[~good & used & whole]


class _History:
    """What a process knows of a study's finished trials."""

    def __init__(self) -> None:
        self.search_space = IntersectionSearchSpace(include_pruned=True)
        self._lock = threading.Lock()
        self._numbers: set[int] = set()
        self._finished = _Finished(np.empty(0), np.empty((0, 3)), {})

    def learn(self, trials: Iterable[FrozenTrial], sign: float) -> _Finished:
        """Take in the finished ones among some trials, and return all that are known."""
        with self._lock:
            new = [t for t in trials if t.number not in self._numbers and evaluated(t)]
            if new:
                self._finished = self._with(new, sign)
                self._numbers |= {t.number for t in new}
            return self._finished

    def _with(self, new: list[FrozenTrial], sign: float) -> _Finished:
        old = self._finished
        numbers = np.append(old.numbers, [t.number for t in new])
        ranks = np.append(old.ranks, [_rank(t, sign) for t in new], axis=0)
        params = {}
        for name in sorted(old.params.keys() | {name for t in new for name in t.params}):
            column = old.params.get(name, np.full(len(old.numbers), np.nan))
            params[name] = np.append(column, [_internal(t, name) for t in new])
        order = np.argsort(numbers, kind="stable")
        return _Finished(
            numbers[order], ranks[order], {name: c[order] for name, c in params.items()}
        )


_histories: "weakref.WeakKeyDictionary[optuna.Study, _History]" = weakref.WeakKeyDictionary()


def _history_of(study: optuna.Study) -> _History:
    return _histories.setdefault(study, _History())


def _internal(trial: FrozenTrial, name: str) -> float:
    if name not in trial.params:
        return math.nan
    return trial.distributions[name].to_internal_repr(trial.params[name])


def _rank(trial: FrozenTrial, sign: float) -> tuple[int, float, float]:
    """TPE's order: complete trials by value, pruned ones by last report, infeasible ones."""
    violation = sum(value for value in trial.constraints.values() if value > 0)
    if violation > 0:
        return 2, violation, 0.0
    if counts(trial):
        return 0, sign * trial.values[0], 0.0
    if not trial.intermediate_values:
        return 1, 1.0, 0.0
    step, value = max(trial.intermediate_values.items())
    return 1, -step, math.inf if math.isnan(value) else sign * value
