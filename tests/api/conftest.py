"""A stand-in for the API server (kmock), a kubeconfig that leads to it, and objects for it."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import kmock
import pytest
import yaml

from tests.manifests.renders import with_components

Object = dict[str, Any]
PLURALS = ("pods", "nodes", "resourcequotas", "secrets", "services", "configmaps",
           "serviceaccounts", "jobs", "events")  # fmt: skip
NAMESPACE = "hpo-job"
KINDS = {
    "v1": {"ConfigMap": "configmaps", "ServiceAccount": "serviceaccounts", "Secret": "secrets",
           "Service": "services"},
    "batch/v1": {"Job": "jobs"},
    "apps/v1": {"StatefulSet": "statefulsets"},
}  # fmt: skip


class Api:
    """A cluster of what was `put` into it; what was applied is in ``applied``."""

    def __init__(self, mock: Any) -> None:
        self.url = ""
        self.objects: dict[str, Object] = {}
        self.answers: dict[str, Any] = {}
        self.applied: list[Object] = []
        self.dry_runs = 0
        for version, kinds in KINDS.items():
            resources = [{"name": plural, "kind": kind, "namespaced": True}
                         for kind, plural in kinds.items()]  # fmt: skip
            self.answers[f"get {_root(version)}"] = {"resources": resources}
        mock[re.compile(r"/.*")] << self._handle

    def put(self, resource: str, thing: Object, namespace: str | None = NAMESPACE) -> Object:
        """Let an object of ``resource``, like ``batch/v1/jobs``, be there."""
        version, _, plural = resource.rpartition("/")
        place = f"/namespaces/{namespace}" if namespace else ""
        self.objects[f"{_root(version)}{place}/{plural}/{thing['metadata']['name']}"] = thing
        return thing

    def answer(self, call: str, code: int, message: str, **details: Any) -> None:
        """Let a call such as ``get /api/v1/nodes`` be refused."""
        self.answers[call] = kmock.KubernetesError(code, "", message, details)

    async def _handle(self, request: Any) -> Any:
        method, path = request.method.value.lower(), request.url.path
        canned = self.answers.get(f"{method} {path}")
        if isinstance(canned, Exception):
            raise canned
        if canned is not None:
            return canned() if callable(canned) else canned
        if method == "patch":
            return self._patch(path, json.loads(request.body), dict(request.params))
        if method == "get" and path.rsplit("/", 1)[1] in PLURALS:
            return {"items": self._listed(path, request.params.get("labelSelector", ""))}
        if path not in self.objects:
            raise kmock.KubernetesError(404, "NotFound", f"{path} not found", {})
        return self.objects.pop(path) if method == "delete" else self.objects[path]

    def _patch(self, path: str, body: Object, params: Mapping[str, str]) -> Object:
        """Server-side apply, which is forced, or a merge patch of the spec."""
        if "force" not in params:
            self.objects[path]["spec"].update(body["spec"])
            return self.objects[path]
        if "dryRun" in params:
            self.dry_runs += 1
        else:
            self.applied.append(body)
        return body

    def _listed(self, path: str, selector: str) -> list[Object]:
        wanted = dict(each.split("=", 1) for each in selector.split(",") if each)
        found = [thing for name, thing in self.objects.items() if name.startswith(f"{path}/")]
        return [thing for thing in found
                if wanted.items() <= (thing["metadata"].get("labels") or {}).items()]  # fmt: skip


def _root(version: str) -> str:
    return f"/apis/{version}" if "/" in version else f"/api/{version}"


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    """The stand-in, running; $KUBECONFIG names it, and nothing else does."""
    ready = threading.Event()
    box: list[Api] = []
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def serve() -> None:
        async with kmock.KubernetesScaffold() as mock, kmock.Server(mock) as server:
            stand_in = Api(mock)
            stand_in.url = str(server.url).rstrip("/")
            box.append(stand_in)
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), daemon=True)
    thread.start()
    assert ready.wait(20)
    stand_in = box[0]
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
    api.put("v1/namespaces", {"metadata": {"name": NAMESPACE}}, namespace=None)


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
