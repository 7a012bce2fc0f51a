"""Exports a kept model to a folder that predicts on new files, on any machine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType

import optuna
import pandas as pd

from hpo_job import objectives
from hpo_job.artifacts.models import Models
from hpo_job.artifacts.stores import open_store
from hpo_job.errors import DataError, SpecError, StudyError
from hpo_job.objectives import learner_file
from hpo_job.spec.study_toml import restore
from hpo_job.trial import attributes

LEARNER = "export.pkl"  # as fastai's load_learner reads it


def export(study: optuna.Study, artifacts: str, folder: Path, number: int | None = None) -> str:
    """Write the model of a trial into ``folder``; returns one line that names the trial.

    ``export.pkl`` is fastai's own export; it is rebuilt from the weights and ``learner.json``
    next to it.

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
        raise StudyError(f"study {study.study_name!r} was not made by hpo-job and keeps no models")
    try:
        spec = restore(study.user_attrs[attributes.SPEC])
    except ValueError as error:  # stored by another version, or by somebody else
        raise StudyError(
            f"study {study.study_name!r}: this version of hpo-job cannot read its stored spec"
        ) from error
    if objectives.is_function(spec):
        raise StudyError(
            f"study {study.study_name!r} tunes {spec.objective}, which keeps no models"
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise SpecError(f"--output {folder}: exists already; name a new folder")
    objective = objectives.shipped(spec.objective)  # its libraries, before anything is fetched
    models = Models(study, open_store(spec.artifacts.store or artifacts), spec.artifacts.keep)
    trial = _trial(study, models, number)
    with _written_whole(folder) as temporary:
        record = models.fetch(trial, temporary)
        objective.rebuild(temporary).export(temporary / LEARNER)
    names = spec.metrics or ("value",)
    scores = ", ".join(f"{name} {v:.4f}" for name, v in zip(names, record["values"], strict=True))
    return f"{folder}: trial {record['trial']} of {study.study_name}, {scores}"


@contextmanager
def _written_whole(folder: Path) -> Iterator[Path]:
    """A temporary folder next to ``folder``, renamed to it at the end; removed after an error.

    A folder that exists is filled instead: it may be a link, a volume, or the shell's own.

    Raises:
        SpecError: nothing can be written there.
    """
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


def predict(folder: Path, files: Sequence[Path]) -> pd.DataFrame:
    """The predictions of an exported model: a row for each file, or for each row of a table.

    Raises:
        DataError: the folder holds no model, or a file cannot be read.
    """
    module = _module(folder)
    missing = [str(file) for file in files if not file.is_file()]
    if missing:
        raise DataError(f"{', '.join(missing[:5])}: no such file")
    table: pd.DataFrame = module.predict(module.rebuild(folder), files)
    return table


def _module(folder: Path) -> ModuleType:
    """The module of the objective that trained the model in ``folder``."""
    objective = learner_file.read(folder).get("objective")
    if objective not in objectives.SHIPPED:
        raise DataError(f"{folder / learner_file.LEARNER}: no objective {objective!r}")
    return objectives.shipped(objective)


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
            f"{models.keep}, and trials that are COMPLETE leave one"
        )
    return kept[0]
