"""Studies deleted, renamed and copied, with their models; none of it while a trial runs."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.trial import TrialState

from hpo_job.artifacts.stored import artifact_ids, copied, remove_all, renamed, store_of
from hpo_job.errors import StudyError
from hpo_job.storage.database import Storage
from hpo_job.study.joining import find, load
from hpo_job.study.recovery import fail_lost
from hpo_job.trial import attributes

COPYING = " (being copied)"  # a study's name until all of it is there


@dataclass(frozen=True)
class Done:
    """How much was copied or deleted.

    Attributes:
        trials: how many.
        models: bytes of models and predictions.
    """

    trials: int
    models: int = 0


def delete(study: optuna.Study, storage: Storage, artifacts: str) -> Done:
    """Delete a study: its trials, then its models.

    Raises:
        StudyError: trials of it run.
        SpecError: the store of its models cannot be opened; nothing is deleted then.
    """
    with storage.exclusive(study.study_name):
        require_quiet(study, storage)
        store = store_of(study, artifacts)
        trials = study.get_trials(deepcopy=False)
        ids = [artifact for trial in trials for artifact in artifact_ids(trial)]
        optuna.delete_study(study_name=study.study_name, storage=storage.optuna)
    return Done(len(trials), remove_all(store, ids) if store else 0)


def rename(study: optuna.Study, storage: Storage, name: str) -> None:
    """Give a study another name.

    Raises:
        StudyError: trials of it run, or there is a study of that name.
    """
    old = study.study_name
    with storage.exclusive(old):
        require_quiet(study, storage)
        storage.rename_study(old, name)
    _name_in_spec(load(name, storage))


def copy_study(
    study: optuna.Study,
    storage: Storage,
    target: Storage,
    name: str,
    artifacts: str,
    origin: str | None = None,
) -> Done:
    """Copy a study with all trials as they are; its models are copied within their store.

    Nothing is seen of the copy until it is whole.

    Args:
        study: the study.
        storage: where it is.
        target: where the copy will be; the same storage or another one.
        name: of the copy.
        artifacts: the store of models, unless the study names one.
        origin: noted with the copy, where it is an import of somebody else's study.

    Raises:
        StudyError: trials of it run, or there is a study of that name.
    """
    if find(name, target) is not None:
        raise StudyError(f"{target}: there is a study {name!r} already; use another name")
    with storage.exclusive(study.study_name):
        if origin is None:
            require_quiet(study, storage)
        trials = [copy.deepcopy(trial) for trial in study.get_trials(deepcopy=False)]
        attrs, system_attrs = dict(study.user_attrs), _system_attrs(study, storage)
    store = store_of(study, artifacts) if origin is None else None
    partial = find(name + COPYING, target)
    if partial is not None:  # of an attempt that was broken off
        delete(partial, target, artifacts)
    new = optuna.create_study(
        study_name=name + COPYING, storage=target.optuna, directions=study.directions
    )
    models = 0
    for trial in trials:
        if trial.state == TrialState.RUNNING:  # of a worker that hpo-job knows nothing of
            continue
        names = copied(store, trial) if store else {}
        trial.user_attrs = renamed(trial.user_attrs, names)
        trial.system_attrs = renamed(trial.system_attrs, names)
        new.add_trial(trial)
        models += len(names)
    for key, value in system_attrs.items():
        target.optuna.set_study_system_attr(target.study_id(new.study_name), key, value)
    for key, value in attrs.items():
        new.set_user_attr(key, value)
    if origin is not None:
        new.set_user_attr(attributes.IMPORTED, origin)
    target.rename_study(new.study_name, name)
    _name_in_spec(load(name, target))
    return Done(len(trials), models)


def require_quiet(study: optuna.Study, storage: Storage) -> None:
    """Check that no worker runs a trial of the study; call within its lock.

    Raises:
        StudyError: one does.
    """
    fail_lost(study, storage)
    running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    if running:
        numbers = ", ".join(f"#{trial.number}" for trial in running[:5])
        raise StudyError(
            f"study {study.study_name!r}: {numbers} runs; stop its workers first, or wait for the "
            "grace where they are dead"
        )


def _name_in_spec(study: optuna.Study) -> None:
    """Let the stored spec have the study's name, so that its study.toml can continue it."""
    spec = study.user_attrs.get(attributes.SPEC)
    if isinstance(spec, dict):
        study.set_user_attr(attributes.SPEC, {**spec, "name": study.study_name})


def _system_attrs(study: optuna.Study, storage: Storage) -> dict[str, Any]:
    """What Optuna itself keeps with a study, such as the names of its metrics."""
    return dict(storage.optuna.get_study_system_attrs(storage.study_id(study.study_name)))
