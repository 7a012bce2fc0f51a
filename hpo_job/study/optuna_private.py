"""Every name that Optuna does not publish and this package needs; a test pins each of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution
from optuna.samplers import TPESampler
from optuna.samplers._tpe.parzen_estimator import _ParzenEstimator as ParzenEstimator
from optuna.search_space import IntersectionSearchSpace
from optuna.trial import FrozenTrial, TrialState

Space = dict[str, BaseDistribution]

# The private methods that are called or overridden, with their parameters but ``self``
METHODS: dict[type, dict[str, tuple[str, ...]]] = {
    TPESampler: {
        "_sample": ("study", "trial", "search_space"),
        "_get_internal_repr": ("trials", "search_space", "study"),
        "_compute_acquisition_func": ("samples", "mpe_below", "mpe_above"),
        "_compare": ("samples", "acquisition_func_vals"),
    },
    optuna.Study: {"_get_trials": ("deepcopy", "states", "use_cache")},
}
# The private attributes of a TPESampler that are read or set
ATTRIBUTES = (
    "_constant_liar",
    "_gamma",
    "_n_ei_candidates",
    "_parzen_estimator_cls",
    "_parzen_estimator_parameters",
    "_rng",
    "_search_space",
)
# The system attribute that holds the parameters a trial was enqueued with
FIXED_PARAMS = "fixed_params"
# How the system attributes of a trial begin that describe its artifacts
ARTIFACTS_PREFIX = "artifacts:"


def fixed_params(trial: FrozenTrial) -> dict[str, object]:
    """The parameters that a trial was enqueued with; none for one that was not."""
    return dict(trial.system_attrs.get(FIXED_PARAMS, {}))


def running_trial(study: optuna.Study, trial_id: int) -> optuna.Trial:
    """The trial with this id, which has been started: `Study.ask` takes the first that waits."""
    return optuna.Trial(study, trial_id)


class ExtensibleTPESampler(TPESampler):
    """Optuna's TPESampler, whose parts have public names for a subclass.

    A subclass overrides `suggest_relative`, which is `TPESampler`'s own here.
    """

    def suggest_relative(
        self, study: optuna.Study, trial: FrozenTrial, space: Space
    ) -> dict[str, Any]:
        """Suggest the parameters of ``space`` for ``trial``."""
        suggested: dict[str, Any] = super()._sample(study, trial, space)
        return suggested

    def _sample(self, study: optuna.Study, trial: FrozenTrial, search_space: Space) -> Any:
        return self.suggest_relative(study, trial, search_space)

    @property
    def constant_liar(self) -> bool:
        """Whether running trials are taken into account, as bad ones."""
        return bool(self._constant_liar)

    def use_search_space(self, intersection: IntersectionSearchSpace) -> None:
        """Share what is known of a study's search space, instead of reading all trials anew."""
        self._search_space = intersection

    def good_count(self, finished: int, default: int) -> int:
        """How many of so many finished trials are good; ``default`` without a user's gamma."""
        return int(self._gamma(finished)) if self._gamma else default

    def internal_values(
        self, trial: FrozenTrial, space: Space, study: optuna.Study
    ) -> list[tuple[float, ...]]:
        """A trial's parameters as Optuna's numbers; no row if it lacks one of ``space``."""
        values = self._get_internal_repr([trial], space, study)
        return list(zip(*values.values(), strict=True))

    def estimate(self, columns: dict[str, NDArray[np.float64]], space: Space) -> ParzenEstimator:
        """The density of points, given as a column of internal values for each parameter."""
        return self._parzen_estimator_cls(columns, space, self._parzen_estimator_parameters)

    def best_candidate(self, below: ParzenEstimator, above: ParzenEstimator) -> dict[str, Any]:
        """Of points drawn from ``below``, the one most likely to be good, as internal values."""
        candidates = below.sample(self._rng.rng, self._n_ei_candidates)
        gains = self._compute_acquisition_func(candidates, below, above)
        best: dict[str, Any] = self._compare(candidates, gains)
        return best


def trials_as_first_asked(
    study: optuna.Study, states: Sequence[TrialState]
) -> Sequence[FrozenTrial]:
    """The trials in some states, as they were when this thread's trial first asked."""
    trials: list[FrozenTrial] = study._get_trials(deepcopy=False, states=states, use_cache=True)
    return trials
