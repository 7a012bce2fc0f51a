"""Models and saved states in a bucket of Google Cloud Storage: its client, and an emulator."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import optuna
import pytest
from click.testing import Result
from gcp_storage_emulator.server import create_server
from google.api_core.exceptions import NotFound
from google.cloud import storage

from hpo_job.artifacts.models import Models
from hpo_job.artifacts.stores import is_missing, remove, size, writable_store
from hpo_job.errors import SpecError
from hpo_job.study.attempts import checkpoints, object_names
from hpo_job.trial import attributes
from tests.artifacts.test_models import REMEDY, finish
from tests.quick import command
from tests.worker.attempts import Study, undisturbed

pytestmark = pytest.mark.web

BUCKET = "gs://models"


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The bucket ``models`` of an emulator, as the environment tells Google's client of it."""
    server = create_server("127.0.0.1", 0, in_memory=True)
    server.start()
    port = server._api._httpd.server_address[1]
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{port}")
    yield storage.Client(project="any").create_bucket("models")
    server.stop()


def stored(bucket: Any) -> set[str]:
    """The names of all that is in the bucket."""
    return {blob.name for blob in bucket.list_blobs()}


def test_the_best_are_kept_and_the_others_removed(bucket: Any, tmp_path: Path) -> None:
    study = optuna.create_study(study_name="kept", direction="maximize")
    models = Models(study, writable_store(BUCKET), keep=2)
    assert not stored(bucket)  # of the store's trial nothing stays
    artifacts = [finish(models, study, value) for value in (0.5, 0.3, 0.1, 0.7, 0.6)]
    assert stored(bucket) == {artifacts[3], artifacts[4]}
    assert models.fetch(study.trials[3], tmp_path / "out")["trial"] == 3


@pytest.mark.usefixtures("bucket")
def test_an_object_that_is_not_there_is_known_as_such(caplog: pytest.LogCaptureFixture) -> None:
    store = writable_store(BUCKET)
    store.write("there", BytesIO(b"12345"))
    assert (size(BUCKET, "there"), size(BUCKET, "elsewhere")) == (5, None)
    with pytest.raises(NotFound) as error:
        store.remove("elsewhere")
    assert is_missing(error.value)
    remove(store, "elsewhere", "model")
    assert caplog.text == ""


@pytest.mark.usefixtures("bucket")
def test_a_bucket_that_does_not_exist_is_an_error_before_the_first_trial() -> None:
    with pytest.raises(SpecError) as error:
        writable_store("gs://modles")
    line = str(error.value)
    assert line.startswith("artifacts: gs://modles: cannot be written to: NotFound: 404 ")
    assert line.endswith(REMEDY)


@pytest.mark.processes
def test_a_killed_worker_goes_on_from_a_state_in_the_bucket(
    bucket: Any, cli: Callable[..., Result], tmp_path: Path
) -> None:
    """The newest state was cut short on its way; then gc removes what the killed one has left."""
    more = f'[checkpoint]\nevery = 1e-9\n[artifacts]\nstore = "{BUCKET}"\n'
    study = Study(tmp_path, budget="trials = 1", more=more)
    study.end_at(5, "SIGKILL")
    worker = command("worker", study.job, "--storage", study.url)
    _, errors = worker.communicate(timeout=120)
    assert worker.returncode == -9, errors
    newest = checkpoints(study.trials[0])[0].name
    content = bucket.blob(newest).download_as_bytes()
    bucket.blob(newest).upload_from_string(content[:100])
    worker = command("worker", study.job, "--storage", study.url)
    assert worker.communicate(timeout=120)[0] == ""
    assert worker.returncode == 0
    last = study.trials[-1]
    assert last.value == undisturbed(last.params["x"])
    assert last.user_attrs[attributes.RESUMED_AT] == 5

    def left() -> set[str]:  # the logs of trials stay
        return stored(bucket) & {name for trial in study.trials for name in object_names(trial)}

    assert left() == set()
    bucket.blob(newest).upload_from_string(content)
    removed = cli("gc", "quick", "--storage", study.url)
    assert removed.exit_code == 0, removed.output
    assert removed.stdout.splitlines()[-1].endswith(f" removed from {BUCKET}")
    assert left() == set()
