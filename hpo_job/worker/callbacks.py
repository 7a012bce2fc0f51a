"""Callbacks in Optuna's sense: called with the study and each trial that has ended.

They are called by the worker that ran the trial, once its result is recorded, and are therefore
never called for a trial whose worker was killed. What one raises is logged, and costs no trial.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import optuna
from optuna.trial import FrozenTrial

from hpo_job import objectives
from hpo_job.spec.study_toml import StudySpec

Callback = Callable[[optuna.Study, FrozenTrial], object]
log = logging.getLogger(__name__)


class Callbacks:
    """The callbacks that a study.toml names.

    Raises:
        SpecError: one cannot be imported, or cannot be called.
    """

    def __init__(self, spec: StudySpec) -> None:
        self._callbacks: dict[str, Callback] = objectives.callbacks(spec)

    def call(self, study: optuna.Study, number: int) -> None:
        """Call them all with the trial of this number, which has ended."""
        if not self._callbacks:
            return
        trial = study.get_trials(deepcopy=False)[number]
        for name, callback in self._callbacks.items():
            try:
                callback(study, trial)
            except Exception as error:  # whatever the user's own code raises
                text = " ".join(str(error).split())
                log.warning("callback %s: %s: %s", name, type(error).__name__, text)
