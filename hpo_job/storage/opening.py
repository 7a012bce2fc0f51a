"""Opens a database of each kind: Optuna's storage, and the lock that goes with it."""

from __future__ import annotations

import importlib
import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import sqlalchemy
from optuna.exceptions import ExperimentalWarning
from sqlalchemy import Connection
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError

from hpo_job.errors import StorageError
from hpo_job.storage import rdb_faults, urls
from hpo_job.storage.defaults import IDLE, READER_FRESH, READER_IDLE
from hpo_job.storage.locks import AdvisoryLock, FileStudyLock, StudyLock
from hpo_job.storage.mysql import MySQLStorage
from hpo_job.storage.optuna_private import SCHEMA_HEAD, create_tables, import_rdb, revision
from hpo_job.storage.postgresql import connect_args
from hpo_job.storage.rdb_retries import Retries
from hpo_job.storage.shared_rdb import SharedRDBStorage
from hpo_job.storage.sqlite_file import SQLiteFile
from hpo_job.storage.tables import NO_TABLES, OTHER_VERSION, NoTablesError
from hpo_job.storage.timeouts import LONGEST_HEARTBEAT


@dataclass(frozen=True)
class Options:
    """How a storage is opened; see `database.Storage`."""

    label: str
    grace: int
    create: bool
    read_only: bool
    patience: float
    once: bool = False

    @property
    def heartbeat_interval(self) -> int:
        """Seconds between heartbeats, at which workers also look for lost trials."""
        return min(max(1, self.grace // 6), LONGEST_HEARTBEAT)


def _fresh_for(options: Options) -> float:
    if options.once:
        return math.inf
    return READER_FRESH if options.read_only else 0.0


def import_all(url: URL) -> None:
    """Import what opening a storage at ``url`` will, such as the database's driver."""
    driver = url.get_dialect().import_dbapi()
    if urls.is_mysql(url):
        for module in ("connections", "converters"):  # mysqlclient waits until it connects
            importlib.import_module(f"{driver.__name__}.{module}")
    else:
        import_rdb()


def opened(url: URL, options: Options) -> tuple[SharedRDBStorage | MySQLStorage, StudyLock]:
    """The storage at ``url``, and what holds the locks of its studies."""
    if urls.is_mysql(url):
        storage = MySQLStorage(
            url.render_as_string(hide_password=False),
            patience=options.patience,
            create=options.create,
            idle=READER_IDLE if options.read_only else IDLE,
            fresh_for=_fresh_for(options),
            heartbeat_interval=options.heartbeat_interval,
            grace_period=options.grace,
        )
        return storage, storage
    if path := urls.sqlite_path(url):
        retries = Retries(options.label, options.patience)
        file = retries.until_answered(
            lambda: SQLiteFile(path, create=options.create, read_only=options.read_only)
        )
        return _sqlite(url, file, retries, options)
    return _postgresql(url, options)


def _sqlite(
    url: URL, file: SQLiteFile, retries: Retries, options: Options
) -> tuple[SharedRDBStorage, StudyLock]:
    settings: dict[str, Any] = {"creator": file.connect}
    if options.read_only:
        settings["poolclass"] = sqlalchemy.NullPool
    engine = sqlalchemy.create_engine(url, creator=file.connect, poolclass=sqlalchemy.NullPool)

    @contextmanager
    def creating() -> Iterator[Connection]:
        with engine.begin() as connection:
            connection.exec_driver_sql("BEGIN IMMEDIATE")  # which waits for other writers
            yield connection

    storage = _rdb(url, options, retries, settings, _Tables(options, engine, creating))
    sqlalchemy.event.listen(storage.engine, "checkout", lambda *_: file.check())
    sqlalchemy.event.listen(storage.engine, "engine_disposed", lambda *_: file.close())
    return storage, FileStudyLock(file.path)


def _postgresql(url: URL, options: Options) -> tuple[SharedRDBStorage, StudyLock]:
    arguments = connect_args(url)
    retries = Retries(options.label, options.patience)
    engine = sqlalchemy.create_engine(url, connect_args=arguments, poolclass=sqlalchemy.NullPool)
    lock = AdvisoryLock(engine, str(url.database), retries)
    tables = _Tables(options, engine, lambda: lock.transaction("schema"))
    settings = {"connect_args": arguments}
    return _rdb(url, options, retries, settings, tables, lock.check), lock


def _rdb(
    url: URL,
    options: Options,
    retries: Retries,
    engine: dict[str, Any],
    tables: _Tables,
    check_lock: Callable[[], None] | None = None,
) -> SharedRDBStorage:
    template = urls.printable(url).render_as_string(hide_password=False)
    for brace in "{}":
        template = template.replace(brace, 2 * brace)  # Optuna calls str.format on the URL

    def connect() -> SharedRDBStorage:
        with warnings.catch_warnings():
            # the heartbeat has been "experimental" in Optuna since 2.9
            warnings.simplefilter("ignore", ExperimentalWarning)
            return SharedRDBStorage(
                template,
                retries=retries,
                check_lock=check_lock,
                once=options.once,
                engine_kwargs=dict(engine),
                skip_table_creation=True,
                skip_compatibility_check=True,
                heartbeat_interval=options.heartbeat_interval,
                grace_period=options.grace,
            )

    retries.until_answered(tables.ensure, also_retried=rdb_faults.CREATED)
    return retries.until_answered(connect)


class _Tables:
    """Optuna's tables in one database.

    Args:
        options: whether they may be created, and the storage's name in errors.
        engine: to look at them; opens a new connection each time.
        creating: a transaction in which no other process creates tables; it is whole or not at all.
    """

    def __init__(
        self,
        options: Options,
        engine: sqlalchemy.Engine,
        creating: Callable[[], AbstractContextManager[Connection]],
    ) -> None:
        self._options = options
        self._engine = engine
        self._creating = creating

    def ensure(self) -> None:
        """Make sure that the tables are there, as the installed Optuna has them.

        One query where they are there. Of several processes that find none, one creates them.

        Raises:
            StorageError: they are missing, or of another version of Optuna.
        """
        found = self._revision()
        if found is None:
            if not self._options.create:
                raise NoTablesError(f"{self._options.label}: {NO_TABLES}")
            with self._creating() as connection:
                create_tables(connection)
            found = self._revision()
        if found != SCHEMA_HEAD:
            raise StorageError(f"{self._options.label}: {OTHER_VERSION}")

    def _revision(self) -> str | None:
        try:
            with self._engine.connect() as connection:
                return revision(connection)
        except DBAPIError as error:
            if rdb_faults.is_without_tables(error):
                return None
            raise
