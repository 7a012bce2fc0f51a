"""The port-forward: over TLS, with a server that speaks first, and with one that does not."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from hpo_job.cluster.client import Cluster
from hpo_job.cluster.forward import SPARE, forwarded
from hpo_job.cluster.refusals import ForbiddenError
from hpo_job.errors import ClusterError
from tests.cluster.conftest import Api, kubeconfig
from tests.cluster.kubelet import GREETING, Kubelet, running

CONNECTIONS = 300  # one in twelve stalled


@pytest.fixture
def serving(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[Kubelet], Cluster]]:
    """Runs a kubelet behind TLS; the cluster of the kubeconfig that leads to it."""
    with contextlib.ExitStack() as stack:

        def serve(kubelet: Kubelet) -> Cluster:
            stack.enter_context(running(tmp_path, kubelet))
            file = tmp_path / "kubeconfig"
            kubeconfig(file, kubelet.url)
            settings = yaml.safe_load(file.read_text())
            settings["clusters"][0]["cluster"]["insecure-skip-tls-verify"] = True
            file.write_text(yaml.safe_dump(settings))
            monkeypatch.setenv("KUBECONFIG", str(file))
            return Cluster(namespace="hpo-job")

        yield serve


def exchanged(port: int) -> bytes:
    """What comes back over a new connection to a forwarded port: the greeting, then an answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=120) as connection:
        got = b""
        while len(got) < len(GREETING):
            got += connection.recv(1 << 12)
        connection.sendall(b"select 1")
        while len(got) < len(GREETING + b"SELECT 1"):
            got += connection.recv(1 << 12)
        return got


@pytest.mark.parametrize("greets", [True, False])
def test_no_connection_waits_for_what_tls_has_decrypted(
    serving: Callable[[Kubelet], Cluster], greets: bool
) -> None:
    kubelet = Kubelet()
    with forwarded(serving(kubelet), lambda: "p", 3306, greets=greets) as port:
        for _ in range(CONNECTIONS):
            assert exchanged(port) == GREETING + b"SELECT 1"
    assert kubelet.connections == CONNECTIONS  # the one that was tried first is used


def test_a_tunnel_without_a_byte_is_opened_again(
    serving: Callable[[Kubelet], Cluster], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hpo_job.cluster.forward.CONNECT_TIMEOUT", 0.2)
    kubelet = Kubelet(mute=1)
    with forwarded(serving(kubelet), lambda: "p", 3306, greets=True) as port:
        assert exchanged(port) == GREETING + b"SELECT 1"
    assert kubelet.connections == 2


def test_a_tunnel_that_took_long_to_open_is_used(
    serving: Callable[[Kubelet], Cluster], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three round trips of a slow network may be longer than an unused tunnel is kept."""
    cluster, clock = serving(kubelet := Kubelet()), [0.0]
    opened = cluster.websocket

    def slowly(path: str, **query: str) -> Any:
        clock[0] += 2 * SPARE
        return opened(path, **query)

    monkeypatch.setattr(cluster, "websocket", slowly)
    monkeypatch.setattr("hpo_job.cluster.forward.time", SimpleNamespace(monotonic=lambda: clock[0]))
    with forwarded(cluster, lambda: "p", 3306, greets=True) as port:
        assert exchanged(port) == GREETING + b"SELECT 1"
    assert kubelet.connections == 1


def test_a_pod_that_never_says_anything(
    serving: Callable[[Kubelet], Cluster], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hpo_job.cluster.forward.CONNECT_TIMEOUT", 0.2)
    with (
        pytest.raises(ClusterError, match="no port-forward: pod p sends nothing within"),
        forwarded(serving(Kubelet(mute=9)), lambda: "p", 3306, greets=True),
    ):
        raise AssertionError("not reached")


def test_an_error_of_the_kubelet_is_reported(serving: Callable[[Kubelet], Cluster]) -> None:
    kubelet = Kubelet(error=b"connect: connection refused")
    with (
        pytest.raises(
            ClusterError, match="no port-forward: pod p: nobody listens on its port 3306"
        ),
        forwarded(serving(kubelet), lambda: "p", 3306, greets=True),
    ):
        raise AssertionError("not reached")


def test_any_other_error_of_the_kubelet_is_passed_on(
    serving: Callable[[Kubelet], Cluster],
) -> None:
    kubelet = Kubelet(error=b"unable to do port forwarding: socat not found")
    with (
        pytest.raises(ClusterError, match="no port-forward: pod p: unable to do port forwarding"),
        forwarded(serving(kubelet), lambda: "p", 3306, greets=True),
    ):
        raise AssertionError("not reached")


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
            with socket.create_connection(("127.0.0.1", port), timeout=120) as connection:
                threading.Thread(target=connection.sendall, args=(sent,), daemon=True).start()
                got = b""
                while len(got) < len(sent):
                    got += connection.recv(1 << 16)
            assert got == sent


def test_a_port_forward_that_is_forbidden(api: Api) -> None:
    """Not the driver's "lost connection", long after."""
    api.answer("get /api/v1/namespaces/hpo-job/pods/p/portforward", 403, "forbidden")
    with (
        pytest.raises(ForbiddenError, match="may not get and create pods/portforward in namespace"),
        forwarded(Cluster(), lambda: "p", 3306),
    ):
        raise AssertionError("not reached")


@pytest.mark.web
def test_an_api_server_that_does_not_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kubeconfig(tmp_path / "dead", "http://127.0.0.1:9")
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "dead"))
    with (
        pytest.raises(
            ClusterError, match=r"API server http://127\.0\.0\.1:9 of context x does not answer"
        ),
        forwarded(Cluster(), lambda: "p", 3306),
    ):
        raise AssertionError("not reached")
