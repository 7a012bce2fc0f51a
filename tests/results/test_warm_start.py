"""A study's best parameters as another's first trials: what fits is enqueued, the rest named."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import Result

from hpo_job.results.trials import value
from hpo_job.spec.reading import read_spec
from hpo_job.storage.database import Storage
from hpo_job.study import joining
from hpo_job.study.checking import check
from hpo_job.study.optuna_private import fixed_params
from hpo_job.trial.counting import counted
from tests import synthetic

Cli = Callable[..., Result]
SPACE = {
    "model": {"type": "categorical", "choices": ["resnet18", "resnet50", "densenet121"]},
    "epochs": {"type": "int", "low": 1, "high": 20},
    "learning_rate": {"type": "float", "low": 1e-5, "high": 1e-1, "log": True},
}


@pytest.fixture(scope="module")
def template_database(empty_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = Path(shutil.copy(empty_database, tmp_path_factory.mktemp("warm-start")))
    with closing(Storage(f"sqlite:///{file}")) as storage:
        synthetic.study(synthetic.trials(60), "other", storage=storage.optuna)
    return file


@pytest.fixture
def target(job: Callable[..., Path], storage: Storage) -> str:
    folder = job(search_space=SPACE)
    joining.create(check(read_spec(folder), folder), storage)
    return "quadratic"


def test_the_best_are_enqueued_and_what_does_not_fit_is_named(
    target: str, storage: Storage, cli: Cli, database: str
) -> None:
    done = cli("enqueue", target, "--from", "other", "--top", "3", "--storage", database)
    assert done.exit_code == 0, done.output
    other = joining.load("other", storage)
    best = sorted(counted(other), key=value, reverse=True)[:3]
    enqueued = [fixed_params(t) for t in joining.load(target, storage).trials]
    assert enqueued == [
        {name: t.params[name] for name in SPACE if t.params.get(name) != "squeezenet1_0"}
        for t in best
    ]
    assert "apply_tfms does not fit and is left out: unknown parameter" in done.stderr
    assert "batch_size does not fit" in done.stderr


def test_values_on_the_command_line_go_before_those_of_the_other(
    target: str, storage: Storage, cli: Cli, database: str
) -> None:
    cli("enqueue", target, "epochs=17", "--from", "other", "--storage", database)
    (trial,) = joining.load(target, storage).trials
    assert fixed_params(trial)["epochs"] == 17


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "name parameters"),
        (["--from", "quadratic"], "another study"),
        (["--from", "nobody"], "unknown study"),
        (["epochs=99", "--from", "other"], "epochs"),
    ],
)
def test_what_cannot_be_enqueued(
    target: str, cli: Cli, database: str, arguments: list[str], reason: str
) -> None:
    done = cli("enqueue", target, *arguments, "--storage", database)
    assert done.exit_code == 2
    assert reason in done.stderr
