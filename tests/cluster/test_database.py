"""The database's Secrets, the wait for it, and the way to it through the API server."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from sqlalchemy.engine import make_url

from hpo_job.cluster.client import Cluster
from hpo_job.cluster.database import reachable
from hpo_job.cluster.forward import _tunnel, forwarded
from hpo_job.cluster.refusals import ForbiddenError
from hpo_job.cluster.server import wait_ready
from hpo_job.errors import ClusterError
from tests.cluster.conftest import Api
from tests.cluster.test_place import decoded, ready_pod

Object = dict[str, Any]
SECRETS = "/api/v1/namespaces/hpo-job/secrets"
pytestmark = pytest.mark.usefixtures("namespace")


@pytest.fixture
def clone(digits: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(digits.parents[1])
    return digits.parents[1]


def test_workers_get_the_url_and_nothing_of_the_servers(
    api: Api, cli: Callable[..., Result], clone: Path
) -> None:
    ready_pod(api)
    done = cli("database")
    assert done.exit_code == 0, done.output
    assert "created    secret/hpo-job-mysql\ncreated    secret/hpo-job-storage\n" in done.stdout
    server = decoded(api.objects[f"{SECRETS}/hpo-job-mysql"])
    workers = decoded(api.objects[f"{SECRETS}/hpo-job-storage"])
    assert set(workers) == {"url", "ca.pem"}
    assert workers["ca.pem"] == server["ca.pem"]
    assert make_url(workers["url"]).password == server["password"]
    (statefulset,) = [thing for thing in api.applied if thing["kind"] == "StatefulSet"]
    assert "hpo-job-storage" not in str(statefulset)
    assert set(server) >= {"root-password", "server.pem", "server-key.pem"}

    api.created.clear()
    assert cli("database").exit_code == 0
    assert api.created == []  # the passwords stay


def test_what_was_broken_off_in_between_is_made(
    api: Api, cli: Callable[..., Result], clone: Path
) -> None:
    ready_pod(api)
    assert cli("database").exit_code == 0
    server = decoded(api.objects[f"{SECRETS}/hpo-job-mysql"])
    del api.objects[f"{SECRETS}/hpo-job-storage"]
    assert "created    secret/hpo-job-storage" in cli("database").stdout
    restored = decoded(api.objects[f"{SECRETS}/hpo-job-storage"])
    assert make_url(restored["url"]).password == server["password"]


def test_the_workers_secret_is_that_of_the_settings(
    api: Api, cli: Callable[..., Result], clone: Path
) -> None:
    ready_pod(api)
    file = clone / "k8s/settings/kustomization.yaml"
    file.write_text(file.read_text().replace("secretName: hpo-job-storage", "secretName: ours"))
    assert "created    secret/ours" in cli("database").stdout


def test_the_secret_of_another_server_is_left_alone(
    api: Api, cli: Callable[..., Result], clone: Path, secret: Object
) -> None:
    api.put("v1/secrets", secret)
    refused = cli("database")
    assert refused.exit_code == 2
    assert "Secret hpo-job-storage belongs to another server" in refused.stderr
    assert api.created == api.applied == []


def test_while_it_waits_it_says_for_what(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hpo_job.cluster.server.time.sleep", lambda seconds: None)
    selector = {"app.kubernetes.io/component": "mysql"}
    api.put("v1/services", {"metadata": {"name": "hpo-job-mysql"}, "spec": {"selector": selector}})
    api.put("apps/v1/statefulsets", {"metadata": {"name": "hpo-job-mysql", "uid": "s"}})
    api.note("StatefulSet", "s", "create Pod failed: exceeded quota: small")
    announced: list[str] = []

    def announce(line: str) -> None:
        announced.append(line)
        if len(announced) == 1:
            ready_pod(api, ready="False")
            api.note("Pod", "one before of that name", "stale")
            api.note("Pod", "m", "no disk is left", "2026-01-01T00:00:01Z")
        else:
            ready_pod(api)

    wait_ready(Cluster(), announce)
    first, second = announced
    assert "it has no pod; create Pod failed: exceeded quota: small" in first
    assert "pod hpo-job-mysql-0: no disk is left" in second
    api.objects.clear()
    api.put("v1/services", {"metadata": {"name": "hpo-job-mysql"}, "spec": {"selector": selector}})
    api.answer("get /api/v1/namespaces/hpo-job/pods", 401, "Unauthorized")
    with pytest.raises(ClusterError, match="log in again"):
        wait_ready(Cluster(), announced.append)


@pytest.fixture
def echo() -> Iterator[int]:
    """A port of this machine that gives back what it gets."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    while data := connection.recv(1 << 16):
                        connection.sendall(data)

        threading.Thread(target=serve, daemon=True).start()
        yield int(listener.getsockname()[1])
        listener.shutdown(socket.SHUT_RDWR)


def test_a_port_is_carried(api: Api, echo: int) -> None:
    """More than a frame of it, there and back, over connections one after the other."""
    api.listen("p", echo)
    sent = bytes(range(256)) * 2000
    with forwarded(Cluster(), lambda: "p", 3306) as port:
        for _ in range(2):
            with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
                threading.Thread(target=connection.sendall, args=(sent,), daemon=True).start()
                got = b""
                while len(got) < len(sent):
                    got += connection.recv(1 << 16)
            assert got == sent


@pytest.fixture
def greeter() -> Iterator[int]:
    """A port of this machine that speaks first, as MySQL does, and goes on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with connection, contextlib.suppress(OSError):
                        while True:
                            connection.sendall(b"hello" * 1000)

        threading.Thread(target=serve, daemon=True).start()
        yield int(listener.getsockname()[1])
        listener.shutdown(socket.SHUT_RDWR)


def test_what_nobody_reads_is_no_error(
    api: Api, greeter: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client's own thread would print a traceback."""
    stumbled: list[object] = []
    monkeypatch.setattr(threading, "excepthook", stumbled.append)
    api.listen("p", greeter)
    with _tunnel(Cluster(), "p", 3306) as there:
        assert there.recv(5) == b"hello"
        time.sleep(0.3)  # for more to have come
    with (
        forwarded(Cluster(), lambda: "p", 3306) as port,
        socket.create_connection(("127.0.0.1", port), timeout=20) as connection,
    ):
        assert connection.recv(5) == b"hello"
    time.sleep(0.5)
    assert stumbled == []


def test_a_port_forward_that_is_forbidden(api: Api) -> None:
    """Not the driver's "lost connection", long after."""
    api.answer("get /api/v1/namespaces/hpo-job/pods/p/portforward", 403, "forbidden")
    with (
        pytest.raises(ForbiddenError, match="may not get and create pods/portforward in namespace"),
        forwarded(Cluster(), lambda: "p", 3306),
    ):
        raise AssertionError("not reached")


def service(name: str, **spec: Any) -> Object:
    return {"metadata": {"name": name}, "spec": spec}


def url_secret(api: Api, host: str) -> None:
    import base64

    url = base64.b64encode(f"mysql+pymysql://u:p@{host}/d".encode()).decode()
    api.put(
        "v1/secrets",
        {"metadata": {"name": "hpo-job-storage"}, "data": {"url": url, "keystore": "//79"}},
    )


def test_a_service_without_pods_of_its_own_leads_out_of_the_cluster(api: Api) -> None:
    api.put("v1/services", service("db", externalName="db.example", type="ExternalName"))
    url_secret(api, "db")
    with reachable(Cluster()) as url:
        assert make_url(url).host == "db"


def test_a_service_in_another_namespace(api: Api, echo: int) -> None:
    api.put("v1/services", service("db", selector={"app": "db"}), "databases")
    pod = {
        "metadata": {"name": "db-0", "labels": {"app": "db"}},
        "spec": {},
        "status": {"conditions": [{"type": "Ready", "status": "True"}]},
    }
    api.put("v1/pods", pod, "databases")
    api.listen("db-0", echo, "databases")
    url_secret(api, "db.databases.svc.cluster.local")
    with reachable(Cluster()) as url:
        assert make_url(url).host == "127.0.0.1"
