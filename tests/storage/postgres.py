"""A private PostgreSQL server for tests: loopback only, data and account of its own."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.needs import find_program
from tests.storage.sql import connect, free_port, sql

PASSWORD = "s3cret-of-postgres"
ACCOUNTS = ("postgres", "nobody")  # PostgreSQL refuses to run as root


class PostgresServer:
    """A server process; as root, it runs as an unprivileged user.

    Args:
        options: settings of the server, such as ``max_connections=20``.
    """

    def __init__(self, *options: str) -> None:
        program = find_program("postgres")
        initdb = find_program("initdb")
        assert program and initdb  # or the test would have been skipped
        self._program = program
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()
        self.directory = Path(tempfile.mkdtemp(prefix="hpo-job-postgres-"))
        self._account = _account()
        if self._account:
            os.chown(self.directory, self._account.pw_uid, self._account.pw_gid)
        password = self.directory / "password"
        password.write_text(PASSWORD)
        password.chmod(0o644)
        self._run(
            initdb,
            "--auth-local=trust",
            "--auth-host=scram-sha-256",
            f"--pwfile={password}",
            "--username=root",
            "--no-sync",
            "--no-locale",
            "--encoding=UTF8",
            f"--pgdata={self.directory / 'data'}",
        )

    @property
    def root_url(self) -> str:
        """The URL of the server's administrator."""
        return f"postgresql+psycopg://root:{PASSWORD}@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        deadline = time.monotonic() + 60
        while True:
            if self._process is None or self._process.poll() is not None:
                self._process = self._launch()
            try:
                connect(self.root_url).close()
                return
            except Exception as error:
                if time.monotonic() > deadline:
                    text = (self.directory / "log").read_text(errors="replace")
                    raise RuntimeError(f"the server does not start: {text[-2000:]}") from error
                time.sleep(0.1)

    def stop(self) -> None:
        """A shutdown that ends all connections."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """kill -9, as the kernel does that is short of memory: what serves connections, too."""
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)  # it starts no more of them, and reaps none
            # one list may leave out some: repeated until all that it names have ended
            while running := _running_children(self._process.pid):
                for child in running:
                    with contextlib.suppress(ProcessLookupError):  # it has ended by itself
                        os.kill(child, signal.SIGKILL)
        self._end(signal.SIGKILL)

    def remove(self) -> None:
        """Stop the server and remove its data."""
        self._end(signal.SIGQUIT)
        shutil.rmtree(self.directory, ignore_errors=True)

    def new_database(self, template: str = "template1") -> str:
        """Create a database, as another is; its URL."""
        name = f"hpo_{os.urandom(6).hex()}"
        sql(self.root_url, f"CREATE DATABASE {name} TEMPLATE {template}")
        return self.root_url.rpartition("/")[0] + f"/{name}"

    def _end(self, number: int) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(120)
            self._process = None

    def _launch(self) -> subprocess.Popen[bytes]:
        settings = (
            f"port={self.port}",
            "listen_addresses=127.0.0.1",
            f"unix_socket_directories={self.directory}",
            "fsync=off",  # the machine does not crash
            "shared_buffers=32MB",
            *self._options,
        )
        with (self.directory / "log").open("ab") as log:
            return subprocess.Popen(
                [
                    self._program,
                    f"-D{self.directory / 'data'}",
                    *(f"-c{setting}" for setting in settings),
                ],
                stdout=log,
                stderr=log,
                cwd=self.directory,
                **self._identity(),
            )

    def _run(self, *command: str) -> None:
        done = subprocess.run(
            command, capture_output=True, text=True, cwd=self.directory, **self._identity()
        )
        if done.returncode:
            raise RuntimeError(f"no data directory: {done.stdout[-1000:]}{done.stderr[-1000:]}")

    def _identity(self) -> dict[str, Any]:
        if self._account is None:
            return {}
        return {"user": self._account.pw_uid, "group": self._account.pw_gid, "extra_groups": []}


def _account() -> pwd.struct_passwd | None:
    if os.geteuid() != 0:
        return None
    for name in ACCOUNTS:
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise RuntimeError("root needs an account to run PostgreSQL as: postgres or nobody")


def _running_children(pid: int) -> list[int]:
    """The children of a process that have not ended yet."""
    running = []
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it was reaped meanwhile
            state = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0]
            running += [int(child)] if state != "Z" else []
    return running
