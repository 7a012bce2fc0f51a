"""A real server for every test: a private one, or the one that HPO_JOB_TEST_MYSQL names."""

import importlib.util
import os
from collections.abc import Iterator

import optuna
import pytest

from hpo_job.storage.mysql import MySQLStorage
from tests.storage.mysql.server import PrivateServer, find_server, new_database

optuna.logging.set_verbosity(optuna.logging.ERROR)


def need(what: object, missing: str) -> None:
    """On a laptop, a test that lacks something is skipped with the reason; in CI it fails."""
    if not what:
        if os.environ.get("CI") == "true":
            pytest.fail(missing)
        pytest.skip(missing)


def need_a_server() -> None:
    need(find_server(), "no MySQL server: install the package mariadb-server")


def need_driver(name: str) -> None:
    need(importlib.util.find_spec(name), f"{name} is not installed: pip install 'hpo-job[mysql]'")


@pytest.fixture(scope="session")
def root_url() -> Iterator[str]:
    """The URL of an account that may create databases and users."""
    given = os.environ.get("HPO_JOB_TEST_MYSQL")
    if given:
        yield given
        return
    need_a_server()
    server = PrivateServer()
    server.start()
    yield server.root_url
    server.remove()


@pytest.fixture
def url(root_url: str) -> str:
    """An empty database."""
    return new_database(root_url)


@pytest.fixture
def own_server() -> Iterator[PrivateServer]:
    """A server that the test may kill."""
    need_a_server()
    server = PrivateServer()
    server.start()
    yield server
    server.remove()


@pytest.fixture
def storage(url: str) -> Iterator[MySQLStorage]:
    made = MySQLStorage(url, heartbeat_interval=60, patience=20)
    yield made
    made.remove_session()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Optuna reminds whoever asks outside `optimize` of the heartbeat; that is experimental."""
    for item in items:
        if "mysql" in item.path.parts:
            item.add_marker(pytest.mark.filterwarnings("ignore:Heartbeat of storage:UserWarning"))
            item.add_marker(
                pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
            )
