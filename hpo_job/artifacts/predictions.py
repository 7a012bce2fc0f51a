"""The stored predictions of a study's kept models, or why there are none."""

from __future__ import annotations

from dataclasses import dataclass

import optuna
from optuna.trial import FrozenTrial

from hpo_job.artifacts.models import Models
from hpo_job.artifacts.stores import open_store
from hpo_job.errors import HpoJobError, StudyError
from hpo_job.objectives import is_function
from hpo_job.objectives.predictions import Predictions
from hpo_job.spec.study_toml import restore
from hpo_job.trial import attributes


@dataclass(frozen=True)
class Kept:
    """A trial whose model was kept, and what that predicts for the validation items."""

    trial: FrozenTrial
    predictions: Predictions


def kept_predictions(study: optuna.Study, artifacts: str) -> list[Kept]:
    """The predictions of all kept models, the best first.

    Args:
        study: any study.
        artifacts: where models are kept, unless the study names a place.

    Raises:
        StudyError: the study keeps no models, or none is reachable from here.
    """
    models = _models(study, artifacts)
    kept = [
        Kept(trial, models.predictions(trial))
        for trial in models.kept()
        if trial.user_attrs.get(attributes.PREDICTIONS)
    ]
    if not kept:
        reason = "those of the best trials are, with their models ([artifacts] keep)"
        if is_function(restore(study.user_attrs[attributes.SPEC])):
            reason = "those of a function of your own are not known"
        raise StudyError(
            f"study {study.study_name!r}: no predictions of validation items are kept; {reason}"
        )
    return kept


def best_predictions(study: optuna.Study, artifacts: str) -> Predictions | None:
    """The predictions of the best kept model; None where none are kept, or they are not here."""
    try:
        return kept_predictions(study, artifacts)[0].predictions
    except HpoJobError:
        return None


def trial_predictions(study: optuna.Study, artifacts: str, number: int) -> Kept:
    """The predictions of one trial's model.

    Raises:
        StudyError: there is no such trial, its model was not kept, or is not reachable from here.
    """
    trials = study.get_trials(deepcopy=False)
    if not 0 <= number < len(trials):
        raise StudyError(f"study {study.study_name!r}: no trial {number}")
    return Kept(trials[number], _models(study, artifacts).predictions(trials[number]))


def _models(study: optuna.Study, artifacts: str) -> Models:
    if attributes.SPEC not in study.user_attrs:
        raise StudyError(
            f"study {study.study_name!r} was not created by hpo-job and keeps no models"
        )
    try:
        spec = restore(study.user_attrs[attributes.SPEC])
    except ValueError as error:  # stored by another version
        raise StudyError(
            f"study {study.study_name!r}: this version of hpo-job cannot read its stored spec"
        ) from error
    return Models(study, open_store(spec.artifacts.store or artifacts), spec.artifacts.keep)
