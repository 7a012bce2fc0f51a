"""Optuna's published contract of a storage, every case, through both drivers."""

from collections.abc import Iterator

import pytest
from optuna.storages import BaseStorage
from optuna.testing.pytest_storages import StorageTestCase

from hpo_job.storage.mysql import MySQLStorage
from tests.storage.mysql.conftest import need_driver
from tests.storage.mysql.server import DRIVER


@pytest.fixture(params=["mysqldb", pytest.param("pymysql", marks=pytest.mark.slow)])
def storage(url: str, request: pytest.FixtureRequest) -> Iterator[BaseStorage]:
    need_driver({"mysqldb": "MySQLdb"}.get(request.param, request.param))
    made = MySQLStorage(url.replace(f"+{DRIVER}", f"+{request.param}"), patience=20)
    yield made
    made.remove_session()


class TestContract(StorageTestCase):
    """The cases are Optuna's."""
