"""The pruner that compares trials only within one and the same phase."""

from __future__ import annotations

import copy
from collections.abc import Callable, Container, Sequence
from typing import Any

import optuna
from optuna.pruners import BasePruner, NopPruner
from optuna.storages import BaseStorage, InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from hpo_job.study.promotion import PromotionPruner
from hpo_job.trial import attributes
from hpo_job.trial.counting import counted


class PhasePruner(BasePruner):
    """Any of Optuna's pruners, one for each phase.

    A trial that names no phases is compared as a whole, by another pruner. A PromotionPruner's
    rungs are counted over all phases, since it compares trials by the study's metric only.

    Args:
        make: makes a new pruner; some of them keep what they estimated of the study.
        storage: where the study is; pruners that keep notes with a trial keep them there.
    """

    def __init__(self, make: Callable[[], BasePruner], storage: BaseStorage) -> None:
        self._make, self._storage = make, storage
        self._by_phase: dict[str, _PhaseView] = {}
        self._whole = make()

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Whether ``trial``, which has just reported a step, should be pruned."""
        if isinstance(self._whole, NopPruner):
            return False
        phases = trial.user_attrs.get(attributes.PHASES)
        if not phases or isinstance(self._whole, PromotionPruner):
            return bool(self._whole.prune(study, trial))
        phase = phases[-1]
        if phase["name"] not in self._by_phase:
            self._by_phase[phase["name"]] = _PhaseView(phase, self._make(), self._storage)
        return self._by_phase[phase["name"]].prune(study, trial)


class _PhaseView(InMemoryStorage):
    """A study reduced to one phase, with the methods of a storage that Optuna's pruners use.

    A finished trial is reduced once.
    """

    def __init__(self, phase: dict[str, Any], pruner: BasePruner, storage: BaseStorage) -> None:
        super().__init__()
        self._phase, self._pruner, self._real = phase, pruner, storage
        self._study: optuna.Study
        self._finished: dict[int, FrozenTrial | None] = {}

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        self._study = study
        reduced = self._reduced(trial)
        assert reduced is not None
        phase = optuna.Study(study.study_name, self, study.sampler, self._pruner)
        return bool(self._pruner.prune(phase, reduced))

    def get_study_id_from_name(self, study_name: str) -> int:
        return 0

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        return [StudyDirection[self._phase["direction"].upper()]]

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        """The trials that reached this phase."""
        trials = map(self._reduced_once, self._study.get_trials(deepcopy=False))
        return [trial for trial in trials if trial and (states is None or trial.state in states)]

    def get_best_trial(self, study_id: int) -> FrozenTrial:
        complete = [
            reduced
            for trial in counted(self._study)
            if (reduced := self._reduced_once(trial)) and reduced.values
        ]
        if not complete:
            raise ValueError("No trials are completed yet.")  # what every storage raises
        best = max if self._phase["direction"] == "maximize" else min
        return best(complete, key=lambda trial: trial.values[0])

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Store what this phase's pruner notes with the real trial, under the phase's name."""
        self._real.set_trial_system_attr(trial_id, self._prefix + key, value)

    @property
    def _prefix(self) -> str:
        return f"{self._phase['name']}:"

    def _reduced_once(self, trial: FrozenTrial) -> FrozenTrial | None:
        if not trial.state.is_finished():
            return self._reduced(trial)
        if trial.number not in self._finished:
            self._finished[trial.number] = self._reduced(trial)
        return self._finished[trial.number]

    def _reduced(self, trial: FrozenTrial) -> FrozenTrial | None:
        """``trial`` with the steps of this phase only, counted from 0; None if it has none."""
        steps = _steps(trial, self._phase)
        if not steps:
            return None
        reduced = copy.copy(trial)
        reduced.intermediate_values = {
            step - steps.start: value
            for step, value in sorted(trial.intermediate_values.items())
            if step in steps
        }
        notes = trial.system_attrs.items()
        reduced.system_attrs = {
            key.removeprefix(self._prefix): value
            for key, value in notes
            if key.startswith(self._prefix)
        }
        if trial.state == TrialState.COMPLETE and reduced.intermediate_values:
            reduced.values = [list(reduced.intermediate_values.values())[-1]]
        return reduced


def _steps(trial: FrozenTrial, phase: dict[str, Any]) -> range:
    """The steps of ``trial`` in the phase of this name, metric and direction; empty if none."""
    phases: Sequence[dict[str, Any]] = trial.user_attrs.get(attributes.PHASES) or ()
    for position, other in enumerate(phases):
        if all(other[key] == phase[key] for key in ("name", "metric", "direction")):
            later = phases[position + 1]["start"] if position + 1 < len(phases) else 10**9
            return range(other["start"], later)
    return range(0)
