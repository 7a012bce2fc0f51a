"""A worker goes on when the database's password is changed, and its file a while later."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import optuna
import pytest
from sqlalchemy.engine import make_url

from hpo_job.errors import StorageError
from hpo_job.storage import outage, timeouts
from hpo_job.storage.database import Storage
from hpo_job.storage.mysql import MySQLStorage
from hpo_job.storage.mysql.url import read_url
from hpo_job.storage.urls import reread, storage_url
from hpo_job.worker.start_methods import START_VARIABLE
from tests.quick import command, wait_until, write_job
from tests.storage.mysql.server import sql
from tests.storage.pods import HELD, kill

USER = "rotating"


@pytest.fixture
def file(url: str, root_url: str, tmp_path: Path) -> Path:
    """The file of a Secret, with the URL of an account whose password is `old`."""
    database = make_url(url).database
    sql(
        root_url,
        f"CREATE OR REPLACE USER {USER}@'%' IDENTIFIED BY 'old'",
        f"GRANT ALL ON {database}.* TO {USER}@'%'",
    )
    file = tmp_path / "url"
    write(file, url, "old")
    return file


def write(file: Path, url: str, password: str) -> None:
    account = make_url(url).set(username=USER, password=password)
    file.write_text(account.render_as_string(hide_password=False))


def change_password(root_url: str) -> None:
    """And end the connections that were opened with the old one, as a restart does."""
    sql(root_url, f"ALTER USER {USER}@'%' IDENTIFIED BY 'new'", f"KILL USER {USER}")


def test_a_changed_password_is_read_again(file: Path, url: str, root_url: str) -> None:
    address = storage_url(None, file)
    assert address
    storage = MySQLStorage(address, patience=60)
    study = optuna.create_study(storage=storage)
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=1)
    change_password(root_url)
    refused = threading.Event()

    def renewed_later() -> None:  # as the kubelet renews the file of a mounted Secret
        assert refused.wait(120)
        write(file, url, "new")

    kubelet = threading.Thread(target=renewed_later)
    kubelet.start()
    connection = storage._connection
    worth = connection._worth

    def noticed(error: Exception) -> float:
        seconds = worth(error)
        refused.set()
        return seconds

    connection._worth = noticed  # type: ignore[method-assign]
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=2)
    kubelet.join()
    assert len(study.trials) == 3
    storage.remove_session()


def test_a_password_that_was_typed_is_not_asked_for_again(
    file: Path, url: str, root_url: str
) -> None:
    address = file.read_text() + "?charset=utf8mb4"
    assert reread(address) is None
    storage = MySQLStorage(address, patience=60)
    study = optuna.create_study(storage=storage)
    change_password(root_url)
    wrong = "user name or password are wrong; correct them in the URL: Access denied"
    with pytest.raises(StorageError, match=wrong):
        study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=1)


def test_a_wrong_password_at_the_start_is_no_rotation(file: Path, url: str) -> None:
    write(file, url, "wrong")
    address = storage_url(None, file)
    assert address
    with pytest.raises(StorageError, match="user name or password are wrong"):
        MySQLStorage(address, patience=60)


def test_a_worker_that_starts_during_a_rotation_waits_for_the_new_password(
    file: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has never been connected: the server restarts, and then refuses what the file holds."""
    driver = read_url(url).driver
    away = driver.OperationalError(2005, "Unknown server host 'db'")
    assert refusals_until_renewed(file, url, monkeypatch, away) == [2005, 1045]


def refusals_until_renewed(
    file: Path, url: str, monkeypatch: pytest.MonkeyPatch, first: Exception | None = None
) -> list[int]:
    """The errors of a worker that starts with an old password; the second one renews the file.

    Args:
        file: where the URL is.
        url: of the database.
        monkeypatch: restores the driver.
        first: what the first attempt to connect raises, before the server is asked.
    """
    write(file, url, "before")
    address = storage_url(None, file)
    assert address
    driver = read_url(address).driver
    connect = driver.connect
    refusals: list[int] = []

    def refusing(**arguments: Any) -> Any:
        try:
            if first and not refusals:
                raise first
            return connect(**arguments)
        except driver.OperationalError as error:
            refusals.append(error.args[0])
            if len(refusals) == 2:
                write(file, url, "old")  # the kubelet renews the file
            raise

    monkeypatch.setattr(driver, "connect", refusing)
    storage = MySQLStorage(address, patience=60)
    assert optuna.create_study(storage=storage).trials == []
    storage.remove_session()
    return refusals


def test_a_worker_that_takes_a_killed_ones_place_has_what_the_file_holds_now(
    file: Path, url: str
) -> None:
    """It inherits the URL that the file had when the first workers started."""
    write(file, url, "before")
    address = storage_url(None, file)
    assert address
    write(file, url, "old")
    storage = MySQLStorage(address, patience=60)
    assert optuna.create_study(storage=storage).trials == []
    storage.remove_session()


@pytest.mark.processes
@pytest.mark.parametrize("way", ["fork", "spawn"])
def test_the_worker_in_a_killed_ones_place_has_the_new_password(
    file: Path, url: str, root_url: str, tmp_path: Path, way: str
) -> None:
    """And the others go on; the processes that start workers have the old one."""
    job = write_job(tmp_path, HELD, budget="trials = 3")
    arguments = ["run", job, "--workers", "2", "--grace", "10", "--storage-file", file]
    run = command(*map(str, arguments), env={START_VARIABLE: way})
    begun = [job / "running-0", job / "running-1"]
    wait_until(lambda: all(each.exists() for each in begun))
    change_password(root_url)
    write(file, url, "new")
    first, other = (int(each.read_text()) for each in begun)
    kill(first)
    wait_until((job / "running-2").exists)
    assert int((job / "running-2").read_text()) not in (first, other)
    (job / "go").touch()
    _, said = run.communicate(timeout=120)
    assert run.returncode == 0, said
    states = sql(url, "SELECT state, COUNT(*) FROM trials GROUP BY state ORDER BY state")
    assert dict(states) == {"COMPLETE": 3, "FAIL": 1}
    assert "Access denied" not in said


@pytest.fixture
def mounted(file: Path) -> Path:
    """The same, as Kubernetes mounts a Secret."""
    folder = file.parent / "mounted"
    (folder / "..2026").mkdir(parents=True)
    (folder / "..data").symlink_to("..2026")
    (folder / "url").symlink_to("..data/url")
    (folder / "..2026" / "url").write_bytes(file.read_bytes())
    return folder / "url"


def test_a_pod_that_starts_after_a_rotation_waits_for_its_file(
    mounted: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server is back already, so that this worker has not seen it away."""
    assert refusals_until_renewed(mounted, url, monkeypatch) == [1045, 1045]


@pytest.mark.parametrize("patience", [0.5, 600], ids=["command", "worker"])
def test_a_pod_with_a_wrong_password_says_so_however_long_it_waited(
    mounted: Path,
    url: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    patience: float,
) -> None:
    """A worker waits until its file was renewed; a command that only looks, for its patience."""
    monkeypatch.setattr(timeouts, "RENEWAL", 1.0 if patience == 600 else 150)
    monkeypatch.setattr(outage, "QUIET", 0.0)
    write(mounted, url, "wrong")
    address = storage_url(None, mounted)
    assert address
    with pytest.raises(StorageError, match="user name or password are wrong") as refused:
        MySQLStorage(address, patience=patience)
    assert refused.value.exit_code == 2
    assert f"wrong; correct them in {mounted}: Access denied for user '{USER}'" in str(
        refused.value
    )
    longest = min(patience, timeouts.RENEWAL)
    assert f"waiting for {mounted} to be renewed, {longest:.0f} s at most: " in caplog.text
    assert "Access denied" in caplog.text


def test_the_file_is_found_however_its_url_is_written(file: Path, url: str, root_url: str) -> None:
    options = "?connect_timeout=7&charset=utf8mb4"  # which are sorted otherwise
    file.write_text(file.read_text() + options)
    address = storage_url(None, file)
    assert address
    storage = Storage(address, create=True, patience=60)
    study = optuna.create_study(storage=storage.optuna)
    change_password(root_url)
    write(file, url, "new")
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=1)
    assert len(study.trials) == 1
    storage.close()
