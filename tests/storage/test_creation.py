"""Optuna's tables: whoever creates them, and whatever cuts that off, all of them are there."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any

import pytest
import sqlalchemy
from optuna.storages import RDBStorage
from sqlalchemy.engine import make_url
from sqlalchemy.schema import CreateIndex, CreateTable

from hpo_job.errors import StorageError, UnreachableError
from hpo_job.storage import kubernetes_jobs
from hpo_job.storage.database import Storage
from hpo_job.storage.tables import NoTablesError
from tests.quick import wait_until
from tests.storage.mysql.fleet import FORK, exit_codes, start
from tests.storage.sql import sql

NewDatabase = Callable[[], str]
CHANGES = ("CREATE", "INSERT")


class CutOffError(Exception):
    """The process that creates the tables ends here."""


@contextmanager
def at_each(
    statements: tuple[str, ...], act: Callable[[], None], when: str = "after"
) -> Iterator[None]:
    """Call ``act`` at each statement that begins so, in this process and those that it forks."""

    def sent(_connection: Any, _cursor: Any, text: str, *_: Any) -> None:
        if text.lstrip().upper().startswith(statements):
            act()

    sqlalchemy.event.listen(sqlalchemy.Engine, f"{when}_cursor_execute", sent)
    try:
        yield
    finally:
        sqlalchemy.event.remove(sqlalchemy.Engine, f"{when}_cursor_execute", sent)


def cut_off(create: Callable[[], Any], n: int) -> bool:
    """Whether creating the tables was cut off, after the n-th statement that changes something."""
    count = itertools.count(1)

    def end() -> None:
        if next(count) == n:
            raise CutOffError

    with at_each(CHANGES, end):
        try:
            create()
        except CutOffError:
            return True
    return False


def described(url: str) -> dict[str, object]:
    """Each table as the database describes it, and the rows that say which version it is."""
    engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)
    tables = sqlalchemy.MetaData()
    tables.reflect(engine)
    written: dict[str, object] = {
        name: sql(url, f"SHOW CREATE TABLE {name}")[0][1]
        if url.startswith("mysql")
        else [str(CreateTable(table)), *sorted(str(CreateIndex(each)) for each in table.indexes)]
        for name, table in tables.tables.items()
    }
    for name in {"alembic_version", "version_info"} & set(tables.tables):
        written[f"rows of {name}"] = sql(url, f"SELECT * FROM {name}")
    return written


@pytest.fixture
def new_database(request: pytest.FixtureRequest, any_url: str) -> NewDatabase:
    """Makes another empty database of the kind that `any_url` is of."""
    numbers = itertools.count()

    def new() -> str:
        name = f"{make_url(any_url).database}_{next(numbers)}"
        if not any_url.startswith("sqlite"):
            sql(any_url, f"CREATE DATABASE {name}")
        return make_url(any_url).set(database=name).render_as_string(hide_password=False)

    return new


def made_by_optuna(url: str) -> None:
    RDBStorage(url, engine_kwargs={"poolclass": sqlalchemy.NullPool}).remove_session()


def made_by_us(url: str) -> None:
    Storage(url, create=True, patience=60).close()


@pytest.fixture
def complete(new_database: NewDatabase) -> dict[str, object]:
    """The tables as Optuna's own storage creates them."""
    url = new_database()
    made_by_optuna(url)
    return described(url)


def test_the_tables_are_those_that_optunas_own_storage_creates(
    new_database: NewDatabase, complete: dict[str, object]
) -> None:
    url = new_database()
    made_by_us(url)
    assert described(url) == complete
    assert len(complete) > 10


@pytest.mark.parametrize("create", [made_by_optuna, made_by_us])
def test_tables_that_were_left_half_created_are_completed(
    new_database: NewDatabase, complete: dict[str, object], create: Callable[[str], None]
) -> None:
    """After each statement of whoever has begun: tables without their index, or version's row."""
    states = []
    for n in itertools.count(1):
        url = new_database()
        if not cut_off(lambda url=url: create(url), n):  # type: ignore[misc]
            break
        states.append(described(url))
        if states[-1] != complete:  # all but the statement's answer
            with pytest.raises(NoTablesError):
                Storage(url)
        assert described(url) == states[-1]  # who only looks changes nothing
        made_by_us(url)
        assert described(url) == complete, n
    assert len(states) >= 14
    if create is made_by_us and not url.startswith("mysql"):
        assert not any(states)  # in one transaction
    elif not url.startswith("postgresql"):
        assert any("studies" in state and "rows of version_info" not in state for state in states)


def test_tables_of_optuna_before_0_9_are_refused_as_they_are(any_url: str) -> None:
    """They have no row that says which version they are of, as those that are half created."""
    made_by_us(any_url)
    sql(any_url, "DROP TABLE alembic_version", "UPDATE version_info SET schema_version = 11")
    sql(any_url, "DROP TABLE trial_heartbeats")  # which that version did not have
    before = described(any_url)
    with pytest.raises(StorageError, match="made by another version of Optuna"):
        made_by_us(any_url)
    assert described(any_url) == before


def test_two_studies_of_one_name_are_no_server_that_is_away(any_url: str) -> None:
    """A table that has lost its index may hold them; waiting does not help."""
    made_by_us(any_url)
    drop = "DROP INDEX ix_studies_study_name" + (" ON studies" if "mysql" in any_url else "")
    sql(any_url, "DROP TABLE alembic_version", drop)
    sql(any_url, *["INSERT INTO studies (study_name) VALUES ('twice')"] * 2)
    with pytest.raises(StorageError, match=r"(?i)unique|duplicate") as caught:
        made_by_us(any_url)
    assert not isinstance(caught.value, UnreachableError)


SERVERS = [
    pytest.param("mysql", marks=pytest.mark.needs("mysql")),
    pytest.param("postgresql", marks=pytest.mark.needs("postgres")),
]


def end_connections(url: str) -> None:
    """The server ends all connections to a database, those of its administrators too."""
    name = make_url(url).database
    if url.startswith("mysql"):
        own = "db = DATABASE() AND id <> CONNECTION_ID()"
        for (number,) in sql(url, f"SELECT id FROM information_schema.processlist WHERE {own}"):
            with suppress(Exception):  # it has ended by itself
                sql(url, f"KILL {number}")
    else:
        server = make_url(url).set(database="postgres").render_as_string(hide_password=False)
        others = f"datname = '{name}' AND pid <> pg_backend_pid()"
        sql(server, f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}")


@pytest.mark.parametrize("any_url", SERVERS, indirect=True)
def test_a_server_that_ends_connections_while_the_tables_are_created_ends_no_worker(
    new_database: NewDatabase, complete: dict[str, object]
) -> None:
    """After each statement of the creation."""
    for n in itertools.count(1):
        url, count = new_database(), itertools.count(1)

        def end(url: str = url, n: int = n, count: Iterator[int] = count) -> None:
            if next(count) == n:
                end_connections(url)

        with at_each(CHANGES, end):
            made_by_us(url)
        assert described(url) == complete, n
        if next(count) <= n:  # there are fewer
            break
    assert n >= 14


@pytest.mark.processes
@pytest.mark.parametrize("statement", ["CREATE TABLE TRIALS", "INSERT INTO VERSION_INFO"])
@pytest.mark.parametrize("any_url", SERVERS, indirect=True)
def test_of_several_that_create_the_tables_at_once_none_ends_with_its_connection(
    new_database: NewDatabase, complete: dict[str, object], statement: str
) -> None:
    url, count = new_database(), itertools.count()

    def end() -> None:
        if next(count) < 3:  # of each process
            end_connections(url)

    with at_each((statement,), end):
        workers = start(6, made_by_us, url)
    assert exit_codes(workers, 120) == [0] * 6
    assert described(url) == complete


@pytest.mark.parametrize("any_url", SERVERS, indirect=True)
def test_tables_that_plain_optuna_creates_at_the_same_time_are_joined(
    new_database: NewDatabase, complete: dict[str, object]
) -> None:
    """It takes no lock: what was missing a moment ago is there."""
    url, count = new_database(), itertools.count()

    def create() -> None:
        if next(count) == 0:
            made_by_optuna(url)

    with at_each(("CREATE TABLE TRIALS",), create, "before"):
        made_by_us(url)
    assert next(count) >= 2
    assert described(url) == complete


@pytest.mark.processes
def test_workers_that_create_the_tables_together_with_plain_optuna_do_not_end(
    new_database: NewDatabase, complete: dict[str, object]
) -> None:
    """Of plain Optuna's own processes, most do."""
    all_there = FORK.Barrier(5)

    def begin(create: Callable[[str], None], url: str) -> None:
        all_there.wait(60)
        create(url)

    for _ in range(5):
        url = new_database()
        others = start(2, begin, made_by_optuna, url)
        assert exit_codes(start(3, begin, made_by_us, url), 120) == [0] * 3
        exit_codes(others, 120)
        assert described(url) == complete


def test_the_table_of_jobs_that_another_worker_is_creating_is_used(postgres_url: str) -> None:
    """PostgreSQL's IF NOT EXISTS does not see it yet, and fails when it is there."""
    storage = Storage(postgres_url, create=True)
    waits = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'CREATE%'"
    engine = sqlalchemy.create_engine(postgres_url, poolclass=sqlalchemy.NullPool)

    def finish(other: sqlalchemy.Connection) -> None:
        wait_until(lambda: bool(sql(postgres_url, waits)))
        other.commit()

    with engine.connect() as other, ThreadPoolExecutor() as threads:
        other.exec_driver_sql(kubernetes_jobs.CREATE)
        finished = threads.submit(finish, other)
        kubernetes_jobs.note_joined(storage, "uid-1", "s")
        finished.result()
    assert kubernetes_jobs.has_joined(storage, "uid-1", "s")
    storage.close()
