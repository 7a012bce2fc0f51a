"""A real server for every test: a private one, or the one that HPO_JOB_TEST_MYSQL names."""

from collections.abc import Iterator

import optuna
import pytest

from hpo_job.storage.mysql import MySQLStorage
from tests.storage.mysql.server import new_database

optuna.logging.set_verbosity(optuna.logging.ERROR)


@pytest.fixture
def url(root_url: str) -> str:
    """An empty database."""
    return new_database(root_url)


@pytest.fixture
def storage(url: str) -> Iterator[MySQLStorage]:
    opened = MySQLStorage(url, heartbeat_interval=60, patience=20)
    yield opened
    opened.remove_session()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Optuna reminds whoever asks outside `optimize` of the heartbeat; that is experimental."""
    for item in items:
        if "mysql" in item.path.parts:
            item.add_marker(pytest.mark.filterwarnings("ignore:Heartbeat of storage:UserWarning"))
            item.add_marker(
                pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
            )
