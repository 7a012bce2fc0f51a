"""Optuna's published contract of a storage, every case, through both drivers."""

from collections.abc import Iterator

import pytest
from optuna.storages import BaseStorage
from optuna.testing.pytest_storages import StorageTestCase

from hpo_job.storage.mysql import MySQLStorage
from tests.storage.mysql.server import DRIVER


@pytest.fixture(
    params=[
        pytest.param("mysqldb", marks=pytest.mark.needs("mysqlclient")),
        pytest.param("pymysql", marks=[pytest.mark.slow, pytest.mark.needs("pymysql")]),
    ]
)
def storage(url: str, request: pytest.FixtureRequest) -> Iterator[BaseStorage]:
    opened = MySQLStorage(url.replace(f"+{DRIVER}", f"+{request.param}"), patience=20)
    yield opened
    opened.remove_session()


class TestContract(StorageTestCase):
    """The cases are Optuna's."""
