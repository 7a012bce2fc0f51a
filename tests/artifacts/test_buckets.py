"""Models and saved states in a bucket of a real S3 server, through the real client and command."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import optuna
import pytest
from click.testing import Result
from moto.server import ThreadedMotoServer

from hpo_job.artifacts.models import Models
from hpo_job.artifacts.stores import open_store, writable_store
from hpo_job.errors import SpecError, StudyError
from hpo_job.study.attempts import checkpoints, object_names
from hpo_job.trial import attributes
from tests import ROOT
from tests.artifacts.test_models import REMEDY, finish
from tests.quick import Quick, command
from tests.worker.attempts import Study, undisturbed

pytestmark = pytest.mark.web

JOB = ROOT / "jobs" / "penguins-species"
Cli = Callable[..., Result]
NOWHERE = "http://127.0.0.1:9"  # nobody listens there


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The URL of an S3 server, empty but for the bucket ``models``."""
    # It runs in this process, whose log is the log of the trials here
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    running = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    yield f"http://{host}:{port}"
    running.stop()


@pytest.fixture
def s3(server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """A client of the server, as the environment tells boto3 of it; no bucket but ``models``."""
    for name, value in {
        "AWS_ENDPOINT_URL": server,
        "AWS_ACCESS_KEY_ID": "anyone",
        "AWS_SECRET_ACCESS_KEY": "anything",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_MAX_ATTEMPTS": "1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": str(tmp_path / "none"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
    }.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3")
    client.create_bucket(Bucket="models")
    for name in stored(client):
        client.delete_object(Bucket="models", Key=name)
    return client


def stored(client: Any) -> set[str]:
    """The names of all that is in the bucket."""
    return {each["Key"] for each in client.list_objects_v2(Bucket="models").get("Contents", [])}


@pytest.fixture
def study() -> optuna.Study:
    return optuna.create_study(study_name="kept", direction="maximize")


def test_the_best_are_kept_and_the_others_removed(
    s3: Any, study: optuna.Study, tmp_path: Path
) -> None:
    models = Models(study, writable_store("s3://models"), keep=2)
    assert not stored(s3)  # of the store's trial nothing stays
    artifacts = [finish(models, study, value) for value in (0.5, 0.3, 0.1, 0.7, 0.6)]
    assert stored(s3) == {artifacts[3], artifacts[4]}
    assert models.fetch(study.trials[3], tmp_path / "out")["trial"] == 3
    assert (tmp_path / "out" / "weights").read_text() == "0.7"
    with pytest.raises(StudyError, match=r"trial 0 was not kept; those of the best are: #3, #4$"):
        models.fetch(study.trials[0], tmp_path / "other")


@pytest.mark.usefixtures("s3")
def test_a_bucket_that_does_not_exist_is_told_before_the_first_trial() -> None:
    with pytest.raises(SpecError) as raised:
        writable_store("s3://modles")
    line = str(raised.value)
    assert line.startswith("artifacts: s3://modles: cannot be written to: NoSuchBucket: ")
    assert line.endswith(REMEDY)


@pytest.mark.usefixtures("s3")
def test_so_are_credentials_that_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)  # it remembers them
    with pytest.raises(SpecError, match="cannot be written to: NoCredentialsError: Unable to loc"):
        writable_store("s3://models")


@pytest.mark.usefixtures("s3")
def test_a_server_that_is_away_stops_no_worker_but_an_export(
    study: optuna.Study,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    finish(Models(study, open_store("s3://models"), keep=1), study, 0.5)
    monkeypatch.setenv("AWS_ENDPOINT_URL", NOWHERE)
    with caplog.at_level(logging.WARNING):
        models = Models(study, writable_store("s3://models"), keep=1)
    assert "artifacts: s3://models: cannot be written to: EndpointConnectionError" in caplog.text
    with pytest.raises(StudyError, match=r"of trial 0 cannot be fetched: EndpointConnectionErr"):
        models.fetch(study.trials[0], tmp_path / "out")
    assert finish(models, study, 0.6) is None
    assert "trial 1: its model is not kept: EndpointConnectionError" in caplog.text


@pytest.mark.fastai
def test_a_study_through_the_command(s3: Any, cli: Callable[..., Result], tmp_path: Path) -> None:
    job = tmp_path / "penguins"
    shutil.copytree(JOB, job)
    text = (job / "study.toml").read_text().replace("trials = 12", "trials = 3")
    text = text.replace("high = 10", "high = 3").replace("epochs = 5", "epochs = 2")
    (job / "study.toml").write_text(f'{text}\n[artifacts]\nkeep = 2\nstore = "s3://models"\n')
    ran = cli("worker", job)
    assert ran.exit_code == 0, ran.output
    assert len(stored(s3)) == 4  # two models, each with its predictions
    assert not (tmp_path / ".hpo" / "artifacts").exists()

    exported = cli("export", "penguins-species", "-o", "best")
    assert exported.exit_code == 0, exported.output
    output = cli("best", "penguins-species", "--format", "json")
    value = json.loads(output.stdout)[0]["values"]["f1_macro"]
    assert exported.stdout.endswith(f"f1_macro {value:.4f}\n")
    predicted = cli("predict", "best", job / "penguins.csv", "--format", "csv")
    assert predicted.exit_code == 0, predicted.output
    assert predicted.stdout.count("\n") == 345  # a header, and a row for each penguin


def test_the_log_of_a_trial_is_in_the_bucket(s3: Any, tmp_path: Path, cli: Cli) -> None:
    source = """
    def train(trial, context):
        print("hello from", trial.number)
        return 1.0
    """
    quick = Quick(tmp_path, source, budget="trials = 1", more='[artifacts]\nstore = "s3://models"')
    quick.work()
    printed = cli("logs", "quick", "--trial", "0", "--storage", quick.url)
    assert printed.stdout == "hello from 0\n"
    assert len(stored(s3)) == 1
    assert cli("delete", "quick", "--yes", "--storage", quick.url).exit_code == 0
    assert stored(s3) == set()


@pytest.mark.processes
def test_killed_workers_go_on_from_states_in_the_bucket(
    s3: Any, cli: Callable[..., Result], tmp_path: Path
) -> None:
    """The real command, killed at once, asked to stop, and killed again; then what gc removes."""
    more = '[checkpoint]\nevery = 1e-9\n[artifacts]\nstore = "s3://models"\n'
    study = Study(tmp_path, budget="trials = 1", more=more)
    ends = {3: "SIGKILL", 8: "SIGTERM", 13: "SIGKILL"}
    states: dict[str, bytes] = {}

    def of_trials() -> set[str]:  # their logs are in the bucket, too
        return stored(s3) & {name for trial in study.trials for name in object_names(trial)}

    for epoch, number in ends.items():
        study.end_at(epoch, number)
        worker = command("worker", study.job, "--storage", study.url)
        _, errors = worker.communicate(timeout=120)
        assert worker.returncode == {"SIGKILL": -9, "SIGTERM": 143}[number], errors
        names = of_trials()
        assert 2 <= len(names) <= 3  # the newest, the one before, and one being written
        bodies = {name: s3.get_object(Bucket="models", Key=name)["Body"] for name in names}
        states |= {name: body.read() for name, body in bodies.items()}
    # the newest of the last attempt was cut short on its way: the one before is continued
    newest = checkpoints(study.trials[-1])[0].name
    s3.put_object(Bucket="models", Key=newest, Body=states[newest][:100])
    worker = command("worker", study.job, "--storage", study.url)
    assert worker.communicate(timeout=120)[0] == ""
    assert worker.returncode == 0
    *_, last = study.trials
    assert [trial.state.name for trial in study.trials] == ["FAIL", "FAIL", "FAIL", "COMPLETE"]
    assert last.value == undisturbed(last.params["x"])
    trained = [[0, 4], [1, 9], [2, 14], [3, 20]]
    for attempt, end in trained:
        assert [attempt, end - 1] in study.epochs()
        assert [attempt, end] not in study.epochs()
    assert [trial.user_attrs.get(attributes.RESUMED_AT) for trial in study.trials] == [
        None,
        4,
        9,
        13,
    ]
    assert of_trials() == set()

    for name, content in states.items():  # as where a worker was killed before it removed them
        s3.put_object(Bucket="models", Key=name, Body=content)
    s3.put_object(Bucket="models", Key="somebody-elses", Body=b"not ours")
    removed = cli("gc", "quick", "--storage", study.url)
    assert removed.exit_code == 0, removed.output
    assert removed.stdout.splitlines()[-1].endswith(" removed from s3://models")
    assert of_trials() == set()
    assert "somebody-elses" in stored(s3)
