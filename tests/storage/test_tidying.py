"""Studies listed, renamed, copied, imported and deleted with their models, on every database."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from click.testing import Result

from hpo_job.artifacts.tidying import COPYING, copy_study
from hpo_job.storage.database import Storage
from hpo_job.study.joining import load
from tests.quick import Quick, command

Cli = Callable[..., Result]
pytestmark = [
    pytest.mark.studies,
    pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning"),
    # a worker's process ends with its connection open
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def study_with_models(folder: Path, url: str, count: int = 3) -> list[str]:
    """A study called quick with so many trials, each with an artifact; their ids."""
    quick = Quick(folder, url=url)
    store = optuna.artifacts.FileSystemArtifactStore(folder / "models")
    (folder / "models").mkdir()
    (folder / "weights.bin").write_bytes(b"w" * 2048)
    ids = []
    for number in range(count):
        trial = quick.start()
        trial.suggest_float("x", -5, 5)
        ids.append(
            optuna.artifacts.upload_artifact(
                artifact_store=store, file_path=str(folder / "weights.bin"), study_or_trial=trial
            )
        )
        trial.set_user_attr("artifact_id", ids[-1])
        quick.study.tell(trial, float(number))
    quick.storage.close()
    return ids


def trials(url: str, name: str) -> list[optuna.trial.FrozenTrial]:
    storage = Storage(url)
    copies = load(name, storage).get_trials()
    storage.close()
    return copies


def test_a_study_is_listed_renamed_copied_and_deleted(
    cli: Cli, any_url: str, tmp_path: Path
) -> None:
    ids = study_with_models(tmp_path, any_url)
    common = ["--storage", any_url]
    models = ["--artifacts", tmp_path / "models", *common]

    listed = json.loads(cli("list", "--format", "json", *models).stdout)
    assert [(row["study"], row["evaluated"], row["budget"]) for row in listed] == [("quick", 3, 6)]
    assert (listed[0]["best"], listed[0]["models"]) == (0.0, 3 * 2048)
    table = cli("list", *models).stdout
    assert "quick  3 of 6" in table
    assert "6.0 KiB" in table
    assert max(map(len, table.splitlines())) <= 80

    before = trials(any_url, "quick")
    renamed = cli("rename", "quick", "slow", *common)
    assert renamed.exit_code == 0, renamed.output
    assert trials(any_url, "slow") == before
    assert "unknown study 'quick'" in cli("results", "quick", *common).stderr

    copied = cli("copy", "slow", "twin", *models)
    assert copied.exit_code == 0, copied.output
    assert "copied slow to twin" in copied.stdout
    twins = trials(any_url, "twin")
    assert [(t.number, t.state, t.values, t.params) for t in twins] == [
        (t.number, t.state, t.values, t.params) for t in before
    ]
    assert [t.datetime_complete for t in twins] == [t.datetime_complete for t in before]
    assert len([*(tmp_path / "models").iterdir()]) == 6

    asked = cli("delete", "slow", *models)
    assert asked.exit_code == 2
    assert "3 trials, models: 6.0 KiB? add --yes" in asked.stderr
    deleted = cli("delete", "slow", "--yes", *models)
    assert deleted.exit_code == 0, deleted.output
    assert "deleted slow: 3 trials, 6.0 KiB of models" in deleted.stdout
    left = {str(t.user_attrs["artifact_id"]) for t in trials(any_url, "twin")}
    assert left == {file.name for file in (tmp_path / "models").iterdir()}  # the copy's own
    assert not left & {*ids}


def test_a_renamed_and_a_copied_study_go_on(cli: Cli, any_url: str, tmp_path: Path) -> None:
    study_with_models(tmp_path, any_url)
    cli("copy", "quick", "twin", "--storage", any_url)
    cli("rename", "quick", "slow", "--storage", any_url)
    toml = tmp_path / "quick" / "study.toml"
    for name in ("slow", "twin"):
        toml.write_text(
            toml.read_text().replace(f'"{"quick" if name == "slow" else "slow"}"', f'"{name}"')
        )
        ran = cli("worker", "quick", "--storage", any_url)
        assert ran.exit_code == 0, ran.output
        assert len(trials(any_url, name)) == 6


def test_names_that_are_taken_or_none(cli: Cli, any_url: str, tmp_path: Path) -> None:
    study_with_models(tmp_path, any_url, count=1)
    cli("copy", "quick", "twin", "--storage", any_url)
    for verb in ("rename", "copy"):
        taken = cli(verb, "quick", "twin", "--storage", any_url)
        assert taken.exit_code == 2
        assert "there is a study 'twin' already; use another name" in taken.stderr
        wrong = cli(verb, "quick", "No Name", "--storage", any_url)
        assert "'No Name' is no name for a study" in wrong.stderr
    assert len(trials(any_url, "quick")) == 1


@pytest.mark.processes
def test_nothing_is_tidied_while_a_trial_runs(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/running.db"
    quick = Quick(tmp_path, url=url)
    quick.start()  # by this process, which lives
    commands = (["delete", "quick", "--yes"], ["rename", "quick", "slow"], ["copy", "quick", "b"])
    started = [command(*each, "--storage", url) for each in commands]
    for process in started:
        refusal = process.communicate()[1]
        assert process.returncode == 2
        assert "study 'quick': #0 runs; stop its workers first" in refusal
    assert len(trials(url, "quick")) == 1


def test_a_copy_that_was_broken_off_is_made_anew(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/any.db"
    study_with_models(tmp_path, url)
    storage = Storage(url)
    optuna.create_study(study_name=f"twin{COPYING}", storage=storage.optuna)
    done = copy_study(load("quick", storage), storage, storage, "twin", str(tmp_path / "models"))
    assert (done.trials, done.models) == (3, 3)
    assert sorted(optuna.get_all_study_names(storage.optuna)) == ["quick", "twin"]
    storage.close()


# Studies of plain Optuna


def plain_study(url: str, name: str = "old", step: float | None = None) -> None:
    """A study as a user of Optuna has one."""
    study = optuna.create_study(study_name=name, storage=url, direction="minimize")
    study.set_user_attr("remark", "mine")

    def objective(trial: optuna.Trial) -> float:
        return trial.suggest_float("x", -9, 9, step=step) ** 2

    study.optimize(objective, n_trials=4)


def test_a_plain_study_is_imported_and_goes_on(cli: Cli, any_url: str, tmp_path: Path) -> None:
    plain_study(f"sqlite:///{tmp_path}/theirs.db")
    imported = cli(
        *("import", "old", "--from", f"sqlite:///{tmp_path}/theirs.db", "--as", "quick"),
        *("--storage", any_url),
    )
    assert imported.exit_code == 0, imported.output
    assert "imported 4 trials as quick into" in imported.stdout
    assert len(cli("results", "quick", "--storage", any_url).stdout.splitlines()) >= 5
    Quick(tmp_path / "job", url=f"sqlite:///{tmp_path}/unused.db")
    ran = cli("worker", tmp_path / "job" / "quick", "--storage", any_url)
    assert ran.exit_code == 0, ran.output
    assert len(trials(any_url, "quick")) == 6  # of a budget of 6, 4 were there
    storage = Storage(any_url)
    assert load("quick", storage).user_attrs["remark"] == "mine"
    storage.close()


@pytest.mark.parametrize(
    ("space", "problem"),
    [
        ('x = { type = "int", low = 0, high = 3 }', "search_space.x: the imported study 'quick'"),
        ('x = { type = "float", low = 1, high = 3, log = true }', "search_space.x"),
        ("x = 3.0", "searched in it, fixed here"),
        ('y = { type = "float", low = 0, high = 3 }', "search_space.x: the imported study"),
    ],
)
def test_a_study_toml_that_the_trials_do_not_fit(
    cli: Cli, database: str, tmp_path: Path, space: str, problem: str
) -> None:
    plain_study(f"sqlite:///{tmp_path}/theirs.db", "quick")
    cli("import", "quick", "--from", f"sqlite:///{tmp_path}/theirs.db", "--storage", database)
    Quick(tmp_path, url=f"sqlite:///{tmp_path}/unused.db", space=f"[search_space]\n{space}")
    refused = cli("worker", tmp_path / "quick", "--storage", database)
    assert refused.exit_code == 2
    assert problem in refused.stderr
    assert "change it here, or change name to start another study" in refused.stderr
    assert len(trials(database, "quick")) == 4


def test_starts_from_another_database(cli: Cli, database: str, tmp_path: Path) -> None:
    plain_study(f"sqlite:///{tmp_path}/theirs.db")
    quick = Quick(tmp_path, url=database)
    theirs = ["--from", "old", "--from-storage", f"sqlite:///{tmp_path}/theirs.db"]
    done = cli("enqueue", "quick", *theirs, "--storage", database)
    assert done.exit_code == 0, done.output
    assert "enqueued in quick: #" in done.stdout
    assert quick.states() == {"WAITING": 1}
    alone = cli("enqueue", "quick", *theirs[2:], "--storage", database)
    assert "--from-storage: name the study in it with --from" in alone.stderr


def test_a_study_moves_to_a_database_of_another_kind(
    cli: Cli, any_url: str, tmp_path: Path
) -> None:
    study_with_models(tmp_path, f"sqlite:///{tmp_path}/file.db")
    moved = cli(
        *("copy", "quick", "quick", "--storage", f"sqlite:///{tmp_path}/file.db"),
        *("--to", any_url, "--artifacts", tmp_path / "models"),
    )
    assert moved.exit_code == 0, moved.output
    ran = cli("worker", "quick", "--storage", any_url)
    assert ran.exit_code == 0, ran.output
    assert len(trials(any_url, "quick")) == 6


def test_what_takes_up_space(cli: Cli, database: str, tmp_path: Path) -> None:
    study_with_models(tmp_path, database)
    options = ["--storage", database, "--artifacts", tmp_path / "models"]
    rows = json.loads(cli("du", "--format", "json", *options).stdout)
    sizes = {row["kind"]: row["bytes"] for row in rows}
    file = Path(database.removeprefix("sqlite:///"))
    assert sizes == {
        "models": 3 * 2048,
        "weights": 0,
        "cache": 0,
        "database": file.stat().st_size,
    }
    assert "6.0 KiB  models    quick" in cli("du", *options).stdout


def test_an_empty_database_has_no_studies(cli: Cli, storage: Storage, database: str) -> None:
    assert (
        "no studies yet; start one with hpo-job run JOB"
        in cli("list", "--storage", database).stdout
    )
