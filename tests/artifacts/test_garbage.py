"""What killed workers left in the artifact store: found by name, removed, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from click.testing import Result
from optuna.artifacts import upload_artifact
from optuna.trial import TrialState

from hpo_job.artifacts.models import Models
from hpo_job.artifacts.stores import open_store
from hpo_job.storage.database import Storage
from hpo_job.trial import attributes
from tests.artifacts.test_models import finish
from tests.synthetic import SPEC
from tests.worker.attempts import Study

Cli = Callable[..., Result]


@pytest.mark.processes
def test_a_study_whose_workers_were_killed(tmp_path: Path, cli: Cli) -> None:
    study = Study(tmp_path, budget="trials = 1")
    study.end_at(6, "SIGKILL")
    study.run()
    lying = study.store / "somebody-elses"
    lying.write_text("not ours")
    arguments = ("gc", "quick", "--storage", study.url, "--artifacts", study.store)
    before = study.objects()
    assert cli(*arguments).stdout == f"0 files, 0 B, removed from {study.store}\n"
    assert study.objects() == before  # the trial will go on

    status = cli("status", "quick", "--storage", study.url).stdout
    assert "stored    " in status
    assert "of saved states, of 1 trial to go on" in status
    copies = {file: file.read_bytes() for file in study.store.iterdir()}
    assert study.run() == 0
    assert study.objects() == {lying.name}
    for file, content in copies.items():  # as where the worker was killed before it removed them
        file.write_bytes(content)
    dry = cli(*arguments, "--dry-run")
    assert dry.exit_code == 0, dry.output
    assert len(copies) == 3
    assert dry.stdout.splitlines()[-1].startswith("2 files, ")
    assert "would be removed from" in dry.stdout
    assert study.objects() == {file.name for file in copies}
    assert cli(*arguments).stdout == dry.stdout.replace("would be removed", "removed")
    assert study.objects() == {lying.name}

    results = cli("results", "quick", "--storage", study.url).stdout
    assert "(continues #0 after epoch 7)" in " ".join(results.split())
    facts = json.loads(cli("status", "quick", "--storage", study.url, "--format", "json").stdout)
    assert (facts["retries"]["resumed"], facts["retries"]["restarted"]) == (1, 0)
    assert facts["retries"]["saved_seconds"] > 0
    assert facts["retries"]["stored_bytes"] == 0
    line = "1 run again: 1 continued a saved state, 0 began anew; work saved "
    for command in ("status", "results"):
        text = " ".join(cli(command, "quick", "--storage", study.url).stdout.split())
        assert line in text
    assert cli("report", "quick", "--storage", study.url, "-o", tmp_path / "r.html").exit_code == 0
    assert line in (tmp_path / "r.html").read_text()


@pytest.mark.filterwarnings("ignore:Heartbeat of storage:UserWarning")
def test_models_that_were_uploaded_and_never_named(
    storage: Storage, database: str, tmp_path: Path, cli: Cli
) -> None:
    study = optuna.create_study(
        study_name="synthetic", storage=storage.optuna, direction="maximize"
    )
    study.set_user_attr(attributes.SPEC, {**SPEC, "artifacts": {"keep": 2}})
    place = tmp_path / "store"
    models = Models(study, open_store(str(place)), keep=2)
    kept = {finish(models, study, value) for value in (0.5, 0.7)}
    lost, running = study.ask(), study.ask()
    file = tmp_path / "model.zip"
    file.write_bytes(b"a model")
    for trial in (lost, running):  # killed before it was named; and not killed yet
        upload_artifact(
            artifact_store=open_store(str(place)), file_path=str(file), study_or_trial=trial
        )
    own = tmp_path / "notes.txt"
    own.write_text("the user's")
    upload_artifact(artifact_store=open_store(str(place)), file_path=str(own), study_or_trial=lost)
    study.tell(lost, state=TrialState.FAIL)
    assert len(list(place.iterdir())) == 5
    common = ("gc", "synthetic", "--storage", database, "--artifacts", place)
    facts = json.loads(cli(*common, "--dry-run", "--format", "json").stdout)
    assert facts["store"] == str(place)
    (orphan,) = facts["files"]
    assert (orphan["trial"], orphan["kind"], orphan["size"]) == (lost.number, "model", 7)
    assert len(list(place.iterdir())) == 5
    result = cli(*common)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[0].split()[:3] == ["trial", str(lost.number), "model"]
    assert len(list(place.iterdir())) == 4
    assert kept <= {each.name for each in place.iterdir()}
    again = cli("gc", "synthetic", "--storage", database, "--artifacts", place)
    assert again.stdout == f"0 files, 0 B, removed from {place}\n"
