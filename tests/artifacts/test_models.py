"""The best trials' models: kept, swept and fetched, in a folder as in a bucket."""

from __future__ import annotations

import logging
from pathlib import Path

import optuna
import pytest

from hpo_job.artifacts.models import Models
from hpo_job.artifacts.stores import open_store, writable_store
from hpo_job.errors import SpecError, StudyError
from hpo_job.trial import attributes

# How the error ends where a store refuses to be written to
REMEDY = "; name another place with [artifacts] store or --artifacts, or set keep = 0"


@pytest.fixture
def study() -> optuna.Study:
    return optuna.create_study(study_name="kept", direction="maximize")


def finish(models: Models, study: optuna.Study, value: float) -> str | None:
    """A trial with this value, as a worker ends it."""
    trial = study.ask()
    artifact = models.offer(
        trial, [value], [value], lambda folder: _write(folder / "weights", str(value))
    )
    trial.set_user_attr(attributes.ARTIFACT, artifact)
    study.tell(trial, value)
    models.sweep()
    return artifact


def _write(file: Path, text: str) -> None:
    file.write_text(text)


def test_the_best_are_kept_and_the_others_removed(study: optuna.Study, tmp_path: Path) -> None:
    models = Models(study, open_store(str(tmp_path / "store")), keep=2)
    stored = [finish(models, study, value) for value in (0.5, 0.3, 0.1, 0.7, 0.6, 0.2)]
    assert [artifact is not None for artifact in stored] == [True, True, False, True, True, False]
    assert [trial.number for trial in models.kept()] == [3, 4]
    assert {file.name for file in (tmp_path / "store").iterdir()} == {stored[3], stored[4]}


def test_a_trial_without_a_model_takes_no_place(study: optuna.Study, tmp_path: Path) -> None:
    """Its upload failed, or it ran while none was kept."""
    models = Models(study, open_store(str(tmp_path)), keep=1)
    finish(models, study, 0.5)
    study.tell(study.ask(), 0.9)
    models.sweep()
    assert [trial.number for trial in models.kept()] == [0]
    assert len(list(tmp_path.iterdir())) == 1
    assert finish(models, study, 0.7)
    assert [trial.number for trial in models.kept()] == [2]


def test_a_better_model_that_comes_during_a_sweep_stays(
    study: optuna.Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = Models(study, open_store(str(tmp_path)), keep=1)
    finish(models, study, 0.5)
    better, read = study.ask(), study.get_trials
    artifact = models.offer(better, [0.9], [0.9], lambda folder: _write(folder / "weights", "0.9"))
    better.set_user_attr(attributes.ARTIFACT, artifact)

    def read_and_go_on(*args: object, **named: object) -> list[optuna.trial.FrozenTrial]:
        trials = read(*args, **named)  # type: ignore[arg-type]
        monkeypatch.undo()
        study.tell(better, 0.9)
        return trials

    monkeypatch.setattr(study, "get_trials", read_and_go_on)
    models.sweep()
    assert (tmp_path / str(artifact)).exists()


def test_a_trial_that_breaks_a_constraint_is_not_among_the_best(
    study: optuna.Study, tmp_path: Path
) -> None:
    models = Models(study, open_store(str(tmp_path)), keep=1)
    finish(models, study, 0.5)
    heavy = study.ask()
    heavy.set_constraint("too slow", 1.0)
    artifact = models.offer(heavy, [0.9], [0.9], lambda folder: _write(folder / "weights", "0.9"))
    heavy.set_user_attr(attributes.ARTIFACT, artifact)
    study.tell(heavy, 0.9)
    models.sweep()
    assert [trial.number for trial in models.kept()] == [0]
    assert not (tmp_path / str(artifact)).exists()


def test_a_model_that_cannot_be_removed_is_told(
    study: optuna.Study,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A volume that has become read-only fills up otherwise, and nobody knows why."""
    store = open_store(str(tmp_path))
    models = Models(study, store, keep=1)
    first = finish(models, study, 0.5)

    def refuse(artifact: str) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(store, "remove", refuse)
    finish(models, study, 0.6)
    assert f"model {first} cannot be removed: OSError" in caplog.text


def test_lower_is_better_where_the_study_minimizes(tmp_path: Path) -> None:
    study = optuna.create_study(direction="minimize")
    models = Models(study, open_store(str(tmp_path)), keep=1)
    for value in (0.5, 0.3, 0.4):
        finish(models, study, value)
    assert [trial.number for trial in models.kept()] == [1]


def test_a_model_comes_back_as_it_was_written(study: optuna.Study, tmp_path: Path) -> None:
    models = Models(study, open_store(str(tmp_path / "store")), keep=1)
    finish(models, study, 0.5)
    record = models.fetch(study.trials[0], tmp_path / "out")
    assert record == {"study": "kept", "trial": 0, "values": [0.5]}
    assert (tmp_path / "out" / "weights").read_text() == "0.5"


def test_a_model_that_is_gone_is_one_line(study: optuna.Study, tmp_path: Path) -> None:
    models = Models(study, open_store(str(tmp_path / "store")), keep=1)
    finish(models, study, 0.5)
    finish(models, study, 0.9)
    with pytest.raises(StudyError, match=r"trial 0 was not kept; those of the best are: #1$"):
        models.fetch(study.trials[0], tmp_path / "out")


def test_a_model_that_another_machine_kept_is_one_line(study: optuna.Study, tmp_path: Path) -> None:
    """As a pod keeps it in its own /cache, when nothing else is said."""
    finish(Models(study, open_store(str(tmp_path / "there")), keep=1), study, 0.5)
    here = Models(study, open_store(str(tmp_path / "here")), keep=1)
    with pytest.raises(StudyError, match=r"trial 0 was kept where its worker ran: .*--artifacts"):
        here.fetch(study.trials[0], tmp_path / "out")


def test_a_model_of_a_trial_that_did_not_end_well_is_swept(
    study: optuna.Study, tmp_path: Path
) -> None:
    models = Models(study, open_store(str(tmp_path)), keep=3)
    trial = study.ask()
    artifact = models.offer(trial, [0.9], [0.9], lambda folder: _write(folder / "weights", "x"))
    trial.set_user_attr(attributes.ARTIFACT, artifact)
    study.tell(trial, state=optuna.trial.TrialState.FAIL)
    assert list(tmp_path.iterdir())
    models.sweep()
    assert not list(tmp_path.iterdir())


def test_a_model_that_cannot_be_written_costs_no_trial(
    study: optuna.Study, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def full(folder: Path) -> None:
        raise OSError(28, "No space left on device")

    models = Models(study, open_store(str(tmp_path)), keep=3)
    trial = study.ask()
    with caplog.at_level(logging.WARNING):
        assert models.offer(trial, [0.9], [0.9], full) is None
    assert "trial 0: its model is not kept: OSError" in caplog.text


def test_a_bucket_with_a_path_is_refused() -> None:
    with pytest.raises(SpecError, match=r"^artifacts: s3://models/mine: should be a bucket only"):
        open_store("s3://models/mine")


@pytest.mark.parametrize("place", ["http://models", "gcs://models", "S4://models"])
def test_a_place_of_another_kind_is_no_folder(place: str) -> None:
    with pytest.raises(SpecError, match=r": should be a folder, s3://bucket or gs://bucket$"):
        open_store(place)


def test_a_folder_that_cannot_be_one_is_told_before_the_first_trial(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SpecError, match=r"^artifacts: .*/file/models: NotADirectoryError: "):
        writable_store(str(tmp_path / "file" / "models"))


def test_a_place_is_tried_and_left_as_it_was(tmp_path: Path) -> None:
    writable_store(f"file://{tmp_path}/models")
    assert list(tmp_path.iterdir()) == [tmp_path / "models"]
    assert not list((tmp_path / "models").iterdir())
