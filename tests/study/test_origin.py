"""The job folder that a study came from, and the parameters that it goes on with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from hpo_job.artifacts.export import export
from hpo_job.errors import StudyError
from hpo_job.spec.study_toml import restore
from hpo_job.storage.database import Storage
from hpo_job.study.origin import job_of
from hpo_job.trial import attributes
from tests.quick import Quick


def test_a_folder_of_another_study_is_refused(tmp_path: Path, job: Callable[..., Path]) -> None:
    quick = Quick(tmp_path)
    assert job_of(quick.study, str(quick.job)).stored() == quick.checked.spec.stored()
    other = job(name="other")
    with pytest.raises(StudyError) as error:
        job_of(quick.study, str(other))
    assert str(error.value) == f"study 'quick' was not created from {other / 'study.toml'}"


def test_a_spec_that_somebody_else_stored_is_one_line(tmp_path: Path) -> None:
    quick = Quick(tmp_path)
    storage: Storage = quick.storage
    study_id = storage.study_id("quick")
    for stored in ("theirs", {"name": 3}):
        storage.optuna.set_study_user_attr(study_id, attributes.SPEC, stored)
        with pytest.raises(ValueError, match=r"a stored spec is a table|validation error"):
            restore(stored)  # type: ignore[arg-type]
        with pytest.raises(StudyError) as error:
            export(quick.study, str(tmp_path / "artifacts"), tmp_path / "best")
        assert str(error.value) == (
            "study 'quick': this version of hpo-job cannot read its stored spec"
        )
    assert not (tmp_path / "best").exists()
