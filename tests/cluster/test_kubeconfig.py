"""Whatever is wrong with a kubeconfig is one line, and what is right in it counts."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import Result

from hpo_job.cluster.client import Cluster
from tests.cluster.conftest import Api, kubeconfig

Change = Callable[[dict[str, Any]], None]


@pytest.fixture
def said(cli: Callable[..., Result]) -> Callable[..., str]:
    """The one line that a command ends with."""

    def invoke(*more: str) -> str:
        result = cli("scale", "digits", "2", *more)
        assert result.exit_code == 2, result.output
        assert len(result.stderr.splitlines()) == 1, result.stderr
        return result.stderr

    return invoke


@pytest.fixture
def changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Change, str], None]:
    """Lets $KUBECONFIG be a changed one."""

    def write(change: Change, url: str = "http://127.0.0.1:9") -> None:
        file = tmp_path / "changed"
        kubeconfig(file, url)
        settings = yaml.safe_load(file.read_text())
        change(settings)
        file.write_text(yaml.safe_dump(settings))
        monkeypatch.setenv("KUBECONFIG", str(file))

    return write


@pytest.mark.parametrize("text", ["{", "just words", "[1, 2]", "\0"])
def test_a_file_that_is_none(
    text: str, said: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken").write_text(text)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "broken"))
    assert "kubeconfig" in said()


def test_a_folder(
    said: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path))
    assert "kubeconfig" in said()


def test_a_certificate_that_is_none(
    said: Callable[..., str], changed: Callable[[Change], None]
) -> None:
    def damage(settings: dict[str, Any]) -> None:
        settings["clusters"][0]["cluster"].update(
            {"server": "https://127.0.0.1:9", "certificate-authority-data": "abc"}
        )

    changed(damage)
    assert "kubeconfig" in said()


def test_a_plugin_that_is_not_installed(
    said: Callable[..., str], changed: Callable[[Change], None]
) -> None:
    """All calls would be anonymous, and be refused as those of somebody else."""
    plugin = {"apiVersion": "client.authentication.k8s.io/v1", "command": "no-such-login"}
    changed(lambda settings: settings["users"][0].update(user={"exec": plugin}))
    line = said()
    assert "the kubeconfig's credentials" in line
    assert "no-such-login" in line


def test_a_context_where_none_is_current(
    api: Api, changed: Callable[[Change, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def without(settings: dict[str, Any]) -> None:
        del settings["current-context"]
        settings["contexts"][0]["context"]["namespace"] = "theirs"

    changed(without, api.url)
    assert Cluster("x").namespace == "theirs"
    assert Cluster("x").list_objects("pods") == []


class LogIn(http.server.BaseHTTPRequestHandler):
    """A portal before the API server, or a proxy on the way to it."""

    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.answer)

    answer = b"<html>log in</html>"

    def log_message(self, *said: object) -> None: ...


@pytest.fixture
def portal() -> Iterator[tuple[str, list[str], type[LogIn]]]:
    class Own(LogIn):
        asked: list[str] = []

    with http.server.HTTPServer(("127.0.0.1", 0), Own) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", Own.asked, Own
        server.shutdown()


@pytest.mark.web
def test_something_else_that_answers(
    said: Callable[..., str],
    changed: Callable[[Change, str], None],
    portal: tuple[str, list[str], type[LogIn]],
) -> None:
    changed(lambda settings: None, portal[0])
    assert "answers, but not as a Kubernetes API server does" in said()


@pytest.mark.web
def test_the_proxy_of_a_cluster(
    changed: Callable[[Change], None], portal: tuple[str, list[str], type[LogIn]]
) -> None:
    url, asked, handler = portal
    handler.answer = b'{"items": []}'
    changed(lambda settings: settings["clusters"][0]["cluster"].update({"proxy-url": url}))
    assert Cluster().list_objects("pods") == []
    assert asked == ["http://127.0.0.1:9/api/v1/namespaces/hpo-job/pods"]


def test_each_try_is_not_reported(
    said: Callable[..., str], changed: Callable[[Change], None]
) -> None:
    """Of a server that is not there: one line, though it was asked three times."""
    changed(lambda settings: None)
    assert "does not answer" in said()
