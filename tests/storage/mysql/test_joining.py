"""Joining: the schema, the URL and its TLS, the capacity, and Optuna's private names."""

import subprocess
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import optuna
import pytest
from optuna.storages import RDBStorage
from sqlalchemy.engine import make_url

from hpo_job.errors import StorageError
from hpo_job.storage.database import Storage
from hpo_job.storage.mysql import (
    MySQLStorage,
    capacity,
    plain_text_warning,
    redacted_url,
)
from hpo_job.storage.mysql.url import read_url
from tests.needs import find_program
from tests.storage.mysql.fleet import study_on
from tests.storage.mysql.server import PrivateServer, new_database, sql


def test_an_older_schema_is_refused_with_the_command_that_upgrades_it(url: str) -> None:
    RDBStorage(url)
    sql(url, "UPDATE alembic_version SET version_num = 'v3.0.0.d'")
    with pytest.raises(StorageError, match="optuna storage upgrade --storage URL") as error:
        MySQLStorage(url)
    assert "\n" not in str(error.value)


def test_a_reader_makes_no_tables(url: str) -> None:
    """They are the first worker's to make, which may be doing so at this moment."""
    with pytest.raises(StorageError, match="has no studies yet; the first worker makes its tables"):
        Storage(url, patience=5)
    with pytest.raises(StorageError, match="has no studies yet"):
        MySQLStorage(url, patience=5, create=False)
    Storage(url, create=True, patience=5).close()
    Storage(url, patience=5).close()
    sql(url, "UPDATE alembic_version SET version_num = 'v3.0.0.d'")
    with pytest.raises(StorageError, match="optuna storage upgrade"):
        Storage(url, patience=5)


def test_tables_made_by_optuna_are_joined(url: str) -> None:
    RDBStorage(url)
    study = study_on(MySQLStorage(url))
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=1)
    assert len(optuna.load_study(study_name="s", storage=url).trials) == 1


def test_the_capacity_counts_connections_of_others(own_server: PrivateServer) -> None:
    sql(own_server.root_url, "SET GLOBAL max_connections = 40")
    before = capacity(own_server.root_url)
    storage = MySQLStorage(new_database(own_server.root_url))
    study_on(storage)
    with storage.exclusive("s"):
        during = capacity(own_server.root_url)
    assert (before.allowed, before.in_use) == (40, 0)
    assert (during.in_use, during.workers) == (1, 39)


@pytest.mark.parametrize(
    ("url", "warns"),
    [
        ("mysql://u:pw@localhost/d", False),
        ("mysql://u:pw@127.0.0.1/d", False),
        ("mysql://u:pw@/d?unix_socket=/s", False),
        ("mysql://u:pw@db.example/d", True),
        ("mysql+pymysql://u:pw@10.0.0.1/d?ssl_mode=DISABLED", True),
        ("mysql://u:pw@db.example/d?ssl_mode=PREFERRED", True),
        ("mysql://u:pw@db.example/d?ssl_mode=REQUIRED", False),
        ("mysql+pymysql://u:pw@db.example/d?ssl_ca=/ca.pem&ssl_mode=VERIFY_CA", False),
    ],
)
def test_plain_text_to_another_host_warns(url: str, warns: bool) -> None:
    said = plain_text_warning(url)
    assert (said is not None) == warns
    assert "pw" not in (said or "") and "pw" not in redacted_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "mysql://u:pw@h:port/d",
        "mysql+nodriver://u:pw@h/d",
        "mysql://u:pw@h/d?ssl_mode=MAYBE",
        "mysql://u:pw@h/d?ssl_mode=VERIFY_CA",
    ],
)
def test_a_url_that_cannot_be_used_is_one_line_without_its_password(url: str) -> None:
    with pytest.raises(StorageError) as error:
        read_url(url)
    assert "pw" not in str(error.value) and "\n" not in str(error.value)


# ---- TLS -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[PrivateServer, Path, Path]]:
    """A server with a certificate, its authority, and an authority that is not its own."""
    openssl = find_program("openssl")
    here = tmp_path_factory.mktemp("tls")

    def authority(name: str) -> Path:
        subprocess.run(
            [
                str(openssl),
                "req",
                "-x509",
                "-newkey",
                "rsa:2048",
                "-nodes",
                "-days",
                "2",
                "-subj",
                f"/CN={name}",
                "-keyout",
                here / f"{name}.key",
                "-out",
                here / f"{name}.pem",
            ],
            check=True,
            capture_output=True,
        )
        return here / f"{name}.pem"

    ours, other = authority("ours"), authority("other")
    commands = [
        f"{openssl} req -newkey rsa:2048 -nodes -subj /CN=127.0.0.1"
        " -addext subjectAltName=IP:127.0.0.1,DNS:127.0.0.1 -keyout server.key -out server.csr",
        f"{openssl} x509 -req -in server.csr -CA ours.pem -CAkey ours.key -CAcreateserial"
        " -days 2 -copy_extensions copyall -out server.pem",
    ]
    for command in commands:
        subprocess.run(command.split(), check=True, capture_output=True, cwd=here)
    server = PrivateServer(
        f"ssl-ca={ours}", f"ssl-cert={here / 'server.pem'}", f"ssl-key={here / 'server.key'}"
    )
    server.start()
    yield server, ours, other
    server.remove()


@pytest.mark.parametrize(
    "driver",
    [
        pytest.param("mysqldb", marks=pytest.mark.needs("mysqlclient")),
        pytest.param("pymysql", marks=pytest.mark.needs("pymysql")),
    ],
)
def test_the_servers_certificate_is_verified(
    tls: tuple[PrivateServer, Path, Path], driver: str
) -> None:
    server, ours, other = tls
    plain = make_url(new_database(server.root_url)).set(drivername=f"mysql+{driver}")

    def with_authority(authority: Path) -> str:
        query = {"ssl_mode": "VERIFY_CA", "ssl_ca": str(authority)}
        return plain.update_query_dict(query).render_as_string(False)

    storage = MySQLStorage(with_authority(ours), patience=5)
    cipher = storage._connection.run(
        lambda c, _: (c.execute("SHOW SESSION STATUS LIKE 'Ssl_cipher'"), c.fetchone())[1][1]
    )
    assert cipher
    with warnings.catch_warnings(), pytest.raises(StorageError):
        MySQLStorage(with_authority(other), patience=5)


# ---- the disk is full ---------------------------------------------------------------------


def fill(storage: MySQLStorage, trial: optuna.Trial) -> None:
    for i in range(4000):
        trial.set_user_attr(f"k{i}", "x" * 60000)
        storage.flush()


def test_no_room_for_data_is_one_line_and_the_study_stays_readable(
    start_server: Callable[..., PrivateServer],
) -> None:
    server = start_server(
        "innodb-file-per-table=0", "innodb-data-file-path=ibdata1:12M:autoextend:max:24M"
    )
    url = new_database(server.root_url)
    storage = MySQLStorage(url, patience=5)
    study = study_on(storage)
    trial = study.ask()
    with pytest.raises(StorageError, match="full") as error:
        fill(storage, trial)
    assert "\n" not in str(error.value) and len(str(error.value)) < 300
    assert len(optuna.load_study(study_name="s", storage=url).trials) == 1
