"""A kubeconfig with insecure-skip-tls-verify: over TLS, and as silent as kubectl."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import yaml

from hpo_job.cluster.client import Cluster
from hpo_job.cluster.server import new_server
from tests.cluster.conftest import kubeconfig


class Empty(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"items": []}')

    def log_message(self, *said: object) -> None: ...


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """An API server without objects, whose certificate nobody knows."""
    secret = new_server("hpo-job")
    for name in ("server.pem", "server-key.pem"):
        (tmp_path / name).write_text(secret[name])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem", tmp_path / "server-key.pem")
    with HTTPServer(("127.0.0.1", 0), Empty) as http:
        http.socket = context.wrap_socket(http.socket, server_side=True)
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        yield f"https://127.0.0.1:{http.server_port}"
        http.shutdown()
        thread.join()


def test_it_warns_of_nothing(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where warnings are errors, as in these tests."""
    file = tmp_path / "config"
    kubeconfig(file, server)
    settings = yaml.safe_load(file.read_text())
    settings["clusters"][0]["cluster"]["insecure-skip-tls-verify"] = True
    file.write_text(yaml.safe_dump(settings))
    monkeypatch.setenv("KUBECONFIG", str(file))
    assert Cluster(namespace="hpo-job").list_objects("pods") == []
