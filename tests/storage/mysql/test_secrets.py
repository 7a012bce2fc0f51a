"""The password of the storage's URL shows up nowhere: everything that is said or stored is read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from sqlalchemy.engine import make_url

from tests.quick import command, wait_until
from tests.storage.mysql.fleet import FORK
from tests.storage.mysql.server import sql
from tests.storage.pods import HELD, Pods, pods_of, redirected, short

PASSWORD = "s3cret/p@ss:w%rd"
FORMS = (PASSWORD, quote(PASSWORD, safe=""), quote(PASSWORD), "s3cret")
TABLES = (
    "study_user_attributes",
    "study_system_attributes",
    "trial_user_attributes",
    "trial_system_attributes",
    "studies",
    "trial_params",
)


@pytest.fixture
def secret_url(root_url: str, url: str) -> Iterator[str]:
    """An account of its own for the database, with a password worth finding."""
    name = f"u{os.urandom(4).hex()}"
    users = [f"'{name}'@'{host}'" for host in ("%", "localhost")]
    for user in users:
        sql(
            root_url,
            f"CREATE USER {user} IDENTIFIED BY '{PASSWORD}'",
            f"GRANT ALL ON {make_url(url).database}.* TO {user}",
        )
    yield make_url(url).set(username=name, password=PASSWORD).render_as_string(False)
    for user in users:
        sql(root_url, f"DROP USER {user}")


def secrets_in(text: str) -> list[str]:
    """The lines that hold the password, in any form."""
    return [line for line in text.splitlines() if any(form in line for form in FORMS)]


def command_lines() -> str:
    """What `ps` shows of every process of this machine."""
    lines = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            lines.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:  # it has ended meanwhile
            continue
    return "\n".join(lines)


class Commands:
    """Real commands, forked so that nothing is imported again; what each has said."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.folder.mkdir()
        self._started: list[tuple[str, object]] = []

    def start(self, *arguments: str | Path, **env: str) -> Path:
        """Start a command; the file of what it says."""
        log = self.folder / f"{len(self._started)}-{arguments[0]}"
        process = FORK.Process(target=redirected, args=(list(map(str, arguments)), log, env))
        process.start()
        self._started.append((str(arguments[0]), process))
        return log

    def end(self) -> dict[str, int]:
        """Wait for all; exit codes by command, numbered as they were started."""
        codes = {}
        for number, (name, process) in enumerate(self._started):
            process.join(120)  # type: ignore[attr-defined]
            codes[f"{number}-{name}"] = process.exitcode  # type: ignore[attr-defined]
        self._started.clear()
        return codes


def test_no_command_says_or_stores_the_password(
    secret_url: str, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    secret = tmp_path / "secret"
    secret.write_text(f"{secret_url}\n")
    with pods_of(tmp_path, url, HELD, budget="trials = 4") as pods:
        run = command("run", pods.job, "--workers", "2", env={"HPO_JOB_STORAGE": secret_url})
        worker = command("worker", pods.job, env={"HPO_JOB_STORAGE_FILE": str(secret)})
        pods.wait_for(3)
        visible = command_lines()
        assert visible.count(str(pods.job)) >= 4  # the two commands, and the workers of run
        assert secrets_in(visible) == []
        others = Commands(tmp_path / "others")
        study = {"HPO_JOB_STORAGE": secret_url}
        others.start("status", "quick", "--storage-file", secret)
        others.start("enqueue", "quick", "x=1.0", **study)
        pods.go()
        said = [text for process in (run, worker) for text in process.communicate(timeout=120)]
        assert (run.returncode, worker.returncode) == (0, 0), said
        others.start("check", pods.job, **study)
        others.start("create", pods.job, "--storage-file", secret)
        for form in ("table", "csv", "json"):
            others.start("results", "quick", "--format", form, **study)
        others.start("best", "quick", **study)
        assert set(others.end().values()) == {0}
    stored = [str(row) for table in TABLES for row in sql(url, f"SELECT * FROM {table}")]
    assert any("worker" in row for row in stored)
    assert secrets_in("\n".join([*said, *stored])) == []
    secret.unlink()
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert len(files) > 8
    assert secrets_in("\n".join(file.read_text(errors="replace") for file in files)) == []


@pytest.mark.parametrize(
    "changes",
    [
        [{"password": f"{PASSWORD}x"}],
        [{"database": "nothing"}],
        # commands wait half a minute for one that is away: for both at the same time
        [{"port": 1}, {"host": "no.such.host.invalid"}],
    ],
    ids=["password", "database", "away"],
)
def test_no_error_says_it(secret_url: str, tmp_path: Path, changes: list[dict[str, Any]]) -> None:
    away = len(changes) == 2
    commands = Commands(tmp_path / "said")
    for position, change in enumerate(changes):
        bad = make_url(secret_url).set(**change).render_as_string(False)
        pods = Pods(tmp_path / str(position), bad, short())
        commands.start("status", "quick", HPO_JOB_STORAGE=bad)
        commands.start("create", pods.job, HPO_JOB_STORAGE=bad)
        if not away:  # a worker waits for one, for ten minutes
            commands.start("worker", pods.job, HPO_JOB_STORAGE=bad)
            commands.start("run", pods.job, "--workers", "2", HPO_JOB_STORAGE=bad)
    assert set(commands.end().values()) == {1 if away else 2}
    for file in commands.folder.iterdir():
        said = file.read_text()
        assert secrets_in(said) == []
        errors = [line for line in said.splitlines() if "travel" not in line]
        waited = [line for line in errors if "waiting for the server" in line]
        assert len(errors) - len(waited) == 1, said


def test_no_log_says_it_when_the_server_goes_away(
    secret_url: str, root_url: str, tmp_path: Path
) -> None:
    with pods_of(tmp_path, secret_url, HELD, budget="trials = 1") as pods:
        pods.start()
        pods.wait_for(1)
        name = make_url(secret_url).username
        for host in ("%", "localhost"):  # as if somebody had changed the password
            sql(root_url, f"ALTER USER '{name}'@'{host}' IDENTIFIED BY 'another'")
        wait_until(lambda: not killed(root_url, str(name)))
        pods.go()
        assert pods.end() == [2]
        assert secrets_in(pods.said()) == []
        assert "user name or password are wrong" in pods.said()


def killed(root_url: str, user: str) -> int:
    """End the connections of an account; how many there were."""
    rows = sql(root_url, f"SELECT ID FROM information_schema.PROCESSLIST WHERE USER = '{user}'")
    for (number,) in rows:
        sql(root_url, f"KILL {number}")
    return len(rows)
