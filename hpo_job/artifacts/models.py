"""The models of a study's best trials, in Optuna's artifact store: a folder, S3 or GCS."""

from __future__ import annotations

import json
import logging
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial

from hpo_job.artifacts.stores import reason, remove
from hpo_job.errors import StudyError
from hpo_job.objectives.predictions import FILE, Predictions
from hpo_job.trial import attributes
from hpo_job.trial.counting import counts

if TYPE_CHECKING:
    from hpo_job.artifacts.stores import Store

MODEL = "model.zip"
RECORD = "trial.json"  # which trial the model is of, and what it scored
log = logging.getLogger(__name__)


class Models:
    """The kept models of one study: at most ``keep``, those of its best COMPLETE trials.

    With several objectives trials are ranked by the first.
    """

    def __init__(self, study: optuna.Study, store: Store, keep: int) -> None:
        self._study, self._store, self.keep = study, store, keep
        self._gone: set[str] = set()

    def offer(
        self,
        trial: optuna.Trial,
        values: Sequence[float],
        scored: Sequence[float],
        write: Callable[[Path], None],
    ) -> str | None:
        """Store the model of ``trial`` if it is among the best so far; returns its id, or None.

        Any failure is only logged: a trial is worth more than its model.

        Args:
            trial: still running.
            values: of the trial.
            scored: of the model itself; they differ where the trial's are a mean of repeats.
            write: writes the model into an empty folder.
        """
        from optuna.artifacts import upload_artifact

        stored = self._ranked(self._study.get_trials(deepcopy=False))
        better = [t for t in stored if not _is_worse(self._study, t, values[0])]
        if len(better) >= self.keep:
            return None
        try:
            with TemporaryDirectory() as folder:
                model = Path(folder) / "model"
                model.mkdir()
                write(model)
                record = {"study": self._study.study_name, "trial": trial.number}
                (model / RECORD).write_text(json.dumps({**record, "values": list(scored)}))
                if (model / FILE).exists():
                    file = (model / FILE).rename(Path(folder) / FILE)
                    self._keep_predictions(trial, file, with_interval=values[0] == scored[0])
                return upload_artifact(
                    artifact_store=self._store,
                    file_path=str(_zipped(model, Path(folder) / MODEL)),
                    study_or_trial=trial,
                )
        except Exception as error:  # every store's client has its own
            log.warning("trial %d: its model is not kept: %s", trial.number, reason(error))
            return None

    def _keep_predictions(self, trial: optuna.Trial, file: Path, *, with_interval: bool) -> None:
        """Store the predictions for the validation items as an artifact of ``trial``."""
        from optuna.artifacts import upload_artifact

        artifact = upload_artifact(
            artifact_store=self._store, file_path=str(file), study_or_trial=trial
        )
        trial.set_user_attr(attributes.PREDICTIONS, artifact)
        interval = Predictions.read(file).interval
        if with_interval and interval is not None:  # the mean of repeats is another value
            trial.set_user_attr(attributes.INTERVAL, interval)

    def best(self, trials: list[FrozenTrial]) -> list[FrozenTrial]:
        """Of ``trials``, those whose models are kept, the best first."""
        return self._ranked(trials)[: self.keep]

    def sweep(self) -> None:
        """Remove the models of trials that are not among the best, or are so no longer."""
        # read once: between two readings a trial may end, and would lose its model however good
        trials = self._study.get_trials(deepcopy=False)
        best = {trial.number for trial in self.best(trials)}
        for trial in trials:
            if not trial.state.is_finished() or trial.number in best:
                continue
            for name in (attributes.ARTIFACT, attributes.PREDICTIONS):
                if artifact := trial.user_attrs.get(name):
                    self.remove(artifact)

    def remove(self, artifact: str) -> None:
        if artifact in self._gone:
            return
        self._gone.add(artifact)
        remove(self._store, artifact, "model")  # unless another worker was first

    def kept(self) -> list[FrozenTrial]:
        """The trials whose models should be here, the best first."""
        return self.best(self._study.get_trials(deepcopy=False))

    def fetch(self, trial: FrozenTrial, folder: Path) -> dict[str, Any]:
        """Unpack the model of ``trial`` into ``folder``; returns its record: trial and values.

        Raises:
            StudyError: it was not kept, or the store cannot be reached.
        """
        with TemporaryDirectory() as place:
            archive = Path(place) / MODEL
            self._download(trial, attributes.ARTIFACT, archive)
            folder.mkdir(parents=True, exist_ok=True)
            with zipfile.ZipFile(archive) as packed:
                packed.extractall(folder)
        record: dict[str, Any] = json.loads((folder / RECORD).read_text())
        return record

    def predictions(self, trial: FrozenTrial) -> Predictions:
        """What the model of ``trial`` predicts for the validation items.

        Raises:
            StudyError: they were not kept, or the store cannot be reached.
        """
        if trial.user_attrs.get(attributes.ARTIFACT) and not trial.user_attrs.get(
            attributes.PREDICTIONS
        ):
            raise StudyError(
                f"study {self._study.study_name!r}: no predictions were kept with the model of "
                f"trial {trial.number}"
            )
        with TemporaryDirectory() as place:
            file = Path(place) / FILE
            self._download(trial, attributes.PREDICTIONS, file)
            return Predictions.read(file)

    def _download(self, trial: FrozenTrial, attribute: str, file: Path) -> None:
        from optuna.artifacts import download_artifact
        from optuna.artifacts.exceptions import ArtifactNotFound

        artifact = trial.user_attrs.get(attribute)
        try:
            if not artifact:
                raise StudyError(self._not_kept(trial))
            download_artifact(artifact_store=self._store, artifact_id=artifact, file_path=str(file))
        except (ArtifactNotFound, FileNotFoundError) as error:
            if trial.number not in {other.number for other in self.kept()}:
                raise StudyError(self._not_kept(trial)) from error
            raise StudyError(
                f"study {self._study.study_name!r}: the model of trial {trial.number} was kept "
                "where its worker ran: copy that folder here and name it with --artifacts, or "
                "let study.toml name a bucket as [artifacts] store"
            ) from error
        except StudyError:
            raise
        except Exception as error:  # every store's client has its own
            raise StudyError(
                f"study {self._study.study_name!r}: the model of trial {trial.number} cannot "
                f"be fetched: {reason(error)}"
            ) from error

    def _not_kept(self, trial: FrozenTrial) -> str:
        kept = ", ".join(f"#{other.number}" for other in self.kept()) or "none"
        return (
            f"study {self._study.study_name!r}: the model of trial {trial.number} was not kept; "
            f"those of the best are: {kept}"
        )

    def _ranked(self, trials: list[FrozenTrial]) -> list[FrozenTrial]:
        """Of ``trials``, those that have ended well and whose model was kept, the best first.

        One that breaks a constraint is not among the best.
        """
        complete = [trial for trial in trials if counts(trial)]
        kept = [trial for trial in complete if trial.user_attrs.get(attributes.ARTIFACT)]
        maximize = self._study.directions[0] == StudyDirection.MAXIMIZE
        return sorted(kept, key=lambda trial: trial.values[0], reverse=maximize)


def _is_worse(study: optuna.Study, trial: FrozenTrial, value: float) -> bool:
    if study.directions[0] == StudyDirection.MAXIMIZE:
        return bool(trial.values[0] < value)
    return bool(trial.values[0] > value)


def _zipped(folder: Path, archive: Path) -> Path:
    """``folder`` as one file, uncompressed: weights hardly get smaller."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as packed:
        for file in sorted(folder.rglob("*")):
            packed.write(file, file.relative_to(folder))
    return archive
