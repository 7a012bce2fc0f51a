"""What commands with --cluster say of a database that is away or refuses: the user's words.

Never the address of a port-forward, nor a file that only this process knows: nobody typed them.
"""

from __future__ import annotations

import base64
import copy
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import Result
from sqlalchemy.engine import make_url

from hpo_job.cli import cluster_status, housekeeping, main, opening
from hpo_job.cluster.server import new_server
from hpo_job.storage.mysql import MySQLStorage
from tests.cluster.conftest import Api, api, namespace  # noqa: F401  # fixtures
from tests.cluster.objects import JOB
from tests.quick import write_job
from tests.storage.mysql.fleet import study_on
from tests.storage.mysql.server import PrivateServer, new_database, sql
from tests.storage.mysql.test_through_a_cluster import cluster_of  # noqa: F401  # a fixture

Object = dict[str, Any]
SECRET = "/api/v1/namespaces/hpo-job/secrets/hpo-job-storage"
OURS = ("127.0.0.1", "localhost", "/tmp", "/dev/shm", "%2F", "ssl_ca=", "Traceback")
# What a required argument gets, by its name; the others get the folder of a job
VALUES = {"name": "other", "source": "sqlite:///other.db", "kind": "history"}
MORE = {"logs": ["--trial", "0"], "delete": ["--study", "--yes"], "enqueue": ["x=1"]}
# Those that can look at a cluster's database
COMMANDS = sorted(
    name
    for name, command in main.commands.items()
    if {"--cluster", "--storage"} <= {name for param in command.params for name in param.opts}
)


def words(name: str, job: Path) -> list[str]:
    """A command with the least that it takes."""
    typed = [name]
    for param in main.commands[name].params:
        if param.required:
            value = VALUES.get(str(param.name), str(job))
            is_folder = isinstance(param, click.Option) and param.name == "output"
            typed += [param.opts[0]] if isinstance(param, click.Option) else []
            typed += [str(job / "output") if is_folder else value]
    return [*typed, *MORE.get(name, []), "--cluster"]


@pytest.fixture
def said(
    api: Api,  # noqa: F811
    cli: Callable[..., Result],
    tmp_path: Path,
    image_job: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[str], str]:
    """All that a command prints, which has to fail; only `status` goes on, with the Job's pods."""
    for module in (opening, cluster_status, housekeeping):
        monkeypatch.setattr(module, "PROMPT", 1.0)
    for study in ("quick", "cats-and-dogs"):  # for `delete`
        job: Object = copy.deepcopy(JOB)
        job["metadata"]["name"] = f"{study}-worker"
        job["metadata"]["labels"]["app.kubernetes.io/instance"] = study
        api.put("batch/v1/jobs", job)

    def run(name: str) -> str:
        folder = image_job() if name == "lr-find" else write_job(tmp_path)
        done = cli(*words(name, folder))
        assert (done.exit_code == 0) is (name == "status"), done.output
        text = " ".join(done.output.split())
        ours = [each for each in OURS if each in text.replace(str(tmp_path), "")]
        assert not ours, text
        return text

    return run


@pytest.mark.processes
@pytest.mark.parametrize("name", COMMANDS)
def test_a_database_that_lets_nobody_in(
    url: str,
    cluster_of: Callable[[str], None],  # noqa: F811
    said: Callable[[str], str],
    name: str,
) -> None:
    wrong = make_url(url).set(username="nobody", password="s3cret-of-nobody")
    cluster_of(wrong.render_as_string(hide_password=False))
    text = said(name)
    assert "hpo-job-mysql/hpo_" in text
    assert "in namespace hpo-job" in text
    assert "user name or password are wrong" in text
    assert "s3cret" not in text


@pytest.mark.processes
@pytest.mark.parametrize("name", COMMANDS)
def test_a_database_where_nobody_listens(
    api: Api,  # noqa: F811
    cluster_of: Callable[[str], None],  # noqa: F811
    said: Callable[[str], str],
    name: str,
) -> None:
    """Its pod is ready, and its server is not, or no longer."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    cluster_of(f"mysql+pymysql://hpo:s3cret@127.0.0.1:{port}/hpo")
    text = said(name)
    assert "no port-forward: pod hpo-job-mysql-0: nobody listens on its port 3306" in text
    assert "s3cret" not in text


@pytest.mark.parametrize("name", ["results", "list"])
def test_a_database_that_does_not_exist(
    root_url: str,
    cluster_of: Callable[[str], None],  # noqa: F811
    said: Callable[[str], str],
    name: str,
) -> None:
    cluster_of(make_url(root_url).set(database="nowhere").render_as_string(hide_password=False))
    text = said(name)
    assert "storage hpo-job-mysql/nowhere in namespace hpo-job: there is no such database" in text


@pytest.mark.parametrize("content", [None, "", "no certificate"])
def test_a_secret_whose_certificate_is_none(
    url: str,
    api: Api,  # noqa: F811
    cluster_of: Callable[[str], None],  # noqa: F811
    said: Callable[[str], str],
    content: str | None,
) -> None:
    """The file that it is written into is nobody's business."""
    query = {"ssl_mode": "VERIFY_CA", "ssl_ca": "/var/run/hpo-job/storage/ca.pem"}
    cluster_of(make_url(url).set(query=query).render_as_string(hide_password=False))
    if content is not None:
        api.objects[SECRET]["data"]["ca.pem"] = base64.b64encode(content.encode()).decode()
    problem = "is no certificate" if content else "is missing"
    assert f"Secret hpo-job-storage: its key ca.pem, which its URL names as ssl_ca, {problem}" in (
        said("results")
    )


def test_a_server_outside_of_the_cluster(
    root_url: str,
    url: str,
    api: Api,  # noqa: F811
    cluster_of: Callable[[str], None],  # noqa: F811
    cli: Callable[..., Result],
) -> None:
    """It is called by its host and by the Secret that names it."""
    database = str(make_url(url).database)
    sql(root_url, "CREATE USER IF NOT EXISTS outside@'%' IDENTIFIED BY 's3cret'")
    wrong = make_url(url).set(username="outside", password="s3cret")
    cluster_of(wrong.render_as_string(hide_password=False))
    text = base64.b64encode(wrong.render_as_string(hide_password=False).encode()).decode()
    api.objects[SECRET]["data"]["url"] = text
    done = cli("results", "s", "--cluster")
    assert done.exit_code == 2
    assert f"storage 127.0.0.1/{database} of Secret hpo-job-storage: " in done.stderr
    assert "s3cret" not in done.stderr


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str, str]]:
    """A server as `hpo-job database` makes it: a database, its authority, and another authority."""
    folder, made = tmp_path_factory.mktemp("secure"), new_server("hpo-job")
    for name in ("ca.pem", "server.pem", "server-key.pem"):
        (folder / name).write_text(made[name])
    files = {"ca": "ca.pem", "cert": "server.pem", "key": "server-key.pem"}
    server = PrivateServer(*(f"ssl-{option}={folder / name}" for option, name in files.items()))
    server.start()
    url = new_database(server.root_url)
    study_on(MySQLStorage(url)).optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=3)
    yield url, made["ca.pem"], new_server("hpo-job")["ca.pem"]
    server.remove()


@pytest.mark.needs("mariadb", "mysqlclient")
@pytest.mark.parametrize("driver", ["mysql+mysqldb", "mysql+pymysql"])
def test_the_servers_certificate_is_verified_through_the_tunnel(
    secure: tuple[str, str, str],
    api: Api,  # noqa: F811
    cluster_of: Callable[[str], None],  # noqa: F811
    said: Callable[[str], str],
    cli: Callable[..., Result],
    driver: str,
) -> None:
    url, authority, other = secure
    query = {"ssl_mode": "VERIFY_CA", "ssl_ca": "/var/run/hpo-job/storage/ca.pem"}
    inside = make_url(url).set(drivername=driver, query=query)
    cluster_of(inside.render_as_string(hide_password=False))

    def trust(certificate: str) -> None:
        text = base64.b64encode(certificate.encode()).decode()
        api.objects[SECRET]["data"]["ca.pem"] = text

    trust(authority)
    done = cli("results", "s", "--cluster", "--format", "csv")
    assert done.exit_code == 0, done.output
    assert len(done.stdout.splitlines()) == 4
    trust(other)
    text = said("results")
    assert f"storage hpo-job-mysql/{inside.database} in namespace hpo-job: " in text
    assert "certificate" in text.lower()
    assert "(MySQL error 2026)" in text or "(MySQL error 2003)" in text
