"""Opens a database of each kind: Optuna's storage, and the lock that goes with it."""

from __future__ import annotations

import importlib
import math
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import sqlalchemy
from optuna.exceptions import ExperimentalWarning
from sqlalchemy.engine import URL

from hpo_job.storage import urls
from hpo_job.storage.defaults import IDLE, READER_FRESH, READER_IDLE
from hpo_job.storage.locks import AdvisoryLock, FileStudyLock, LockLost, StudyLock
from hpo_job.storage.mysql import MySQLStorage
from hpo_job.storage.optuna_private import SCHEMA_HEAD, create_tables, import_rdb
from hpo_job.storage.postgresql import connect_args
from hpo_job.storage.rdb_retries import Retries
from hpo_job.storage.shared_rdb import SharedRDBStorage
from hpo_job.storage.sqlite_file import SQLiteFile
from hpo_job.storage.timeouts import LONGEST_HEARTBEAT

_REVISION = sqlalchemy.text("SELECT version_num FROM alembic_version")


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
        file = SQLiteFile(path, create=options.create, read_only=options.read_only)
        return _sqlite(url, file, options)
    return _postgresql(url, options)


def _sqlite(url: URL, file: SQLiteFile, options: Options) -> tuple[SharedRDBStorage, StudyLock]:
    lock = FileStudyLock(file.path)
    engine: dict[str, Any] = {"creator": file.connect}
    if options.read_only:
        engine["poolclass"] = sqlalchemy.NullPool
    looking = sqlalchemy.create_engine(url, creator=file.connect, poolclass=sqlalchemy.NullPool)
    retries = Retries(options.label, options.patience)
    storage = _rdb(url, options, retries, lock, engine, looking)
    sqlalchemy.event.listen(storage.engine, "checkout", lambda *_: file.check())
    sqlalchemy.event.listen(storage.engine, "engine_disposed", lambda *_: file.close())
    return storage, lock


def _postgresql(url: URL, options: Options) -> tuple[SharedRDBStorage, StudyLock]:
    arguments = connect_args(url)
    retries = Retries(options.label, options.patience)
    engine = sqlalchemy.create_engine(url, connect_args=arguments, poolclass=sqlalchemy.NullPool)
    lock = AdvisoryLock(engine, str(url.database), retries)
    settings = {"connect_args": arguments}
    storage = _rdb(url, options, retries, lock, settings, engine, lock.check)
    return storage, lock


def _rdb(
    url: URL,
    options: Options,
    retries: Retries,
    lock: StudyLock,
    engine: dict[str, Any],
    looking: sqlalchemy.Engine,
    check_lock: Callable[[], None] | None = None,
) -> SharedRDBStorage:
    template = urls.printable(url).render_as_string(hide_password=False)
    for brace in "{}":
        template = template.replace(brace, 2 * brace)  # Optuna calls str.format on the URL

    def connect() -> SharedRDBStorage:
        current = _is_current(looking)
        with warnings.catch_warnings():
            # the heartbeat has been "experimental" in Optuna since 2.9
            warnings.simplefilter("ignore", ExperimentalWarning)
            return SharedRDBStorage(
                template,
                retries=retries,
                check_lock=check_lock,
                once=options.once,
                engine_kwargs=dict(engine),
                skip_table_creation=current or not options.create,
                skip_compatibility_check=current,
                heartbeat_interval=options.heartbeat_interval,
                grace_period=options.grace,
            )

    while options.create and not _is_current(looking):
        # One at a time: of two processes that create the tables at once, one fails.
        with suppress(LockLost), lock.exclusive("schema"):
            retries.until_answered(lambda: _create_in_empty(looking))
            return retries.until_answered(connect)
    return retries.until_answered(connect)


def _create_in_empty(engine: sqlalchemy.Engine) -> None:
    """Create the tables in a database that has none; Optuna completes those of another version."""
    if not sqlalchemy.inspect(engine).get_table_names():
        create_tables(engine)


def _is_current(engine: sqlalchemy.Engine) -> bool:
    """Whether the tables are there as the installed Optuna has them.

    One query; Optuna looks through all versions that the tables ever had.
    """
    try:
        with engine.connect() as connection:
            return bool(connection.scalar(_REVISION) == SCHEMA_HEAD)
    except sqlalchemy.exc.SQLAlchemyError:
        return False  # there are none; or the server is away, which is said by who opens it
