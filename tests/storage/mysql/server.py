"""A private MySQL or MariaDB server for tests and benchmarks: loopback only, own data."""

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

from sqlalchemy.engine import make_url

from tests.needs import find_program, find_server

# mysqlclient where it could be built; on a laptop without a compiler, PyMySQL
DRIVER = "mysqldb" if importlib.util.find_spec("MySQLdb") else "pymysql"


def connect(url: str) -> Any:
    """A plain DB-API connection in autocommit mode."""
    parsed = make_url(url)
    dialect: Any = parsed.get_dialect()
    driver = dialect.import_dbapi()
    _, arguments = dialect(dbapi=driver).create_connect_args(parsed)
    return driver.connect(autocommit=True, **arguments)


def sql(url: str, *statements: str) -> list[Any]:
    """Run statements on a connection of their own; the last one's rows."""
    connection = connect(url)
    try:
        cursor = connection.cursor()
        for statement in statements:
            cursor.execute(statement)
        return list(cursor.fetchall() or ())
    finally:
        connection.close()


def new_database(root_url: str) -> str:
    """Create an empty database; its URL."""
    name = f"hpo_{uuid.uuid4().hex[:12]}"
    sql(root_url, f"CREATE DATABASE {name}")
    return make_url(root_url).set(database=name).render_as_string(hide_password=False)


class PrivateServer:
    """A server process with a data directory of its own.

    Args:
        options: further options of the server, without the leading dashes.
        directory: where to keep the data; a temporary directory by default.
    """

    def __init__(self, *options: str, directory: Path | None = None) -> None:
        program = find_server()
        if program is None:
            raise FileNotFoundError("neither mariadbd nor mysqld is installed")
        self._program = program
        self._temporary = directory is None
        self.directory = directory or Path(tempfile.mkdtemp(prefix="hpo-job-mysql-"))
        self._options = [f"--{option}" for option in options]
        self._process: subprocess.Popen[bytes] | None = None
        self.port = _free_port()
        # A server that starts removes what it finds of others' temporary tables.
        (self.directory / "tmp").mkdir(parents=True)
        self._env = {**os.environ, "TMPDIR": str(self.directory / "tmp")}
        self._initialise()

    @property
    def root_url(self) -> str:
        """The URL of the server's administrator, without a database."""
        return f"mysql+{DRIVER}://root@127.0.0.1:{self.port}/"

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        log = (self.directory / "server.log").open("ab")
        self._process = subprocess.Popen(
            [
                self._program,
                "--no-defaults",
                "--user=root",
                f"--datadir={self.directory / 'data'}",
                f"--socket={self.directory / 'socket'}",
                f"--pid-file={self.directory / 'pid'}",
                f"--port={self.port}",
                "--bind-address=127.0.0.1",
                "--skip-log-bin",
                "--secure-file-priv=",
                *self._options,
            ],
            stdout=log,
            stderr=log,
            env=self._env,
        )
        log.close()
        deadline = time.monotonic() + 60
        while True:
            try:
                sql(self.root_url, "SELECT 1")
                return
            except Exception as error:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    text = (self.directory / "server.log").read_text(errors="replace")
                    raise RuntimeError(f"the server does not start: {text[-2000:]}") from error
                time.sleep(0.1)

    def stop(self) -> None:
        """A clean shutdown."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """kill -9."""
        self._end(signal.SIGKILL)

    def remove(self) -> None:
        """Stop the server and remove its data."""
        self._end(signal.SIGKILL)
        if self._temporary:
            shutil.rmtree(self.directory, ignore_errors=True)

    def _end(self, number: int) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(120)
            self._process = None

    def _initialise(self) -> None:
        data = self.directory / "data"
        install = find_program("mariadb-install-db", "mysql_install_db")
        if install and "maria" in Path(self._program).name:
            command = [
                install,
                "--no-defaults",
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
                "--user=root",
                f"--datadir={data}",
            ]
        else:
            command = [
                self._program,
                "--no-defaults",
                "--initialize-insecure",
                "--user=root",
                f"--datadir={data}",
            ]
        done = subprocess.run(command, capture_output=True, text=True, env=self._env)
        if done.returncode:
            raise RuntimeError(f"no data directory: {done.stdout[-1000:]}{done.stderr[-1000:]}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
