"""What is in use is deleted: the worker ends with one line and exit code 2, on every storage."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
import sqlalchemy

from hpo_job.errors import GoneError, StorageError
from hpo_job.storage.database import Storage
from hpo_job.study.workers import INDEX, OWNER
from tests.quick import command, wait_until, write_job
from tests.storage.pods import HELD, pods_of, short
from tests.storage.postgres import PostgresServer
from tests.storage.sql import sql

Delete = Callable[[str], None]
pytestmark = [
    pytest.mark.filterwarnings("ignore:Heartbeat of storage:UserWarning"),
    pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning"),
]


def delete_study(url: str) -> None:
    """As `optuna delete-study` does, or its dashboard."""
    storage = optuna.storages.RDBStorage(url)
    optuna.delete_study(study_name="quick", storage=storage)
    storage.remove_session()
    storage.engine.dispose()


def drop_tables(url: str) -> None:
    engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)
    tables = sqlalchemy.MetaData()
    tables.reflect(engine)
    tables.drop_all(engine)


def delete_file(url: str) -> None:
    for suffix in ("", "-wal", "-shm"):
        Path(url.removeprefix("sqlite:///") + suffix).unlink(missing_ok=True)


def replace_file(url: str) -> None:
    """What `git checkout` or a copy does: another file of the same name."""
    file = Path(url.removeprefix("sqlite:///"))
    Path(shutil.copy(file, f"{file}.copy")).replace(file)


def drop_database(url: str) -> None:
    server, _, name = url.rpartition("/")
    if url.startswith("mysql"):
        sql(f"{server}/", f"DROP DATABASE {name}")
    else:
        sql(f"{server}/postgres", f"DROP DATABASE {name} WITH (FORCE)")


GONE = "the study was deleted while it was in use"
CASES = {
    "sqlite-study": (delete_study, GONE),
    "sqlite-tables": (drop_tables, "its tables are missing, or were dropped"),
    "sqlite-file": (delete_file, "the file was deleted or replaced while it was in use"),
    "sqlite-replaced": (replace_file, "the file was deleted or replaced while it was in use"),
    "postgresql-study": (delete_study, GONE),
    "postgresql-tables": (drop_tables, "its tables are missing, or were dropped"),
    "postgresql-database": (drop_database, "there is no such database, or it was dropped"),
    "mysql-study": (delete_study, GONE),
    "mysql-tables": (drop_tables, "its tables are missing, or were dropped"),
    "mysql-database": (drop_database, "dropped: "),  # its tables are missed first
}
NEEDS = {"sqlite": (), "postgresql": ("postgres",), "mysql": ("mysql",)}


@pytest.fixture
def case_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of the kind that the case names."""
    kind = str(request.param)
    if kind == "sqlite":
        return f"sqlite:///{tmp_path}/gone.db"
    if kind == "mysql":
        from tests.storage.mysql.server import new_database

        return new_database(request.getfixturevalue("root_url"))
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.new_database()


@pytest.mark.parametrize(
    ("case_url", "delete", "line"),
    [
        pytest.param(
            case.partition("-")[0],
            delete,
            line,
            id=case,
            marks=[pytest.mark.needs(*NEEDS[case.partition("-")[0]])],
        )
        for case, (delete, line) in CASES.items()
    ],
    indirect=["case_url"],
)
def test_a_worker_ends_with_one_line_and_makes_nothing_anew(
    case_url: str, delete: Delete, line: str, tmp_path: Path
) -> None:
    with pods_of(tmp_path, case_url, HELD, budget="trials = 3") as pods:
        pods.start()
        pods.wait_for(1)
        delete(case_url)
        pods.go()
        assert pods.end() == [2], pods.said()
        assert len(pods.complaints()) == 1, pods.said()
        (error,) = pods.complaints()
        assert error.startswith("hpo-job: storage ") and line in error
        if delete in (delete_file, drop_database, drop_tables):
            with pytest.raises(StorageError):
                Storage(case_url, patience=1)
        elif delete is delete_study:
            assert pods.states() == {}


@pytest.mark.processes
def test_run_says_once_that_its_study_is_gone(tmp_path: Path) -> None:
    """Its workers meet it, and so does the process that shows how far they are."""
    url = f"sqlite:///{tmp_path}/gone.db"
    job = write_job(tmp_path, HELD, budget="trials = 3")
    run = command("run", job, "--workers", "2", "--storage", url)
    wait_until(lambda: len(list(job.glob("running-*"))) == 2)
    delete_study(url)
    (job / "go").touch()
    _, errors = run.communicate(timeout=120)
    assert run.returncode == 2, errors
    assert errors.count(GONE) == 1, errors


def test_what_is_gone_is_a_key_error_for_optuna(rdb_url: str) -> None:
    storage = Storage(rdb_url)
    study = optuna.create_study(storage=storage.optuna, study_name="s")
    trial = study.ask()
    optuna.delete_study(study_name="s", storage=storage.optuna)
    for use in (
        lambda: study.ask(),
        lambda: study.get_trials(deepcopy=False),
        lambda: trial.report(1.0, 1),
        lambda: trial.set_user_attr("a", 1),
        lambda: study.tell(trial, 1.0),
        lambda: study.set_user_attr("a", 1),
    ):
        with pytest.raises(GoneError, match=GONE) as error:
            use()
        assert isinstance(error.value, KeyError)
        assert "'" not in str(error.value)
    with pytest.raises(KeyError) as unknown:
        storage.optuna.get_study_id_from_name("s")
    assert not isinstance(unknown.value, GoneError)
    storage.close()


@pytest.mark.parametrize(
    "case_url",
    [
        pytest.param(kind, id=kind, marks=[pytest.mark.needs(*needs)] if needs else [])
        for kind, needs in NEEDS.items()
    ],
    indirect=True,
)
@pytest.mark.processes
def test_a_pod_that_starts_after_the_deletion_makes_nothing_anew(
    case_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its Job has begun, so it may have no study to make; another Job may."""
    monkeypatch.setenv(OWNER, "uid-1")
    with pods_of(tmp_path, case_url, short(), budget="trials = 2") as pods:
        for index in ("0", "1"):
            monkeypatch.setenv(INDEX, index)
            pods.start()
        assert pods.end() == [0, 0], pods.said()
        delete_study(case_url)
        (late,) = pods.start()
        assert pods.end() == [0, 0, 2]
        (line,) = pods.said_by(late).splitlines()
        assert line == (
            "hpo-job: study 'quick' was deleted or renamed after this Job had begun; submit the "
            "job again to begin it anew"
        )
        assert pods.states() == {}
        monkeypatch.setenv(OWNER, "uid-2")
        pods.start()
        assert pods.end() == [0, 0, 2, 0]
        monkeypatch.delenv(OWNER)
        delete_study(case_url)
        pods.start()  # by hand, without a Job
        assert pods.end() == [0, 0, 2, 0, 0]
        assert pods.states() == {"COMPLETE": 2}
