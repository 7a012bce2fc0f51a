"""A study: created once, by whichever worker comes first, and joined by the others."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.trial import TrialState

from hpo_job import objectives
from hpo_job.data.digests import fingerprint
from hpo_job.errors import SpecError, StudyError, unknown
from hpo_job.spec.reading import find_job, read_spec
from hpo_job.spec.search_space import Scalar
from hpo_job.spec.study_toml import Budget, StudySpec, restore
from hpo_job.storage.database import Storage, is_new
from hpo_job.storage.defaults import GRACE, PATIENCE
from hpo_job.storage.kubernetes_jobs import has_joined, note_joined
from hpo_job.study import imported, provenance, source_files, workers
from hpo_job.study.checking import Checked, inspect, read_data
from hpo_job.study.phase_pruner import PhasePruner
from hpo_job.study.pruners import make_pruner
from hpo_job.study.sameness import (
    continue_with_function,
    data_listing,
    require_same_data,
    require_same_function,
    require_same_spec,
    with_defaults,
)
from hpo_job.trial import attributes

log = logging.getLogger(__name__)


def join(
    checked: Checked,
    url: str,
    grace: int = GRACE,
    patience: float = PATIENCE,
    *,
    same_study: bool = False,
) -> tuple[optuna.Study, Storage]:
    """Open the storage at ``url``, creating it if necessary, and `create` the study in it.

    Args:
        checked: the spec and what it names.
        url: of the database.
        grace: seconds without a heartbeat after which a running trial is lost.
        patience: seconds to wait for a server that is away or busy.
        same_study: whether another version of the user's function continues the study.
    """
    if is_new(url):
        checked = inspect(checked)  # before a file is created that would have to be removed
    storage = Storage(url, grace=grace, create=True, patience=patience)
    with storage.reaching():
        return create(checked, storage, same_study=same_study), storage


def create(checked: Checked, storage: Storage, *, same_study: bool = False) -> optuna.Study:
    """The study of this spec: created if it does not exist, joined if it does.

    What may differ from the stored spec, such as the budget, is stored anew and holds for all
    workers from then on.

    Args:
        checked: the spec and what it names.
        storage: where the study is.
        same_study: whether another version of the user's function continues the study.

    Raises:
        StudyError: it exists with another spec, with other data or with another function; or it
            was deleted after this Job had begun.
        DataError: images cannot be read; nothing has been written then.
    """
    spec, owner = checked.spec, workers.owner()
    is_known = owner is not None and has_joined(storage, owner, spec.name)  # asked first
    if _needs_creating(checked, storage):
        if is_known:
            raise StudyError(
                f"study {spec.name!r} was deleted or renamed after this Job had begun; submit the "
                "job again to begin it anew"
            )
        checked = inspect(checked)
        origin = _provenance(checked)  # reads all data, so not within the lock
        storage.run_exclusively(spec.name, lambda: _store(checked, origin, storage))
        for caution in checked.cautions:
            log.warning("%s", caution)
    study = load(spec.name, storage)
    attrs = study.user_attrs  # each look at it is a statement
    require_same_spec(attrs, spec)
    require_same_data(attrs, spec, checked.data)
    if same_study:
        continue_with_function(study, attrs, spec)
    else:
        require_same_function(attrs, spec)
    # not where only defaults were added: workers of an earlier release would not know the keys
    if with_defaults(attrs[attributes.SPEC]) != spec.stored():
        study.set_user_attr(attributes.SPEC, spec.stored())
    study.pruner = PhasePruner(lambda: make_pruner(spec), storage.optuna)
    if owner is not None and not is_known:
        note_joined(storage, owner, spec.name)
    return study


def require_joinable(spec: StudySpec, storage: Storage, *, same_study: bool = False) -> None:
    """Check that workers can join the study of this spec, if it exists; nothing is written.

    For a machine that submits and may not have the data: data is compared only if it is in the
    job folder.

    Raises:
        StudyError: the study exists with another spec, with other data or with another function.
    """
    study = find(spec.name, storage)
    if study is None or _is_unfinished(study, spec):
        return
    attrs = study.user_attrs
    require_same_spec(attrs, spec)
    if not same_study:
        require_same_function(attrs, spec)
    path = spec.data_path
    if path and path.exists() and path.is_relative_to(spec.folder) and (data := read_data(spec)):
        require_same_data(attrs, spec, data)


def named(argument: str, storage: Storage) -> str:
    """The name of the study that a command's argument means: a job folder's, or itself.

    A folder under jobs/ is meant only if no study has that name.
    """
    folder = find_job(argument)
    if folder is None or (folder != Path(argument) and find(argument, storage) is not None):
        return argument
    return read_spec(folder).name


def load(name: str, storage: Storage) -> optuna.Study:
    """The study called ``name``.

    Raises:
        StudyError: there is none; the message lists those that exist.
    """
    study = find(name, storage)
    if study is None:
        names = optuna.get_all_study_names(storage.optuna)
        raise StudyError(
            f"{storage}: {unknown('study', name, names)}"
            if names
            else f"{storage}: it has no studies yet; start one with hpo-job run JOB"
        )
    return study


def budget(study: optuna.Study) -> Budget:
    """The study's budget as it is now; the last `create` may have changed it."""
    return Budget.model_validate(study.user_attrs[attributes.SPEC]["budget"])


def enqueue(study: optuna.Study, storage: Storage, parameters: Mapping[str, Scalar]) -> None:
    """Let the next free worker try ``parameters``; the sampler suggests those that are missing.

    Raises:
        SpecError: no trial of this study could have them.
    """
    if problem := misfit(study, parameters):
        raise SpecError(f"study {study.study_name!r}: {problem[0]}: {problem[1]}")
    enqueued = False

    def add() -> None:
        nonlocal enqueued
        if not enqueued:
            study.enqueue_trial(dict(parameters))
            enqueued = True

    storage.run_exclusively(study.study_name, add)  # trials are numbered one at a time


def misfit(study: optuna.Study, parameters: Mapping[str, Scalar]) -> tuple[str, str] | None:
    """The first of ``parameters`` that no trial of ``study`` could have, and why."""
    stored = study.user_attrs.get(attributes.SPEC)
    if not isinstance(stored, Mapping) or "objective" not in stored:
        return None  # hpo-job did not create it, so its search space is not known
    return objectives.misfit(restore(stored), parameters)


def find(name: str, storage: Storage) -> optuna.Study | None:
    """The study called ``name``, or None where there is none."""
    if not name.isprintable():  # the name of a folder that is not text, which no database holds
        return None
    try:
        return optuna.load_study(study_name=name, storage=storage.optuna)
    except KeyError:
        return None


def _needs_creating(checked: Checked, storage: Storage) -> bool:
    """Whether there is no such study, or its creator died before it had stored the spec."""
    study = find(checked.spec.name, storage)
    return study is None or _is_unfinished(study, checked.spec)


def _is_unfinished(study: optuna.Study, spec: StudySpec) -> bool:
    """Whether whoever created the study died before its spec was stored, or imported it.

    Raises:
        StudyError: it was imported, and its trials do not fit the spec.
    """
    if imported.is_unclaimed(study):
        imported.require_fitting(study, spec)
        return True
    return (
        attributes.SPEC not in study.user_attrs
        and tuple(way.name.lower() for way in study.directions) == spec.directions
        and all(trial.state == TrialState.WAITING for trial in study.get_trials(deepcopy=False))
    )


def _store(checked: Checked, origin: dict[str, Any], storage: Storage) -> None:
    """Write what the study is, unless another worker did; call within the study's lock.

    The spec is written last: where it is missing, the creator died, and the next one completes
    the study.
    """
    if not _needs_creating(checked, storage):
        return
    study = optuna.create_study(
        study_name=checked.spec.name,
        storage=storage.optuna,
        directions=checked.spec.directions,
        load_if_exists=True,
    )
    study.set_user_attr(attributes.PROVENANCE, origin)
    if checked.baseline is not None:
        study.set_user_attr(attributes.BASELINE, checked.baseline)
    if len(checked.spec.metrics) > 1:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)  # as it has been since Optuna 3.2
            study.set_metric_names(list(checked.spec.metrics))
    for parameters in checked.spec.enqueue:
        if not objectives.asks_lr_find(parameters):  # those wait for the learning-rate finder
            study.enqueue_trial(parameters, skip_if_exists=True)
    study.set_user_attr(attributes.SPEC, checked.spec.stored())


def _provenance(checked: Checked) -> dict[str, Any]:
    spec = checked.spec
    return {
        "seed": spec.seed,
        "git_revision": provenance.git_revision(spec.folder),
        "versions": provenance.versions(),
        "data_fingerprint": fingerprint(spec.data_path) if spec.data_path else None,
        "data_listing": data_listing(spec, checked.data),
        "objective_sha256": source_files.digests(spec),
    }
