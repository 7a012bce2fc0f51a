"""Objects in the artifact store that nobody needs any more: found and removed for ``hpo-job gc``.

What is looked at is what the study's own trials name, so that a store may be shared by studies,
databases and other programs. Only finished attempts are looked at, never what runs or will be
run again. In a folder, files that were never complete and have not changed for a day go too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import optuna
from optuna.trial import FrozenTrial

from hpo_job import objectives
from hpo_job.artifacts.folder_store import FolderStore
from hpo_job.artifacts.models import MODEL, Models
from hpo_job.artifacts.stores import open_store, remove, size
from hpo_job.errors import StudyError
from hpo_job.objectives.predictions import FILE
from hpo_job.spec.study_toml import restore
from hpo_job.storage.database import Storage
from hpo_job.study.attempts import object_names
from hpo_job.study.recovery import continuable
from hpo_job.trial import attributes

OF_MODELS = (attributes.ARTIFACT, attributes.PREDICTIONS)


@dataclass(frozen=True)
class Orphan:
    """An object that nobody needs.

    Attributes:
        name: in the store.
        kind: "checkpoint" or "model"; a model's predictions count as one. Or "part": a file that
            was never complete.
        trial: the number of the trial that wrote it; None of a part, which may be any study's.
        size: in bytes.
    """

    name: str
    kind: str
    trial: int | None
    size: int


def orphans(study: optuna.Study, storage: Storage, artifacts: str) -> tuple[str, list[Orphan]]:
    """The store of a study, and what is in it that nobody needs.

    Args:
        study: the study.
        storage: its storage.
        artifacts: where the store is, unless the study names one.

    Raises:
        StudyError: hpo-job did not create the study.
        SpecError: the store cannot be opened.
    """
    if attributes.SPEC not in study.user_attrs:
        raise StudyError(f"study {study.study_name!r} was not created by hpo-job")
    spec = restore(study.user_attrs[attributes.SPEC])
    url = spec.artifacts.store or artifacts
    store = open_store(url)
    models = Models(study, store, spec.artifacts.keep)
    # One reading of the trials for all that follows: what ends or starts meanwhile is not touched
    trials = study.get_trials(deepcopy=False)
    kept = {trial.user_attrs.get(name) for trial in models.best(trials) for name in OF_MODELS}
    named = [
        *_checkpoints(trials, continuable(trials, spec.budget.retries)),
        *_models(trials, storage, uploads=not objectives.is_function(spec)),
    ]
    present = ((*each, size(url, each[0])) for each in named if each[0] not in kept)
    unneeded = [
        Orphan(name, kind, trial, count)
        for name, kind, trial, count in present
        if count is not None
    ]
    parts = store.old_parts() if isinstance(store, FolderStore) else ()
    return url, [*unneeded, *(Orphan(name, "part", None, count) for name, count in parts)]


def remove_orphans(url: str, orphaned: Sequence[Orphan]) -> None:
    """Remove these objects from the store at ``url``."""
    store = open_store(url)
    for orphan in orphaned:
        remove(store, orphan.name, orphan.kind)


def _checkpoints(trials: Sequence[FrozenTrial], needed: set[int]) -> Iterator[tuple[str, str, int]]:
    for trial in trials:
        if trial.number not in needed:
            for name in object_names(trial):
                yield name, "checkpoint", trial.number


def _models(
    trials: Sequence[FrozenTrial], storage: Storage, *, uploads: bool
) -> Iterator[tuple[str, str, int]]:
    """The models and predictions that finished trials have uploaded.

    Args:
        trials: of the study.
        storage: of the study.
        uploads: whether hpo-job uploads models under these names; if not, they may be the user's
            own artifacts, and only what a trial names as its model is looked at.
    """
    from optuna.artifacts import get_all_artifact_meta

    for trial in trials:
        if not trial.state.is_finished():
            continue
        names = {str(trial.user_attrs[each]) for each in OF_MODELS if trial.user_attrs.get(each)}
        if uploads:  # a worker that was killed had no time to name them
            metas = get_all_artifact_meta(trial, storage=storage.optuna)
            names |= {meta.artifact_id for meta in metas if meta.filename in (MODEL, FILE)}
        for name in sorted(names):
            yield name, "model", trial.number
