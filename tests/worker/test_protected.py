"""No module that talks to a database may be interrupted: the list is derived from the code."""

from __future__ import annotations

import ast
import functools
import importlib.util
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest

import hpo_job
from hpo_job.worker import signals
from tests.sources import parsed

DRIVERS = {"sqlalchemy", "sqlite3", "MySQLdb", "pymysql", "psycopg", "psycopg2"}
# Of Optuna: a command of its own, and the migrations that only it runs
NOT_IN_A_WORKER = ("optuna.cli", "optuna.storages._rdb.alembic")
STATEMENTS = {"execute", "executemany", "executescript", "commit", "rollback"}


def modules(package: str, folder: Path) -> Iterator[tuple[str, ast.Module]]:
    """Every module below ``folder``, by its full name, parsed."""
    for file in sorted(folder.rglob("*.py")):
        parts = (package, *file.relative_to(folder).with_suffix("").parts)
        name = ".".join(part for part in parts if part != "__init__")
        yield name, parsed(file)


def sends_statements(tree: ast.Module) -> bool:
    """Whether a module calls what sends a statement, or ends a transaction."""
    calls = (node.func for node in ast.walk(tree) if isinstance(node, ast.Call))
    return any(isinstance(call, ast.Attribute) and call.attr in STATEMENTS for call in calls)


def imports_a_driver(tree: ast.Module) -> bool:
    imported: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            imported.add(node.module.partition(".")[0])
    return bool(imported & DRIVERS)


@functools.cache
def talking_to_a_database() -> frozenset[str]:
    """The modules of hpo-job that send statements, and those of Optuna that know a driver.

    Optuna's are found by what they import, since its sessions send statements under many names.
    """
    ours = modules("hpo_job", Path(str(hpo_job.__file__)).parent)
    theirs = modules("optuna", Path(str(optuna.__file__)).parent)
    sending = {name for name, tree in ours if sends_statements(tree)}
    return frozenset(sending).union(
        name
        for name, tree in theirs
        if imports_a_driver(tree) and not signals.belongs_to(name, NOT_IN_A_WORKER)
    )


def unprotected(packages: tuple[str, ...]) -> set[str]:
    return {name for name in talking_to_a_database() if not signals.belongs_to(name, packages)}


def test_every_module_that_talks_to_a_database_is_protected() -> None:
    assert unprotected(signals.PROTECTED) == set()


@pytest.mark.parametrize("package", signals.PROTECTED)
def test_no_package_is_protected_in_vain(package: str) -> None:
    """With one taken out, the test above fails: so it would notice."""
    others = tuple(each for each in signals.PROTECTED if each != package)
    assert unprotected(others), f"nothing in {package} talks to a database"


def test_both_storages_are_among_them() -> None:
    talking = talking_to_a_database()
    assert "hpo_job.storage.mysql.writer" in talking
    assert "optuna.storages._rdb.storage" in talking


@pytest.mark.parametrize("module", [*signals.PROTECTED, signals.INTERRUPTIBLE])
def test_what_is_named_exists(module: str) -> None:
    assert importlib.util.find_spec(module) is not None


def test_what_may_be_interrupted_sends_nothing() -> None:
    assert signals.belongs_to(signals.INTERRUPTIBLE, signals.PROTECTED)
    assert signals.INTERRUPTIBLE not in talking_to_a_database()


def test_a_module_of_a_similar_name_is_not_protected() -> None:
    assert not signals.belongs_to("hpo_job.storages", ("hpo_job.storage",))
    assert signals.belongs_to("hpo_job.storage", ("hpo_job.storage",))
