"""Databases of each kind: one server of a kind for all tests that can share it."""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from optuna.exceptions import ExperimentalWarning
from optuna.storages import RDBStorage

from hpo_job.storage.database import Storage
from hpo_job.storage.rdb_retries import Retries
from hpo_job.storage.shared_rdb import SharedRDBStorage
from tests.storage.mysql.server import PrivateServer, new_database
from tests.storage.postgres import PostgresServer

# Those whose storage is Optuna's own with retries; MySQL's has a folder of tests
KINDS = [
    "sqlite",
    pytest.param("mysql", marks=pytest.mark.needs("mysql")),
    pytest.param("postgresql", marks=pytest.mark.needs("postgres")),
]
RDB_KINDS = ["sqlite", pytest.param("postgresql", marks=pytest.mark.needs("postgres"))]


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server that all tests share."""
    server = PostgresServer()
    server.start()
    yield server
    server.remove()


@pytest.fixture(scope="session")
def root_url() -> Iterator[str]:
    """The URL of an account of a MySQL server that may create databases and users."""
    named = os.environ.get("HPO_JOB_TEST_MYSQL")
    if named:
        yield named
        return
    server = PrivateServer()
    server.start()
    yield server.root_url
    server.remove()


@pytest.fixture
def start_server() -> Iterator[Callable[..., PrivateServer]]:
    """Starts a server that the test may kill, with the server's options that it asks for."""
    with ExitStack() as servers:

        def start(*options: str) -> PrivateServer:
            server = PrivateServer(*options)
            servers.callback(server.remove)
            server.start()
            return server

        yield start


@pytest.fixture
def own_server(start_server: Callable[..., PrivateServer]) -> PrivateServer:
    """A server that the test may kill."""
    return start_server()


@pytest.fixture
def own_postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server that the test may kill."""
    server = PostgresServer()
    server.start()
    yield server
    server.remove()


@pytest.fixture
def postgres_url(postgres: PostgresServer) -> str:
    """An empty database on PostgreSQL."""
    return postgres.new_database()


@pytest.fixture(scope="session")
def postgres_template(postgres: PostgresServer) -> str:
    """The name of a database with Optuna's tables: making them costs more than a copy."""
    url = postgres.new_database()
    Storage(url, create=True).close()
    return url.rpartition("/")[2]


@pytest.fixture(params=RDB_KINDS)
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind but MySQL; a SQLite file that is not there yet."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/shared.db"
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest.fixture(params=RDB_KINDS)
def rdb_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database of each kind but MySQL, with tables and without studies."""
    if request.param == "sqlite":
        shutil.copy(request.getfixturevalue("empty_database"), tmp_path / "shared.db")
        return f"sqlite:///{tmp_path}/shared.db"
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.new_database(request.getfixturevalue("postgres_template"))


@pytest.fixture(params=KINDS)
def any_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind."""
    if request.param == "mysql":
        return new_database(request.getfixturevalue("root_url"))
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgres_url"))
    return f"sqlite:///{tmp_path}/studies.db"


@contextmanager
def plain(url: str) -> Iterator[RDBStorage]:
    """Optuna's own storage, as a worker without hpo-job uses it; no heartbeat."""
    storage = RDBStorage(url)
    yield storage
    storage.remove_session()
    storage.engine.dispose()


@contextmanager
def shared(
    url: str, *, patience: float = 20, grace: int = 60, **options: Any
) -> Iterator[SharedRDBStorage]:
    """The storage of workers at ``url``, without anything around it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        storage = SharedRDBStorage(
            url,
            retries=Retries(url.partition("://")[0], patience),
            heartbeat_interval=grace,
            grace_period=grace,
            skip_table_creation=True,
            **options,
        )
    with ExitStack() as stack:
        stack.callback(storage.engine.dispose)
        stack.callback(storage.remove_session)
        yield storage
