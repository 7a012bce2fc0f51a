"""Going on with a study that ``hpo-job import`` copied: under a study.toml that its trials fit."""

from __future__ import annotations

import optuna
from optuna.distributions import check_distribution_compatibility

from hpo_job.errors import StudyError
from hpo_job.spec.search_space import Searched
from hpo_job.spec.study_toml import StudySpec
from hpo_job.trial import attributes


def is_unclaimed(study: optuna.Study) -> bool:
    """Whether a study was imported, and no study.toml goes on with it yet."""
    attrs = study.user_attrs
    return attributes.IMPORTED in attrs and attributes.SPEC not in attrs


def require_fitting(study: optuna.Study, spec: StudySpec) -> None:
    """Check that the trials of an imported study could be trials of this spec.

    Ranges may differ, since samplers accept trials outside of them; kinds, scales and choices may
    not. What was trained, and on which data, cannot be compared: nobody has noted it.

    Raises:
        StudyError: they could not; the message names the parameter.
    """
    directions = tuple(way.name.lower() for way in study.directions)
    if directions != spec.directions:
        raise _misfit(study, spec, "direction", f"{', '.join(directions)} in its trials")
    if not spec.search_space:  # a function that suggests by itself
        return
    for trial in study.get_trials(deepcopy=False):
        for name, distribution in trial.distributions.items():
            parameter = spec.search_space.get(name)
            if not isinstance(parameter, Searched):
                where = "fixed here" if name in spec.search_space else "not in [search_space]"
                raise _misfit(study, spec, f"search_space.{name}", f"searched in it, {where}")
            try:
                check_distribution_compatibility(distribution, parameter.distribution())
            except ValueError as error:
                problem = f"{distribution} in its trial {trial.number}"
                raise _misfit(study, spec, f"search_space.{name}", problem) from error


def _misfit(study: optuna.Study, spec: StudySpec, key: str, problem: str) -> StudyError:
    return StudyError(
        f"{spec.file}: {key}: the imported study {study.study_name!r} cannot go on: {problem}; "
        "change it here, or change name to start another study"
    )
