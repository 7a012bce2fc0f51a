"""A study: created once by whoever comes first, joined by the rest, and what is kept with it."""

from __future__ import annotations

import hashlib
import multiprocessing
import pickle
import platform
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any, Literal

import optuna
import pytest
from click.testing import Result
from optuna.trial import TrialState

from hpo_job import objectives
from hpo_job.data.digests import fingerprint
from hpo_job.errors import SpecError, StudyError
from hpo_job.spec.reading import read_spec
from hpo_job.spec.search_space import suggest
from hpo_job.spec.study_toml import restore
from hpo_job.storage.database import Storage
from hpo_job.study import joining as studies
from hpo_job.study.admission import admit
from hpo_job.study.checking import Checked, check
from hpo_job.study.optuna_private import fixed_params
from hpo_job.trial import attributes
from tests.conftest import QUADRATIC
from tests.quick import Quick

Job = Callable[..., Path]
Refused = Callable[..., str]
Cli = Callable[..., Result]
FLOAT = {"type": "float", "low": 0.0, "high": 1.0}


def checked(folder: Path) -> Checked:
    return check(read_spec(folder), folder / "weights")


def next_params(study: optuna.Study, folder: Path, storage: Storage) -> dict[str, Any]:
    """What the objective of the next trial is given."""
    spec = read_spec(folder)
    trial = admit(study, spec, storage)
    assert isinstance(trial, optuna.Trial)
    params = suggest(trial, spec.search_space)
    study.tell(trial, 0.0)
    return params


def test_check_writes_nothing(job: Job, cli: Cli, tmp_path: Path) -> None:
    assert cli("check", job()).exit_code == 0
    assert not (tmp_path / ".hpo").exists()


def test_a_study_by_its_folder_and_by_the_folders_name(
    job: Job, cli: Cli, tmp_path: Path, storage: Storage
) -> None:
    """As with JOB, also under jobs/; a study that is called so goes before."""
    folder = job(name="other", folder="jobs/mine")
    studies.create(checked(folder), storage)
    for word in ("other", "jobs/mine", str(folder), "mine"):
        assert studies.named(word, storage) == "other"
    assert studies.named("neither", storage) == "neither"
    studies.create(checked(job(name="mine", folder="another")), storage)
    assert studies.named("mine", storage) == "mine"


def test_create_stores_the_spec(job: Job, storage: Storage) -> None:
    folder = job(enqueue=[{"x": 0.5}])
    study = studies.create(checked(folder), storage)
    stored = studies.load("quadratic", storage)
    assert stored.user_attrs["spec"] == read_spec(folder).stored()
    assert restore(stored.user_attrs["spec"]).search_space == read_spec(folder).search_space
    assert stored.directions == study.directions == [optuna.study.StudyDirection.MINIMIZE]
    assert len(stored.trials) == 1


def test_create_stores_the_baseline(image_job: Job, storage: Storage) -> None:
    study = studies.create(checked(image_job()), storage)
    assert study.user_attrs["baseline"] == 0.6  # 3 cats and 2 dogs held out


def test_a_function_has_no_baseline(job: Job, storage: Storage) -> None:
    assert "baseline" not in studies.create(checked(job()), storage).user_attrs


def test_create_stores_where_the_study_comes_from(
    image_job: Job, image_folder: Path, storage: Storage
) -> None:
    study = studies.create(checked(image_job(seed=11)), storage)
    provenance = study.user_attrs["provenance"]
    assert provenance["seed"] == 11
    assert provenance["data_fingerprint"] == fingerprint(image_folder)
    assert provenance["versions"]["python"] == platform.python_version()
    assert provenance["versions"]["optuna"] == metadata.version("optuna")
    assert provenance["versions"]["hpo-job"] == metadata.version("hpo-job")


def _git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    done = subprocess.run(
        ["git", "-C", folder, *identity, *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.mark.needs("git")
def test_git_revision(job: Job, storage: Storage) -> None:
    folder = job()
    _git(folder, "init", "--quiet")
    _git(folder, "add", "study.toml", "objective.py")
    _git(folder, "commit", "--quiet", "--message", "first")
    (folder / ".git" / "info" / "exclude").write_text("__pycache__\n")
    study = studies.create(checked(folder), storage)
    assert study.user_attrs["provenance"]["git_revision"] == _git(folder, "rev-parse", "HEAD")


@pytest.mark.needs("git")
def test_git_revision_of_a_changed_job(job: Job, storage: Storage) -> None:
    folder = job()
    _git(folder, "init", "--quiet")
    _git(folder, "add", "study.toml", "objective.py")
    _git(folder, "commit", "--quiet", "--message", "first")
    job(seed=3)
    study = studies.create(checked(folder), storage)
    revision = _git(folder, "rev-parse", "HEAD")
    assert study.user_attrs["provenance"]["git_revision"] == f"{revision}-dirty"


def test_no_git_revision_outside_git(job: Job, storage: Storage) -> None:
    study = studies.create(checked(job()), storage)
    assert study.user_attrs["provenance"]["git_revision"] is None


def test_create_twice_is_create_once(job: Job, storage: Storage) -> None:
    folder = job(enqueue=[{"x": 0.5}, {"n": 2}])
    first = studies.create(checked(folder), storage)
    before = (first.user_attrs, len(first.trials))
    second = studies.create(checked(folder), storage)
    assert (second.user_attrs, len(second.trials)) == before
    assert len(second.trials) == 2
    assert optuna.get_all_study_names(storage.optuna) == ["quadratic"]


def test_create_again_after_trials_does_not_enqueue_again(job: Job, storage: Storage) -> None:
    folder = job(enqueue=[{"x": 0.5}])
    study = studies.create(checked(folder), storage)
    assert next_params(study, folder, storage)["x"] == 0.5
    again = studies.create(checked(folder), storage)
    assert [trial.state for trial in again.trials] == [TrialState.COMPLETE]


CHANGES: list[tuple[dict[str, Any], str]] = [
    ({"seed": 2}, "seed: 0 in the study, 2 now"),
    ({"direction": "maximize"}, "direction: 'minimize' in the study, 'maximize' now"),
    ({"metric": "loss"}, "metric: not there in the study, 'loss' now"),
    ({"sampler": {"name": "RandomSampler"}}, "sampler.name: 'TPESampler' in the study"),
    ({"pruner": {"name": "MedianPruner"}}, "pruner.name: 'NopPruner' in the study"),
    ({"search_space": {"a": FLOAT | {"high": 2.0}, "b": 1}}, "search_space.a.high: 1.0 in the"),
    ({"search_space": {"a": FLOAT}}, "search_space.b: 1 in the study, not there now"),
    ({"search_space": {"a": FLOAT, "b": 2}}, "search_space.b: 1 in the study, 2 now"),
    ({"search_space": {"a": FLOAT, "b": True}}, "search_space.b: 1 in the study, True now"),
    ({"enqueue": [{"a": 0.5}]}, "enqueue: [] in the study, [{'a': 0.5}] now"),
]


def test_another_spec_is_refused_with_the_difference(
    job: Job, storage: Storage, subtests: pytest.Subtests
) -> None:
    space = {"search_space": {"a": FLOAT, "b": 1}}
    study = studies.create(checked(job(**space)), storage)
    for change, difference in CHANGES:
        with subtests.test(difference):
            with pytest.raises(StudyError) as refusal:
                studies.create(checked(job(**(space | change))), storage)
            assert difference in str(refusal.value)
            assert str(refusal.value).count(" in the study, ") == 1
            after = studies.load("quadratic", storage)
            assert (after.user_attrs, after.trials) == (study.user_attrs, [])


def test_every_difference_is_shown(job: Job, storage: Storage) -> None:
    studies.create(checked(job()), storage)
    with pytest.raises(StudyError) as refusal:
        studies.create(checked(job(seed=2, pruner={"name": "MedianPruner"})), storage)
    assert "seed: " in str(refusal.value)
    assert "pruner.name: " in str(refusal.value)


@pytest.mark.parametrize(
    "command", ["create", pytest.param("run", marks=pytest.mark.processes), "worker"]
)
def test_another_spec_ends_with_exit_code_2(
    job: Job, cli: Cli, storage: Storage, database: str, command: str
) -> None:
    studies.create(checked(job()), storage)
    result = cli(command, job(seed=2), "--storage", database)
    assert result.exit_code == 2
    assert "seed: 0 in the study, 2 now" in result.stderr


@pytest.mark.parametrize(
    "budget",
    [
        {"trials": 99},
        {"trials": 5, "timeout": "1h"},
        {"timeout": "5m"},
        {"trials": 10, "failures": 9, "retries": 0},
    ],
)
def test_another_budget_is_taken_over(job: Job, storage: Storage, budget: dict[str, Any]) -> None:
    studies.create(checked(job()), storage)
    folder = job(budget=budget)
    study = studies.create(checked(folder), storage)
    assert studies.budget(study) == read_spec(folder).budget
    assert studies.budget(studies.load("quadratic", storage)) == read_spec(folder).budget
    assert len(optuna.get_all_study_names(storage.optuna)) == 1


def test_other_data_is_refused(image_job: Job, image_folder: Path, storage: Storage) -> None:
    studies.create(checked(image_job()), storage)
    (image_folder / "dogs" / "0000.png").unlink()
    with pytest.raises(StudyError, match="other data"):
        studies.create(checked(image_job()), storage)


def test_the_same_data_is_joined(image_job: Job, storage: Storage) -> None:
    studies.create(checked(image_job()), storage)
    assert studies.create(checked(image_job()), storage).study_name == "cats-and-dogs"


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_a_study_of_plain_optuna_is_refused(
    job: Job, storage: Storage, direction: Literal["minimize", "maximize"]
) -> None:
    study = optuna.create_study(study_name="quadratic", storage=storage.optuna, direction=direction)
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=1)
    with pytest.raises(StudyError, match="not created by hpo-job"):
        studies.create(checked(job()), storage)
    assert studies.load("quadratic", storage).user_attrs == {}


def test_an_empty_study_of_plain_optuna_never_turns_the_direction(
    job: Job, storage: Storage
) -> None:
    optuna.create_study(study_name="quadratic", storage=storage.optuna, direction="maximize")
    with pytest.raises(StudyError, match="not created by hpo-job"):
        studies.create(checked(job()), storage)


def test_a_creator_that_died_half_way_is_made_good(job: Job, storage: Storage) -> None:
    """The spec is written last: what came before is there, and is not done twice."""
    folder = job(enqueue=[{"x": 0.5}])
    half = optuna.create_study(study_name="quadratic", storage=storage.optuna)
    half.set_user_attr("provenance", {"seed": 0})
    half.enqueue_trial({"x": 0.5})
    study = studies.create(checked(folder), storage)
    assert study.user_attrs["spec"] == read_spec(folder).stored()
    assert len(study.trials) == 1


def _create(folder: Path, database: str, start: Barrier) -> None:
    start.wait()
    studies.create(checked(folder), Storage(database, create=True))


@pytest.mark.processes
def test_eight_processes_create_one_study(job: Job, database: str) -> None:
    folder = job(enqueue=[{"x": 0.5}, {"x": 0.25}])
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["hpo_job.study.joining"])
    start = context.Barrier(8)
    creators = [context.Process(target=_create, args=(folder, database, start)) for _ in range(8)]
    for creator in creators:
        creator.start()
    for creator in creators:
        creator.join()
    assert [creator.exitcode for creator in creators] == [0] * 8
    storage = Storage(database)
    assert optuna.get_all_study_names(storage.optuna) == ["quadratic"]
    study = studies.load("quadratic", storage)
    assert study.user_attrs["spec"] == read_spec(folder).stored()
    assert [fixed_params(trial) for trial in study.trials] == [{"x": 0.5}, {"x": 0.25}]
    storage.close()


def test_two_studies_share_a_storage(job: Job, storage: Storage) -> None:
    studies.create(checked(job()), storage)
    studies.create(checked(job(folder="other", name="other", seed=3)), storage)
    assert sorted(optuna.get_all_study_names(storage.optuna)) == ["other", "quadratic"]


def test_load_names_the_nearest_of_those_there_are(job: Job, storage: Storage) -> None:
    with pytest.raises(StudyError, match="it has no studies yet"):
        studies.load("quadratic", storage)
    studies.create(checked(job()), storage)
    studies.create(checked(job(folder="other", name="people")), storage)
    with pytest.raises(StudyError, match=r"did you mean 'quadratic'.* known: people, quadratic"):
        studies.load("quadratik", storage)


# enqueue


def test_enqueued_parameters_are_tried_next(job: Job, storage: Storage) -> None:
    folder = job()
    study = studies.create(checked(folder), storage)
    studies.enqueue(study, storage, {"x": 0.125, "n": 7})
    assert next_params(study, folder, storage) == {"x": 0.125, "n": 7}


def test_those_of_study_toml_are_tried_first_and_in_order(job: Job, storage: Storage) -> None:
    folder = job(enqueue=[{"x": 1.0}, {"x": 2.0, "n": 3}])
    study = studies.create(checked(folder), storage)
    studies.enqueue(study, storage, {"x": 3.0})
    tried = [next_params(study, folder, storage) for _ in range(3)]
    assert [params["x"] for params in tried] == [1.0, 2.0, 3.0]
    assert tried[1]["n"] == 3


KINDS = {
    "model": {"type": "categorical", "choices": ["resnet18", "true", "1"]},
    "flag": {"type": "categorical", "choices": [True, False]},
    "n": {"type": "int", "low": 0, "high": 9},
    "rate": {"type": "float", "low": 1e-5, "high": 1.0, "log": True},
    "fixed": "word",
    "other": {"type": "int", "low": 0, "high": 9},
}


WRITTEN: list[tuple[str, str, object]] = [
    ("model=resnet18", "model", "resnet18"),
    ('model="resnet18"', "model", "resnet18"),
    ('model="true"', "model", "true"),
    ("model='1'", "model", "1"),
    ("flag=true", "flag", True),
    ("flag=false", "flag", False),
    ("n=3", "n", 3),
    ("rate=1e-3", "rate", 0.001),
    ("rate=1", "rate", 1),
    ("fixed=word", "fixed", "word"),
]


def test_enqueue_types_its_values_as_toml(
    job: Job, cli: Cli, storage: Storage, database: str, subtests: pytest.Subtests
) -> None:
    study = studies.create(checked(job(search_space=KINDS)), storage)
    for written, name, value in WRITTEN:
        with subtests.test(written):
            result = cli("enqueue", "quadratic", written, "--storage", database)
            assert result.exit_code == 0, result.output
            fixed = fixed_params(study.trials[-1])
            assert fixed == {name: value}
            assert type(fixed[name]) is type(value)


MISFITS = [
    ("modell=resnet18", "did you mean 'model'?"),
    ("model=resnet50", "'resnet50' is not in the search space: one of resnet18"),
    ("model=true", "True is not in the search space"),
    ("flag=1", "1 is not in the search space"),
    ("n=10", "10 is not in the search space: int 0 to 9"),
    ("n=3.0", "3.0 is not in the search space"),
    ("n=three", "'three' is not in the search space"),
    ("rate=0", "0 is not in the search space"),
    ("rate=nan", "cannot be nan; it must be finite"),
    ("rate=2", "2 is not in the search space"),
    ("fixed=other", "'other' is not in the search space"),
    ("n=[1]", "[1]"),
    ("n", "name=value"),
    ("=3", "name=value"),
    ("n=", "name=value"),
]


def test_enqueue_refuses(
    job: Job,
    refused: Refused,
    storage: Storage,
    database: str,
    subtests: pytest.Subtests,
) -> None:
    study = studies.create(checked(job(search_space=KINDS)), storage)
    for written, problem in MISFITS:
        with subtests.test(written):
            line = refused("enqueue", "quadratic", "other=1", written, "--storage", database)
            assert problem in line
            assert study.trials == []


def test_a_shown_choice_can_be_typed(job: Job, cli: Cli, storage: Storage, database: str) -> None:
    """Whoever copies a choice from a table of trials means the same one."""
    folder = job(search_space={"flag": KINDS["flag"]})
    next_params(studies.create(checked(folder), storage), folder, storage)
    table = cli("results", "quadratic", "--storage", database).stdout
    printed = next(word for word in table.split() if word in ("true", "false"))
    result = cli("enqueue", "quadratic", f"flag={printed}", "--storage", database)
    assert result.exit_code == 0, result.stderr


@pytest.mark.parametrize("written", ["x=2024-01-01", "x={a = 1}", "x=[1, 2]"])
def test_enqueue_refuses_what_no_parameter_can_be(
    job: Job, refused: Refused, storage: Storage, database: str, written: str
) -> None:
    """Also where the function suggests for itself, and nothing is known of its parameters."""
    study = studies.create(checked(job(search_space=None)), storage)
    assert "x" in refused("enqueue", "quadratic", written, "--storage", database)
    assert study.trials == []


def test_enqueue_for_a_function_that_suggests_for_itself(job: Job, storage: Storage) -> None:
    study = studies.create(checked(job(search_space=None)), storage)
    studies.enqueue(study, storage, {"anything": 3})
    assert fixed_params(study.trials[0]) == {"anything": 3}


def test_enqueue_refuses_before_it_writes(job: Job, storage: Storage) -> None:
    study = studies.create(checked(job()), storage)
    with pytest.raises(SpecError, match="study 'quadratic': y: unknown parameter 'y'"):
        studies.enqueue(study, storage, {"x": 0.5, "y": 1})
    assert study.trials == []


def test_changed_data_of_a_function_is_warned_of(
    job: Job, storage: Storage, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    table = tmp_path / "job" / "table.csv"
    table.parent.mkdir()
    table.write_text("a,b\n")
    folder = job(data={"path": "table.csv"})
    studies.create(checked(folder), storage)
    studies.create(checked(folder), storage)
    assert not caplog.records
    table.write_text("a,b\n1,2\n")
    studies.create(checked(folder), storage)
    assert "table.csv has changed since study 'quadratic' began" in caplog.text


ANOTHER = "def train(trial, context):\n    return 1\n"


def test_another_function_is_refused_until_it_is_said_to_continue_the_study(
    job: Job, storage: Storage, caplog: pytest.LogCaptureFixture
) -> None:
    mine, theirs = job(), job(folder="theirs", code=ANOTHER)
    studies.create(checked(mine), storage)
    with pytest.raises(StudyError, match=r"another function than .*theirs has: some") as error:
        studies.create(checked(theirs), storage)
    assert "(objective.py differs)" in str(error.value)
    assert "add --same-study; to start another study, change name in" in str(error.value)
    assert "\n" not in str(error.value)
    assert not caplog.records
    studies.create(checked(theirs), storage, same_study=True)
    assert "study 'quadratic' continues with another version of" in caplog.text
    studies.create(checked(theirs), storage)  # it need not be said again
    with pytest.raises(StudyError, match=r"another function than .*job has"):
        studies.create(checked(mine), storage)


@pytest.mark.parametrize("name", ["helper.py", "parts/helper.py", "parts/__init__.py"])
def test_another_helper_next_to_the_same_function_is_refused(
    job: Job, storage: Storage, name: str
) -> None:
    mine, theirs = job(), job(folder="theirs")
    for folder, content in ((mine, "RATE = 1\n"), (theirs, "RATE = 2\n")):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(content)
    studies.create(checked(mine), storage)
    with pytest.raises(StudyError) as error:
        studies.create(checked(theirs), storage)
    assert f"({name} differs)" in str(error.value)
    studies.create(checked(theirs), storage, same_study=True)
    studies.create(checked(theirs), storage)


def test_what_is_no_part_of_the_function_may_differ(job: Job, storage: Storage) -> None:
    mine, theirs = job(), job(folder="theirs")
    studies.create(checked(mine), storage)
    for name in (".venv/a.py", "env/pyvenv.cfg", "env/lib/b.py", "notes.txt", "only_here.py"):
        for folder, content in ((mine, "1"), (theirs, "2")):
            if name != "only_here.py" or folder == theirs:
                (folder / name).parent.mkdir(exist_ok=True, parents=True)
                (folder / name).write_text(content)
    studies.create(checked(theirs), storage)


@pytest.mark.parametrize("same", [True, False])
def test_a_study_of_an_earlier_release_has_one_digest(
    job: Job, storage: Storage, same: bool
) -> None:
    study = studies.create(checked(job()), storage)
    content = QUADRATIC if same else ANOTHER
    origin = study.user_attrs[attributes.PROVENANCE]
    origin["objective_sha256"] = hashlib.sha256(content.encode()).hexdigest()
    study.set_user_attr(attributes.PROVENANCE, origin)
    if same:
        studies.create(checked(job()), storage)
    else:
        with pytest.raises(StudyError, match="add --same-study"):
            studies.create(checked(job()), storage)


@pytest.mark.processes
def test_two_users_with_the_same_name(
    job: Job, cli: Callable[..., Result], refused: Refused, database: str
) -> None:
    mine, theirs = job(budget={"trials": 1}), job(folder="b", code=ANOTHER, budget={"trials": 2})
    options = ("--storage", database)
    assert cli("run", mine, *options).exit_code == 0
    for command in ("run", "worker", "create"):
        assert "--same-study" in refused(command, theirs, *options)
    assert cli("create", theirs, *options, "--same-study").exit_code == 0
    ran = cli("run", theirs, *options)
    assert ran.exit_code == 0, ran.output
    assert "finished  2 of 2 trials" in ran.stdout


@pytest.mark.parametrize("command", ["run", "worker"])
@pytest.mark.processes
def test_whoever_runs_trials_may_say_so_too(
    job: Job,
    cli: Callable[..., Result],
    database: str,
    caplog: pytest.LogCaptureFixture,
    command: str,
) -> None:
    options = ("--storage", database)
    assert cli("create", job(), *options).exit_code == 0
    theirs = job(folder="b", code=ANOTHER, budget={"trials": 1})
    done = cli(command, theirs, *options, "--same-study")
    assert done.exit_code == 0, done.output
    # `run` prints what the process says that checks the study
    assert "continues with another version" in caplog.text + done.stderr


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("def train(trial): ...", "train cannot be called as train(trial, context)"),
        ("import sys\nsys.exit(0)", "cannot be imported: SystemExit"),
        ("train = 3", "has no function train"),
        ("import no_such_module_at_all", "No module named 'no_such_module_at_all'"),
    ],
)
def test_a_function_that_no_trial_could_call_is_refused(
    job: Job, refused: Refused, code: str, problem: str
) -> None:
    assert problem in refused("check", str(job(code=code)))


@pytest.mark.parametrize("wrong", [["x=nan"], ["x=1", "x=2"]])
def test_enqueue_refuses_nan_and_a_name_twice(
    job: Job, storage: Storage, database: str, cli: Cli, wrong: list[str]
) -> None:
    studies.create(checked(job(search_space=None)), storage)
    assert cli("enqueue", "quadratic", *wrong, "--storage", database).exit_code == 2


def test_enqueued_twice_is_refused(job: Job, refused: Refused) -> None:
    twice = [{"x": 0.5}, {"x": 0.25}, {"x": 0.5}]
    assert "enqueue.2: an earlier entry has the same parameters" in refused(
        "check", job(enqueue=twice)
    )


def test_a_function_is_imported_once_also_from_a_relative_folder(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = job()
    monkeypatch.chdir(folder.parent)
    monkeypatch.delitem(sys.modules, "objective", raising=False)
    spec = read_spec(folder.name)
    train = objectives.load(spec)
    assert objectives.load(spec) is train
    assert pickle.loads(pickle.dumps(train)) is train  # its own processes can import it


def test_a_study_of_a_release_without_some_keys_is_the_same_and_its_spec_is_kept(
    tmp_path: Path,
) -> None:
    quick = Quick(tmp_path)
    spec = quick.study.user_attrs[attributes.SPEC]
    earlier = {key: value for key, value in spec.items() if key not in ("artifacts", "checkpoint")}
    earlier["budget"] = {"trials": 6}
    quick.study.set_user_attr(attributes.SPEC, earlier)
    study = studies.create(quick.checked, quick.storage)
    # or workers of that release, which go on, would not know the keys
    assert study.user_attrs[attributes.SPEC] == earlier
    assert studies.budget(study).trials == 6


def test_a_stored_key_that_this_release_does_not_know_is_named(tmp_path: Path) -> None:
    quick = Quick(tmp_path)
    later = {**quick.study.user_attrs[attributes.SPEC], "later": 1}
    quick.study.set_user_attr(attributes.SPEC, later)
    with pytest.raises(StudyError, match="later: 1 in the study, not there now"):
        studies.create(quick.checked, quick.storage)
