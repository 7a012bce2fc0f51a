"""Whoever only looks needs no right to write: to a file, to its folder, or to a server."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import optuna
import pytest
from sqlalchemy.engine import make_url

from hpo_job.errors import StorageError
from hpo_job.storage.database import Storage
from hpo_job.storage.sqlite_file import SQLiteFile
from tests import synthetic
from tests.needs import find_program
from tests.storage.conftest import shared
from tests.storage.mysql.server import new_database
from tests.storage.postgres import PostgresServer
from tests.storage.sql import sql
from tests.storage.test_faults import reader_account

# Root may write everywhere, unless it gives these rights up
CAPABILITIES = "-dac_override,-dac_read_search"
# All commands that look, in one process; and a notebook
LOOK = """
import json, sys, warnings
warnings.simplefilter("ignore")
from click.testing import CliRunner
import hpo_job
from hpo_job.cli import main

url, folder = sys.argv[1:]
commands = [
    ["status", "synthetic"],
    ["results", "synthetic", "--format", "csv"],
    ["best", "synthetic"],
    ["importance", "synthetic"],
    ["compare", "synthetic", "other"],
    ["plot", "synthetic", "history", "-o", folder + "/history.html"],
    ["report", "synthetic", "-o", folder + "/report.html"],
]
answers = {}
for command in commands:
    result = CliRunner().invoke(main, [*command, "--storage", url])
    answers[command[0]] = result.exit_code, result.output[-500:]
loaded = hpo_job.load("synthetic", url)
answers["load"] = 0, len(loaded.trials())
print(json.dumps(answers))
"""


@pytest.fixture
def folder(tmp_path: Path, empty_database: Path) -> Iterator[Path]:
    """A folder with a SQLite file of two studies; made writable again at the end."""
    folder = tmp_path / "theirs"
    folder.mkdir()
    shutil.copy(empty_database, folder / "studies.db")
    fill(f"sqlite:///{folder}/studies.db")
    yield folder
    folder.chmod(0o755)


def fill(url: str) -> None:
    with shared(url) as storage:
        synthetic.study(synthetic.trials(30), storage=storage)
        synthetic.study(synthetic.trials(10), "other", storage=storage)


def read_only(folder: Path) -> None:
    for file in folder.iterdir():
        file.chmod(0o444)
    folder.chmod(0o555)


def look(url: str, tmp_path: Path, *, prefix: tuple[str, ...] = ()) -> Mapping[str, object]:
    """What each command says in a process that may write nowhere but to a folder of its own."""
    own = tmp_path / "mine"
    own.mkdir(exist_ok=True)
    done = subprocess.run(
        [*prefix, sys.executable, "-c", LOOK, url, str(own)],
        capture_output=True,
        text=True,
        cwd=own,
        env={**os.environ, "COLUMNS": "80"},
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    answers: dict[str, tuple[int, object]] = json.loads(done.stdout.splitlines()[-1])
    assert {name: code for name, (code, _) in answers.items() if code} == {}, answers
    assert (own / "report.html").stat().st_size > 10_000
    return {name: text for name, (_, text) in answers.items()}


def without_rights() -> tuple[str, ...]:
    if os.geteuid() != 0:
        return ()
    setpriv = str(find_program("setpriv"))
    return setpriv, f"--bounding-set={CAPABILITIES}", f"--inh-caps={CAPABILITIES}"


@pytest.mark.needs("setpriv")
def test_every_command_that_looks_reads_a_file_in_a_folder_that_is_read_only(
    folder: Path, tmp_path: Path
) -> None:
    read_only(folder)
    before = sorted(folder.iterdir())
    answers = look(f"sqlite:///{folder}/studies.db", tmp_path, prefix=without_rights())
    assert answers["load"] == 30
    assert sorted(folder.iterdir()) == before == [folder / "studies.db"]


@pytest.mark.needs("mount")
def test_on_a_file_system_that_is_mounted_read_only(folder: Path, tmp_path: Path) -> None:
    mount = f"mount --bind {folder} {folder} && mount -o remount,bind,ro {folder}"
    unshare = ("unshare", "--mount", "sh", "-c", f'{mount} && exec "$@"', "sh")
    assert look(f"sqlite:///{folder}/studies.db", tmp_path, prefix=unshare)["load"] == 30


READ = """
import sys, warnings
warnings.simplefilter("ignore")
from hpo_job.storage.database import Storage
storage = Storage(sys.argv[1], read_only=True)
print(len(storage.optuna.get_all_trials(storage.study_id("synthetic"))))
storage.close()
"""


def read(folder: Path) -> int:
    """How many trials a process sees that may not write to the folder."""
    done = subprocess.run(
        [*without_rights(), sys.executable, "-c", READ, f"sqlite:///{folder}/studies.db"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.needs("setpriv")
def test_what_a_worker_has_just_written_is_read(folder: Path) -> None:
    with shared(f"sqlite:///{folder}/studies.db") as storage:
        study = optuna.load_study(study_name="synthetic", storage=storage)
        read_only(folder)  # its log is there, with what follows
        study.add_trials(synthetic.trials(5))
        assert (folder / "studies.db-wal").stat().st_size
        assert read(folder) == 35


@pytest.mark.needs("setpriv")
def test_what_a_killed_worker_left_in_its_log_is_read(folder: Path, tmp_path: Path) -> None:
    with shared(f"sqlite:///{folder}/studies.db") as storage:
        study = optuna.load_study(study_name="synthetic", storage=storage)
        study.add_trials(synthetic.trials(5))
        killed = tmp_path / "killed"
        killed.mkdir()
        for name in ("studies.db", "studies.db-wal"):
            shutil.copy(folder / name, killed)
    read_only(killed)
    assert read(killed) == 35
    killed.chmod(0o755)


@pytest.mark.needs("setpriv")
def test_a_worker_without_the_right_to_write_is_told_so_in_one_line(folder: Path) -> None:
    read_only(folder)
    code = READ.replace(", read_only=True", ", create=True")
    done = subprocess.run(
        [*without_rights(), sys.executable, "-c", code, f"sqlite:///{folder}/studies.db"],
        capture_output=True,
        text=True,
    )
    error = done.stderr.splitlines()[-1]
    assert error.startswith("hpo_job.errors.StorageError: storage ")
    assert "may not write" in error


def test_a_reader_makes_no_file_and_no_tables(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="no such file"):
        Storage(f"sqlite:///{tmp_path}/none.db", read_only=True)
    (tmp_path / "empty.db").touch()
    with pytest.raises(StorageError, match="has no studies yet"):
        Storage(f"sqlite:///{tmp_path}/empty.db", read_only=True)
    assert [file.name for file in tmp_path.iterdir()] == ["empty.db"]
    assert not (tmp_path / "empty.db").stat().st_size


def test_a_copy_that_was_made_for_reading_is_removed(folder: Path) -> None:
    file = SQLiteFile(folder / "studies.db", create=False, read_only=True)
    (folder / "studies.db-wal").write_bytes(b"")
    copy = file._copied(folder / "studies.db-wal")
    assert copy.exists()
    file.close()
    assert not copy.exists()


@pytest.mark.needs("postgres")
def test_an_account_of_postgresql_that_may_only_select(
    postgres: PostgresServer, postgres_template: str, tmp_path: Path
) -> None:
    url = postgres.new_database(postgres_template)
    fill(url)
    assert look(reader_account(postgres, url), tmp_path)["load"] == 30


def test_an_account_of_mysql_that_may_only_select(root_url: str, tmp_path: Path) -> None:
    url = new_database(root_url)
    opened = Storage(url, create=True)
    synthetic.study(synthetic.trials(30), storage=opened.optuna)
    synthetic.study(synthetic.trials(10), "other", storage=opened.optuna)
    opened.close()
    name = f"u{os.urandom(4).hex()}"
    database = make_url(url).database
    for host in ("%", "localhost"):
        account = f"'{name}'@'{host}'"
        sql(
            root_url,
            f"CREATE USER {account} IDENTIFIED BY 's3cret'",
            f"GRANT SELECT ON {database}.* TO {account}",
        )
    reader = make_url(url).set(username=name, password="s3cret").render_as_string(False)
    assert look(reader, tmp_path)["load"] == 30
