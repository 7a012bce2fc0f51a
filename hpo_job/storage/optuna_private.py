"""Every name that Optuna does not publish and this package needs; a test pins each of them.

Nothing else in ``hpo_job.storage`` uses a private name of Optuna, except for the methods of
`RDBStorage` that `fast_rdb.SharedRDBStorage` overrides, which are listed in OVERRIDDEN.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import optuna
import sqlalchemy
from optuna.storages import BaseStorage
from optuna.storages._base import DEFAULT_STUDY_NAME_PREFIX
from optuna.storages._heartbeat import BaseHeartbeat
from optuna.study._frozen import FrozenStudy
from optuna.trial import FrozenTrial

__all__ = [
    "CONTENTS",
    "DEFAULT_STUDY_NAME_PREFIX",
    "OVERRIDDEN",
    "SCHEMA_HEAD",
    "BaseHeartbeat",
    "FrozenStudy",
    "LazyTrial",
    "create_tables",
    "import_rdb",
    "revision",
    "set_trial_id",
    "stale_trial_ids",
    "trial_id_of",
]

# The revision in `alembic_version` that Optuna 5.0 writes and expects.
SCHEMA_HEAD = "v3.2.0.a"

# As alembic makes it
_VERSION = sqlalchemy.Table(
    "alembic_version",
    sqlalchemy.MetaData(),
    sqlalchemy.Column("version_num", sqlalchemy.String(32), nullable=False),
    sqlalchemy.PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)
_SCHEMA_VERSION = sqlalchemy.text("SELECT schema_version FROM version_info")
_LIBRARY = sqlalchemy.text(
    "INSERT INTO version_info (version_info_id, schema_version, library_version)"
    " VALUES (1, :schema, :library)"
)

# The attributes of a FrozenTrial that are stored in separate tables.
CONTENTS = ("_params", "_distributions", "_user_attrs", "_system_attrs", "intermediate_values")

# The private methods of RDBStorage that are overridden, with the parameters they are called with:
# Optuna's cache in front of it calls these, not the public ones.
OVERRIDDEN = {
    "_get_trials": ("study_id", "states", "included_trial_ids", "trial_id_greater_than"),
    "_create_new_trial": ("study_id", "template_trial"),
    "_get_prepared_new_trial": ("study_id", "template_trial", "session"),
    "_set_trial_param": (
        "trial_id",
        "param_name",
        "param_value_internal",
        "distribution",
        "previous_distribution",
    ),
    "_get_stale_trial_ids": ("study_id",),
    "_get_best_trial_id": ("study_id", "direction"),
}


def stale_trial_ids(storage: BaseStorage, study_id: int) -> list[int]:
    """The running trials without a heartbeat for the grace.

    Optuna keeps this question private; its public `fail_stale_trials` answers it by failing
    them without a reason.
    """
    assert isinstance(storage, BaseHeartbeat)
    return list(storage._get_stale_trial_ids(study_id))


def import_rdb() -> None:
    """Import what opening an RDBStorage will, and prepare the classes of its tables."""
    import alembic.migration  # noqa: F401
    import optuna.storages._rdb.models  # noqa: F401
    from sqlalchemy.orm import configure_mappers

    configure_mappers()  # else each worker does, at its first question


def create_tables(connection: sqlalchemy.Connection) -> None:
    """Create what is missing of Optuna's tables: the same ones, as its storage writes them.

    Safe to repeat, wherever it was cut off: the row that says which version the tables are of is
    written last. Those of an Optuna before 0.9, which had no such row, get none.

    That storage looks through all versions that the tables ever had, which takes longer than
    everything else together; and where it was cut off after a table, it never adds its index.

    Args:
        connection: to the database; nobody else creates tables in it meanwhile.
    """
    from optuna.storages._rdb import models  # takes a fifth of a second, and is rarely needed

    if sqlalchemy.inspect(connection).has_table(_VERSION.name) and revision(connection):
        return
    if _is_of_another_optuna(connection, models.SCHEMA_VERSION):
        return
    models.BaseModel.metadata.create_all(connection)
    for table in models.BaseModel.metadata.tables.values():
        for index in table.indexes:
            index.create(connection, checkfirst=True)
    if connection.scalar(_SCHEMA_VERSION) is None:
        version = {"schema": models.SCHEMA_VERSION, "library": optuna.__version__}
        connection.execute(_LIBRARY, version)
    _VERSION.create(connection, checkfirst=True)
    connection.execute(_VERSION.insert(), {"version_num": SCHEMA_HEAD})


def _is_of_another_optuna(connection: sqlalchemy.Connection, version: int) -> bool:
    found = sqlalchemy.inspect(connection).has_table("version_info")
    return found and connection.scalar(_SCHEMA_VERSION) not in (None, version)


def revision(connection: sqlalchemy.Connection) -> str | None:
    """Which version the tables are of, None if nobody has completed them.

    One query. Where the table with the answer is missing, the database's error is raised.
    """
    return connection.scalar(sqlalchemy.select(_VERSION.c.version_num))


def trial_id_of(trial: FrozenTrial) -> int:
    """The trial's id in the storage; its `number` counts within the study."""
    return trial._trial_id


def set_trial_id(trial: FrozenTrial, trial_id: int) -> None:
    """Give a trial that was stored just now its id."""
    trial._trial_id = trial_id


class LazyTrial(FrozenTrial):
    """Another worker's unfinished trial, whose contents are read when they are first used.

    A sampler looks at the parameters of running trials, a pruner at their attributes, a
    counter at neither. What was read once stays as it is, as in any FrozenTrial.

    Args:
        trial: the trial without its contents.
        read: called with the trial's id and the name of one of CONTENTS, gives its value.
    """

    def __init__(self, trial: FrozenTrial, read: Callable[[int, str], Any]) -> None:
        self.__dict__.update(trial.__dict__)
        for name in CONTENTS:
            del self.__dict__[name]
        self.__dict__["_read"] = read

    def __getattr__(self, name: str) -> Any:
        # Python asks here only for what the instance does not have (yet).
        if name not in CONTENTS or "_read" not in self.__dict__:
            raise AttributeError(name)
        value = self.__dict__["_read"](self._trial_id, name)
        self.__dict__[name] = value
        return value

    def was_read(self) -> bool:
        """Whether somebody has seen one of the contents."""
        return any(name in self.__dict__ for name in CONTENTS)

    def bare(self) -> FrozenTrial:
        """A trial with the same row, and no contents yet."""
        return FrozenTrial(
            trial_id=self._trial_id,
            number=self.number,
            state=self.state,
            value=None,
            datetime_start=self.datetime_start,
            datetime_complete=self.datetime_complete,
            params={},
            distributions={},
            user_attrs={},
            system_attrs={},
            intermediate_values={},
        )

    def frozen(self) -> FrozenTrial:
        """The same trial with all contents read, as Optuna's own class."""
        for name in CONTENTS:
            getattr(self, name)
        trial = FrozenTrial.__new__(FrozenTrial)
        trial.__dict__.update({k: v for k, v in self.__dict__.items() if k != "_read"})
        return trial

    def __eq__(self, other: object) -> bool:
        if isinstance(other, LazyTrial):
            other = other.frozen()
        return self.frozen() == other

    __hash__ = FrozenTrial.__hash__

    def __copy__(self) -> FrozenTrial:
        return self.frozen()

    def __deepcopy__(self, memo: dict[int, Any]) -> FrozenTrial:
        return deepcopy(self.frozen(), memo)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.frozen().__reduce_ex__(protocol)
