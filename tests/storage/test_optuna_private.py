"""The names that Optuna does not publish: each is as expected, and none is used elsewhere."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import optuna
import pytest
from optuna.storages import RDBStorage

import hpo_job.storage
from hpo_job.storage import optuna_private
from hpo_job.storage.mysql import MySQLStorage
from hpo_job.storage.shared_rdb import SharedRDBStorage
from tests.sources import parsed

PACKAGE = Path(str(hpo_job.storage.__file__)).parent
MODULES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("name", optuna_private.OVERRIDDEN)
def test_a_method_that_is_overridden_takes_these_parameters(name: str) -> None:
    theirs = inspect.signature(getattr(RDBStorage, name)).parameters
    assert tuple(theirs)[1:] == optuna_private.OVERRIDDEN[name]
    assert getattr(SharedRDBStorage, name) is not getattr(RDBStorage, name)


def test_optunas_cache_calls_what_is_overridden() -> None:
    cache = inspect.getsource(inspect.getmodule(optuna.storages.get_storage("sqlite://")) or ast)
    called = {name for name in optuna_private.OVERRIDDEN if f"_backend.{name}(" in cache}
    # the other is called by RDBStorage._create_new_trial
    assert set(optuna_private.OVERRIDDEN) - called == {"_get_prepared_new_trial"}
    assert "self._get_prepared_new_trial(" in inspect.getsource(RDBStorage._create_new_trial)


def test_the_schema_is_the_one_that_is_expected(rdb_url: str) -> None:
    storage = RDBStorage(rdb_url)
    assert storage.get_head_version() == optuna_private.SCHEMA_HEAD
    storage.remove_session()
    storage.engine.dispose()


def test_what_a_trial_keeps_and_what_a_storage_must_have() -> None:
    trial = optuna.trial.create_trial(state=optuna.trial.TrialState.RUNNING)
    assert set(optuna_private.CONTENTS) <= set(vars(trial))
    optuna_private.set_trial_id(trial, 7)
    assert optuna_private.trial_id_of(trial) == trial._trial_id == 7
    assert optuna_private.BaseHeartbeat.__abstractmethods__ == {
        "record_heartbeat",
        "_get_stale_trial_ids",
        "get_heartbeat_interval",
        "get_heartbeat_stale_trial_callback",
    }
    assert not inspect.isabstract(MySQLStorage)
    assert set(inspect.signature(optuna_private.FrozenStudy).parameters) == {
        "study_name",
        "direction",
        "user_attrs",
        "system_attrs",
        "study_id",
        "directions",
    }
    assert optuna_private.DEFAULT_STUDY_NAME_PREFIX == "no-name-"


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.stem)
def test_no_other_module_uses_a_private_name_of_another_object(module: Path) -> None:
    if module.name == "optuna_private.py":
        return
    tree = parsed(module)
    imported = {
        f"{node.module}.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert not [name for name in imported if "optuna." in name and "._" in name]
    used = [
        ast.unparse(node)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and node.attr.startswith("_")
        and not node.attr.startswith("__")
        and ast.unparse(node.value) not in ("self", "cls")
    ]
    overridden = [name for name in used if name.rpartition(".")[2] in optuna_private.OVERRIDDEN]
    assert set(used) == set(overridden)
    assert not overridden or module.stem in ("fast_rdb", "shared_rdb")
