"""Optuna's published contract of a storage, every case, on SQLite and PostgreSQL."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import optuna
import pytest
from optuna.storages import BaseStorage
from optuna.testing.pytest_storages import StorageTestCase

from tests.storage.conftest import shared


@pytest.fixture
def storage(rdb_url: str, request: pytest.FixtureRequest) -> Iterator[BaseStorage]:
    """As workers use it: with Optuna's cache in front."""
    # Optuna's check of the tables' version reads all of its migrations, each time
    with shared(rdb_url, skip_compatibility_check=True) as backend:
        yield optuna.storages.get_storage(backend)
    if any(word in request.node.name for word in ("pickle", "concurrent")):
        gc.collect()  # Optuna's cases leave copies and threads, with their connections


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
class TestContract(StorageTestCase):
    """The cases are Optuna's."""
