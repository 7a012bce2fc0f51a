"""The combinations that a study with an exhaustive sampler has not tried yet.

Optuna's GridSampler and BruteForceSampler end a study with `Study.stop`, which works inside
`Study.optimize` only, and workers that run at the same time may try a combination twice. Here the
next combination is chosen within the study's lock, and is on its trial before that runs: so each
is tried once, whoever dies, and the study is over when all have been tried.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

from optuna.trial import FrozenTrial

from hpo_job.spec import combinations
from hpo_job.spec.study_toml import StudySpec
from hpo_job.study.optuna_private import fixed_params


class Grid:
    """All combinations of a study, in an order that its seed determines."""

    def __init__(self, spec: StudySpec) -> None:
        lists = spec.sampler.options.get("search_space", {})
        self._left = list(combinations.combinations(spec.search_space, lists))
        random.Random(spec.seed).shuffle(self._left)  # a smaller budget then covers all of it
        self._tried: set[frozenset[tuple[str, object]]] = set()

    def update(self, trials: Iterable[FrozenTrial]) -> None:
        """Take in trials that are new or have changed."""
        self._tried |= {frozenset({**fixed_params(t), **t.params}.items()) for t in trials}

    def next(self) -> dict[str, Any] | None:
        """The next combination that no trial has; None if there is none left."""
        while self._left and frozenset(self._left[-1].items()) in self._tried:
            self._left.pop()
        return self._left[-1] if self._left else None
