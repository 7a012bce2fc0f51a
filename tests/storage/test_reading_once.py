"""A command that reads a study asks its database no more often, the more trials there are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna
import pytest
import sqlalchemy
from click.testing import Result

from hpo_job.storage.database import Storage
from tests.quick import Quick

COMMANDS = (
    ("status", "quick"),
    ("results", "quick"),
    ("best", "quick"),
    ("importance", "quick"),
    ("advise", "quick"),
    ("report", "quick", "-o", "report.html"),
    ("list",),
    ("du",),
)


@pytest.fixture(scope="module")
def urls(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """The databases of a study with 6 trials, and of one with 36."""
    quick = Quick(tmp_path_factory.mktemp("six"), budget="trials = 6")
    quick.work()
    more = Quick(tmp_path_factory.mktemp("more"), budget="trials = 6")
    more.work()
    more.study.add_trials(more.study.trials * 5)
    return quick.url, more.url


@contextmanager
def counted() -> Iterator[list[str]]:
    """The statements that this process sends to any database, inside the block."""
    sent: list[str] = []

    def note(*arguments: object) -> None:
        sent.append(str(arguments[2]))

    sqlalchemy.event.listen(sqlalchemy.Engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        sqlalchemy.event.remove(sqlalchemy.Engine, "before_cursor_execute", note)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: str(command[0]))
def test_more_trials_are_no_more_statements(
    command: tuple[str, ...], urls: tuple[str, str], cli: Callable[..., Result]
) -> None:
    numbers = []
    for url in urls:
        with counted() as sent:
            done = cli(*command, "--storage", url)
        assert done.exit_code == 0, done.output
        numbers.append(len(sent))
    assert numbers[0] == numbers[1]
    assert numbers[0] <= 25


def test_a_storage_that_reads_once_answers_from_memory(tmp_path: Path) -> None:
    quick = Quick(tmp_path, budget="trials = 3")
    quick.work()
    storage = Storage(quick.url, read_only=True, once=True)
    study = optuna.load_study(study_name="quick", storage=storage.optuna)
    again = optuna.load_study(study_name="quick", storage=storage.optuna)
    assert len(study.trials) == 3
    quick.study.add_trials(quick.study.trials)
    quick.study.set_user_attr("later", 1)

    with counted() as sent:
        assert len(study.trials) == len(again.trials) == 3
        assert len(study.get_trials(states=(optuna.trial.TrialState.FAIL,))) == 0
        again.user_attrs.clear()
        assert study.user_attrs
    assert len(sent) <= 4  # the attributes, which are asked for here first
    assert len(optuna.load_study(study_name="quick", storage=quick.url).trials) == 6
    storage.close()


def test_a_storage_that_is_watched_reads_anew(tmp_path: Path) -> None:
    quick = Quick(tmp_path, budget="trials = 3")
    quick.work()
    storage = Storage(quick.url, read_only=True)
    study = optuna.load_study(study_name="quick", storage=storage.optuna)
    assert len(study.trials) == 3
    quick.study.add_trials(quick.study.trials)
    assert len(study.trials) == 6
    storage.close()
