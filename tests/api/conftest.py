"""A stand-in for the API server (kmock), a kubeconfig that leads to it, and objects for it."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import kmock
import pytest
import yaml

from tests.manifests.renders import with_components

Object = dict[str, Any]
NAMESPACE = "hpo-job"
KINDS = {
    "v1": {"ConfigMap": "configmaps", "ServiceAccount": "serviceaccounts", "Secret": "secrets",
           "Service": "services"},
    "batch/v1": {"Job": "jobs"},
    "apps/v1": {"StatefulSet": "statefulsets"},
}  # fmt: skip


class Api:
    """A cluster of what was `put` into it; what was applied is in ``applied``."""

    def __init__(self, mock: Any, url: str) -> None:
        self.mock = mock
        self.url = url.rstrip("/")
        self.applied: list[Object] = []
        self.dry_runs = 0
        for version, kinds in KINDS.items():
            resources = [{"name": plural, "kind": kind, "namespaced": True, "verbs": ["get"]}
                         for kind, plural in kinds.items()]  # fmt: skip
            root = f"/apis/{version}" if "/" in version else f"/api/{version}"
            mock[f"get {root}"] << {"kind": "APIResourceList", "resources": resources}
        mock.fallback["patch", re.compile(r".*")] << self._apply
        self.nodes: list[Object] = []
        mock["get /api/v1/nodes"] << self._list_nodes
        for empty in ("v1/pods", "v1/resourcequotas", "v1/secrets", "v1/services",
                      "v1/configmaps", "v1/serviceaccounts", "batch/v1/jobs"):  # fmt: skip
            mock.resources[empty] = {}

    def put(self, resource: str, thing: Object) -> None:
        self.mock.objects[resource, NAMESPACE, thing["metadata"]["name"]] = thing

    def answer(self, call: str, code: int, message: str, **details: Any) -> None:
        """Let a call such as ``get /api/v1/nodes`` be refused."""
        status = {"kind": "Status", "code": code, "message": message, "details": details}
        self.mock[call] << code << status

    def make_namespace(self) -> None:
        self.mock[f"get /api/v1/namespaces/{NAMESPACE}"] << {"metadata": {"name": NAMESPACE}}

    async def _list_nodes(self, _: Any) -> Object:
        return {"items": self.nodes}

    async def _apply(self, request: Any) -> Object:
        body: Object = json.loads(request.body)
        if "dryRun" in request.params:
            self.dry_runs += 1
        else:
            self.applied.append(body)
        return body


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    """The stand-in, running; $KUBECONFIG names it, and nothing else does."""
    ready, box = threading.Event(), []
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def serve() -> None:
        async with kmock.KubernetesEmulator() as mock, kmock.Server(mock) as server:
            box.append((mock, str(server.url)))
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), daemon=True)
    thread.start()
    assert ready.wait(20)
    stand_in = Api(*box[0])
    kubeconfig(tmp_path / "kubeconfig", stand_in.url)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    yield stand_in
    loop.call_soon_threadsafe(stop.set)
    thread.join(20)
    loop.close()


def kubeconfig(file: Path, url: str) -> None:
    file.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "c", "cluster": {"server": url}}],
                "users": [{"name": "u", "user": {"token": "t"}}],
                "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
                "current-context": "x",
            }
        )
    )


@pytest.fixture
def secret() -> Object:
    """The storage Secret, of a database outside the cluster that nobody answers at."""
    url = base64.b64encode(b"sqlite:////nowhere/studies.db").decode()
    return {"metadata": {"name": "hpo-job-storage"}, "data": {"url": url}}


@pytest.fixture
def namespace(api: Api) -> None:
    """The namespace exists."""
    api.make_namespace()


@pytest.fixture
def digits(tmp_path: Path) -> Path:
    """A copy of jobs/digits with the k8s/ that it builds on."""
    return with_components(tmp_path / "clone", (), ()) / "jobs/digits"


@pytest.fixture
def worker_pod() -> Callable[..., Object]:
    """A pod of the Job digits-worker in some state."""

    def make(index: int = 0, phase: str = "Running", **status: Any) -> Object:
        return {
            "metadata": {
                "name": f"digits-worker-{index}-abcde",
                "annotations": {"batch.kubernetes.io/job-completion-index": str(index)},
                "labels": {"batch.kubernetes.io/job-name": "digits-worker"},
            },
            "spec": {"nodeName": "n1"} if phase == "Running" else {},
            "status": {"phase": phase, **status},
        }

    return make
