"""TPE for long studies: the same suggestions up to 10,000 finished trials, in less time.

Optuna's TPESampler looks at every finished trial anew for each suggestion, in Python. Finished
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
from optuna.samplers import TPESampler
from optuna.search_space import IntersectionSearchSpace
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

# Finished trials beside TPE's good side that are shown of a longer study. Limits of 225 and
# 1,000 were not shown to leave the best value as it is: see docs/storage.md.
LIMIT = 10_000
GOLDEN = (math.sqrt(5) - 1) / 2
FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)


class BoundedTPESampler(TPESampler):
    """Optuna's TPESampler, with its arguments, for studies of many trials.

    Up to `limit` finished trials it suggests what TPESampler suggests with the same seed.
    Above, its good side is still taken from the whole history; of the others about `limit`
    are shown, evenly spaced. Running trials are all shown. The study is read once for each
    trial. Studies with several objectives are left to TPESampler.
    """

    limit = LIMIT

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        self._search_space = _history_of(study).search_space
        return super().infer_relative_search_space(study, trial)

    # What follows stands for private methods of TPESampler and uses their private names: a
    # test compares the suggestions of both, for every kind of parameter and trial.

    def _sample(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        if len(study.directions) > 1:
            return super()._sample(study, trial, search_space)
        states = [TrialState.COMPLETE, TrialState.PRUNED]
        if self._constant_liar:
            states.append(TrialState.RUNNING)
        # As they were when this trial first asked: one read of the study for each trial.
        trials = study._get_trials(deepcopy=False, states=states, use_cache=True)
        sign = -1.0 if study.direction == StudyDirection.MAXIMIZE else 1.0
        finished = _history_of(study).learn(trials, sign)
        running = [
            self._observed(t, search_space, study)
            for t in trials
            if t.state == TrialState.RUNNING and t.number != trial.number
        ]
        n = len(finished.numbers)
        n_good = self._gamma(n) if self._gamma else min(math.ceil(0.1 * n), 25)
        good, bad = finished.split(n_good, self.limit, search_space)
        bad = np.concatenate([bad, *running])
        bad = bad[np.argsort(bad[:, 0], kind="stable")]
        below, above = (
            self._parzen_estimator_cls(
                {name: rows[:, 1 + i] for i, name in enumerate(search_space)},
                search_space,
                self._parzen_estimator_parameters,
            )
            for rows in (good, bad)
        )
        candidates = below.sample(self._rng.rng, self._n_ei_candidates)
        gains = self._compute_acquisition_func(candidates, below, above)
        chosen = self._compare(candidates, gains)
        return {name: d.to_external_repr(chosen[name]) for name, d in search_space.items()}

    def _observed(
        self, trial: FrozenTrial, search_space: dict[str, BaseDistribution], study: optuna.Study
    ) -> NDArray[np.float64]:
        """A row of number and parameters, or no row where the trial lacks one of them."""
        found = self._get_internal_repr([trial], search_space, study)
        return np.array(
            [[trial.number, *row] for row in zip(*found.values(), strict=True)]
        ).reshape(-1, 1 + len(search_space))


class _Finished(NamedTuple):
    """The finished trials of a study, a row each, by number."""

    numbers: NDArray[np.float64]
    ranks: NDArray[np.float64]
    params: dict[str, NDArray[np.float64]]

    def split(
        self, n_good: int, limit: int, names: Iterable[str]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Rows of number and parameters, as TPE splits them: the good ones, and the others.

        Of more than `limit` others those are shown whose place, times the golden ratio,
        modulo 1, is below the share that is wanted. They are spaced evenly, in step with
        nothing in the study, and one that was left out is not shown again later.
        """
        n = len(self.numbers)
        good = np.zeros(n, bool)
        good[np.lexsort(self.ranks.T[::-1])[:n_good]] = True
        shown = np.arange(n) * GOLDEN % 1 * (n - n_good) < limit
        missing = np.full(n, np.nan)
        rows = np.stack([self.numbers, *(self.params.get(name, missing) for name in names)], 1)
        whole = ~np.isnan(rows).any(axis=1)
        return rows[good & whole], rows[~good & shown & whole]


class _History:
    """What a process knows of a study's finished trials."""

    def __init__(self) -> None:
        self.search_space = IntersectionSearchSpace(include_pruned=True)
        self._lock = threading.Lock()
        self._seen: set[int] = set()
        self._finished = _Finished(np.empty(0), np.empty((0, 3)), {})

    def learn(self, trials: Iterable[FrozenTrial], sign: float) -> _Finished:
        """Take in the finished ones among some trials; all that is known."""
        with self._lock:
            new = [t for t in trials if t.number not in self._seen and t.state in FINISHED]
            if new:
                self._finished = self._with(new, sign)
                self._seen |= {t.number for t in new}
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
    if trial.state == TrialState.COMPLETE:
        return 0, sign * (trial.value or 0.0), 0.0
    if not trial.intermediate_values:
        return 1, 1.0, 0.0
    step, value = max(trial.intermediate_values.items())
    return 1, -step, math.inf if math.isnan(value) else sign * value
