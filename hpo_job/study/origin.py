"""From a study back to its job folder, and to the parameters that are trained again."""

from __future__ import annotations

import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial

from hpo_job.errors import StudyError
from hpo_job.spec.reading import find_job, read_spec
from hpo_job.spec.study_toml import StudySpec
from hpo_job.study.sameness import difference, require_same_function
from hpo_job.trial import attributes
from hpo_job.trial.counting import counted, evaluated


def job_of(study: optuna.Study, argument: str) -> StudySpec:
    """The spec of the job folder that a study was created from.

    Args:
        study: the study.
        argument: how the user named it: by its name, or by its job folder.

    Raises:
        StudyError: the folder is not here, or describes another study by now.
    """
    name = study.study_name
    folder = find_job(argument) or find_job(name)
    if folder is None:
        raise StudyError(
            f"study {name!r}: its job folder is not here: name it in place of the study, or change "
            "into the folder that it was run from"
        )
    spec = read_spec(folder)
    stored = study.user_attrs.get(attributes.SPEC)
    if spec.name != name or not isinstance(stored, dict):
        raise StudyError(f"study {name!r} was not created from {spec.file}")
    if changed := difference(stored, spec.stored()):
        raise StudyError(
            f"study {name!r} was created with another spec than {spec.file} has now; undo:\n  "
            + "\n  ".join(changed)
        )
    require_same_function(study.user_attrs, spec)
    return spec


def parameters_of(study: optuna.Study, number: int | None) -> FrozenTrial:
    """The trial with this number; None is the best, by the first objective.

    Raises:
        StudyError: there is no such trial, or none has ended well.
    """
    trials = study.get_trials(deepcopy=False)
    if number is not None:
        if not 0 <= number < len(trials):
            raise StudyError(f"study {study.study_name!r}: no trial {number}")
        if not evaluated(trials[number]):
            state = trials[number].state.name
            raise StudyError(f"study {study.study_name!r}: trial {number} is {state}; name another")
        return trials[number]
    complete = counted(trials)
    if not complete:
        raise StudyError(f"study {study.study_name!r}: no trial is COMPLETE yet")
    pick = max if study.directions[0] == StudyDirection.MAXIMIZE else min
    return pick(complete, key=lambda trial: trial.values[0])
