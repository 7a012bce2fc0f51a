"""Exports a kept model to a folder that predicts on new files, on any machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import optuna

from hpo_job import objectives
from hpo_job.artifacts.models import Models
from hpo_job.artifacts.stores import open_store
from hpo_job.errors import SpecError, StudyError
from hpo_job.spec.study_toml import restore
from hpo_job.trial import attributes

LEARNER = "export.pkl"  # as fastai's load_learner reads it
SEED_FOLDER = "seed-{}"  # of one model among several whose predictions are averaged


def export(study: optuna.Study, artifacts: str, folder: Path, number: int | None = None) -> str:
    """Write the model of a trial into ``folder``; returns one line that names the trial.

    ``export.pkl`` is fastai's own export; it is rebuilt from the weights and ``learner.json``
    next to it. Of a function of the user's own, the files are those that it has saved.

    Args:
        study: made by hpo-job.
        artifacts: the store of models, unless the study names one.
        folder: is created; must be missing or empty.
        number: of the trial; None is the best one whose model was kept.

    Raises:
        StudyError: no model was kept.
        SpecError: ``folder`` exists, or cannot be written.
    """
    if attributes.SPEC not in study.user_attrs:
        raise StudyError(
            f"study {study.study_name!r} was not created by hpo-job and keeps no models"
        )
    try:
        spec = restore(study.user_attrs[attributes.SPEC])
    except ValueError as error:  # stored by another version, or by somebody else
        raise StudyError(
            f"study {study.study_name!r}: this version of hpo-job cannot read its stored spec"
        ) from error
    require_new(folder)
    own = objectives.is_function(spec)
    # its libraries, before anything is fetched
    objective = None if own else objectives.shipped(spec.objective)
    models = Models(study, open_store(spec.artifacts.store or artifacts), spec.artifacts.keep)
    trial = _trial(study, models, number)
    with new_folder(folder) as temporary:
        record = models.fetch(trial, temporary)
        if objective is not None:
            objective.rebuild(temporary).export(temporary / LEARNER)
    names = spec.metrics or ("value",)
    scores = ", ".join(f"{name} {v:.4f}" for name, v in zip(names, record["values"], strict=True))
    return f"{folder}: trial {record['trial']} of {study.study_name}, {scores}"


def require_new(folder: Path) -> None:
    """Check that ``folder`` can be filled.

    Raises:
        SpecError: there is something in it already.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise SpecError(f"--output {folder}: exists already; name a new folder")


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A temporary folder next to ``folder``, renamed to it at the end; removed after an error.

    A folder that exists is filled instead: it may be a link, a volume, or the shell's own.

    Raises:
        SpecError: nothing can be written there, or there is something in it.
    """
    require_new(folder)
    exists = folder.exists()
    place = folder if exists else folder.parent
    try:
        place.mkdir(parents=True, exist_ok=True)
        neighbour = TemporaryDirectory(prefix=f".{folder.name}.", dir=place)
    except OSError as error:
        raise SpecError(f"--output {folder}: cannot be written: {error.strerror}") from error
    with neighbour as temporary:
        content = Path(temporary) / "content"
        yield content
        if not exists:
            content.replace(folder)
            return
        for part in content.iterdir():
            part.replace(folder / part.name)


def _trial(study: optuna.Study, models: Models, number: int | None) -> optuna.trial.FrozenTrial:
    trials = study.get_trials(deepcopy=False)
    if number is not None:
        if not 0 <= number < len(trials):
            raise StudyError(f"study {study.study_name!r}: no trial {number}")
        return trials[number]
    kept = models.kept()
    if not kept:
        raise StudyError(
            f"study {study.study_name!r}: no model was kept yet; [artifacts] keep is "
            f"{models.keep}, and trials that are COMPLETE leave one, of a function where it calls "
            "context.save_model"
        )
    return kept[0]
