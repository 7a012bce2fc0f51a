"""The embedded storage: shared by processes, locked, and honest about what goes wrong."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import optuna
import pytest
from optuna.storages import RDBStorage

from hpo_job.errors import StorageError
from hpo_job.storage.database import Storage
from tests.quick import Quick, wait_until


def url(folder: Path) -> str:
    return f"sqlite:///{folder}/deep/er/studies.db"


def test_sqlite_is_in_wal_mode_in_a_folder_of_its_own(tmp_path: Path) -> None:
    Storage(url(tmp_path), create=True)
    with sqlite3.connect(tmp_path / "deep/er/studies.db") as database:
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_file_that_is_not_there_is_only_made_when_a_study_is_created(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"studies\.db: no such file; create a study first"):
        Storage(url(tmp_path))
    assert list(tmp_path.iterdir()) == []


def add(database: str, file: Path, times: int) -> None:
    storage = Storage(database)
    for _ in range(times):
        with storage.exclusive("sum"):
            total = int(file.read_text())
            time.sleep(0.002)  # long enough for another process to come in between
            file.write_text(str(total + 1))


@pytest.mark.processes
def test_one_process_at_a_time_holds_the_lock(tmp_path: Path) -> None:
    Storage(url(tmp_path), create=True)
    file = tmp_path / "sum"
    file.write_text("0")
    context = multiprocessing.get_context("spawn")
    adders = [context.Process(target=add, args=(url(tmp_path), file, 30)) for _ in range(3)]
    for adder in adders:
        adder.start()
    for adder in adders:
        adder.join()
    assert file.read_text() == "90"


WRITE = """
import optuna, sys
from hpo_job.storage.database import Storage
storage = Storage(sys.argv[1])
study = optuna.load_study(study_name="shared", storage=storage.optuna)
study.add_trial(optuna.create_trial(value=1.0))
storage.close()
"""


@pytest.mark.processes
def test_a_process_that_opens_a_file_twice_sees_what_others_write(tmp_path: Path) -> None:
    """As a notebook does; the second opening must not release the locks of the first."""
    first = Storage(url(tmp_path), create=True)
    study = optuna.create_study(study_name="shared", storage=first.optuna)
    assert study.get_trials(deepcopy=False) == []
    second = Storage(url(tmp_path))
    for count in (1, 2, 3):
        subprocess.run([sys.executable, "-c", WRITE, url(tmp_path)], check=True)
        assert len(study.get_trials(deepcopy=False)) == count
    second.close()
    first.close()


def hold(database: str, held: Path) -> None:
    with Storage(database).exclusive("x"):
        held.touch()
        signal.pause()


@pytest.mark.processes
def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    storage = Storage(url(tmp_path), create=True)
    held = tmp_path / "held"
    holder = multiprocessing.get_context("spawn").Process(target=hold, args=(url(tmp_path), held))
    holder.start()
    wait_until(held.exists)
    os.kill(holder.pid or 0, signal.SIGKILL)
    holder.join()
    with storage.exclusive("x"):
        pass


@pytest.mark.parametrize(
    "bad",
    [
        "postgres//me:s3cret@host",
        "me:s3cret@host/x",
        "mysql+nothing://me:s3cret@host/x",
        "oracle://me:s3cret@host/x",
        "sqlite://",
        "sqlite:///:memory:",
        "",
    ],
)
def test_what_is_no_shared_database_is_refused_without_its_password(bad: str) -> None:
    with pytest.raises(StorageError) as raised:
        Storage(bad, create=True)
    assert "s3cret" not in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.needs("pymysql")
def test_a_database_that_is_down_is_named_without_its_password() -> None:
    with pytest.raises(StorageError, match=r"mysql\+pymysql://me:\*\*\*@127\.0\.0\.1:1/x: .*2003"):
        Storage("mysql+pymysql://me:s3cret@127.0.0.1:1/x", patience=1)


def test_a_missing_driver_is_named() -> None:
    with pytest.raises(StorageError, match="No module named 'pg8000'; install the database's"):
        Storage("postgresql+pg8000://me:s3cret@127.0.0.1:1/x")


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_bytes(b"nonsense" * 1000)
    with pytest.raises(StorageError, match=r"x\.db: is not a database"):
        Storage(f"sqlite:///{tmp_path}/x.db")


def test_optuna_still_answers_the_private_question_we_ask() -> None:
    assert callable(RDBStorage._get_stale_trial_ids)


@pytest.mark.processes
def test_a_full_disk_is_one_clear_error_and_the_study_stays_readable(tmp_path: Path) -> None:
    quick = Quick(
        tmp_path,
        """
        def train(trial, context):
            trial.set_user_attr("much", "x" * 50_000)
            return 1
        """,
        budget="trials = 1000",
    )
    hpo_job = Path(sys.executable).with_name("hpo-job")
    size = (tmp_path / "studies.db").stat().st_size // 1024 + 2000
    full = subprocess.run(  # files of this process cannot grow beyond so many KiB
        [
            "bash",
            "-c",
            f"ulimit -f {size}; exec {hpo_job} worker {quick.job} --storage {quick.url}",
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert full.returncode == 2
    *progress, error = full.stderr.splitlines()
    assert error.startswith(f"hpo-job: storage {quick.url}: ")
    usual = ("hpo-job: trial ", "hpo-job: worker of ")
    assert not [line for line in progress if not line.startswith(usual)]
    assert quick.states()["COMPLETE"] >= 1


def test_a_folder_whose_name_is_not_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    monkeypatch.chdir(folder)  # as a user in it, with the default storage
    Storage("sqlite:///studies.db", create=True).close()
    Storage("sqlite:///studies.db").close()  # looks into the file first
    assert Path("studies.db").is_file()


@pytest.mark.processes
def test_what_opening_a_database_imports_is_imported_before_workers_are_forked(
    any_url: str,
) -> None:
    Storage(any_url, create=True).close()
    code = f"""
import sys
from hpo_job.storage.database import Storage
from hpo_job.storage.opening import import_all
from hpo_job.storage.urls import parse
import_all(parse({any_url!r}))
before = set(sys.modules)
if "sqlalchemy.orm" in sys.modules:
    from sqlalchemy import event, orm
    event.listen(orm.Mapper, "after_configured", lambda: print("classes of tables"))
storage = Storage({any_url!r})
storage.optuna.get_all_studies()
storage.close()
print(*set(sys.modules) - before)
"""
    assert subprocess.check_output([sys.executable, "-c", code], text=True).split() == []
