"""A stand-in for the API server (kmock), a kubeconfig that leads to it, and objects for it."""

from __future__ import annotations

import asyncio
import base64
import copy
import json
import re
import struct
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import kmock
import pytest
import yaml
from aiohttp import WSMsgType, web

from tests.cluster.objects import JOB
from tests.manifests.renders import with_components

Object = dict[str, Any]
PLURALS = (
    "pods",
    "nodes",
    "resourcequotas",
    "secrets",
    "services",
    "configmaps",
    "serviceaccounts",
    "jobs",
    "events",
    "statefulsets",
    "limitranges",
    "persistentvolumeclaims",
    "workloads",
)
NAMESPACE = "hpo-job"
# As containerd words it
NOBODY_LISTENS = (
    b"error forwarding port 3306 to pod 5bc, uid : failed to execute portforward in network "
    b'namespace "/var/run/netns/cni-1": failed to connect to localhost:3306 inside namespace '
    b"5bc, IPv4: dial tcp4 127.0.0.1:3306: connect: connection refused"
)
CREATED = "2026-01-01T00:00:00Z"
VERBS = ["create", "delete", "get", "list", "patch"]
KINDS = {
    "v1": {
        "ConfigMap": "configmaps",
        "ServiceAccount": "serviceaccounts",
        "Secret": "secrets",
        "Service": "services",
    },
    "batch/v1": {"Job": "jobs"},
    "apps/v1": {"StatefulSet": "statefulsets"},
    "policy/v1": {"PodDisruptionBudget": "poddisruptionbudgets"},
}


class Cut(bytes):
    """An answer that is cut off after these bytes, with its connection."""


class Server(kmock.KubernetesScaffold):
    """kmock's server, with port-forwards, which are WebSockets.

    listening: by the path of a port-forward, the port of this machine that it leads to.
    losing: calls, other than dry runs, that are carried out and whose answer gets lost once.
    """

    listening: ClassVar[dict[str, int]] = {}
    losing: ClassVar[set[str]] = set()

    async def __call__(self, raw: web.BaseRequest) -> web.StreamResponse:
        if raw.path in self.listening:
            return await _tunnel(raw, self.listening[raw.path])
        answer = await super().__call__(raw)
        call = f"{raw.method.lower()} {raw.path}"
        if call in self.losing and "dryRun" not in raw.query and raw.transport:
            self.losing.remove(call)
            raw.transport.close()
        return answer


class Api:
    """A cluster of what was `put` into it; what was applied is in ``applied``, and is there.

    calls: every request, as its method and path; queries: what follows the path; patches: the
        bodies of those that patch.
    encodings: what the sender of each request takes its answer in, such as gzip.
    warnings: the Warning headers of each answer to an apply.
    barrier: of requests that are answered once all of them have come; the next ones are at once.
    rules: of the Roles that the account has; None for an account that may do everything.
    """

    def __init__(self, mock: Any) -> None:
        self.url = ""
        self.objects: dict[str, Object] = {}
        self.answers: dict[str, Any] = {}
        self.applied: list[Object] = []
        self.created: list[Object] = []
        self.warnings: list[str] = []
        self.calls: list[str] = []
        self.queries: list[Object] = []
        self.encodings: list[str] = []
        self.patches: list[Object] = []
        self.dry_runs = 0
        self.barrier: asyncio.Barrier | None = None
        self.rules: list[Object] | None = None
        self.tolerations: dict[str, Any] = {}  # of a Job, as they were applied last
        for version, kinds in KINDS.items():
            self.answers[f"get {_root(version)}"] = {
                "kind": "APIResourceList",
                "apiVersion": "v1",
                "groupVersion": version,
                "resources": [
                    {
                        "name": plural,
                        "singularName": kind.lower(),
                        "kind": kind,
                        "namespaced": True,
                        "verbs": VERBS,
                    }
                    for kind, plural in kinds.items()
                ],
            }
        self.answers |= _discovery()
        mock[re.compile(r"/.*")] << self._handle

    def put(self, resource: str, thing: Object, namespace: str | None = NAMESPACE) -> Object:
        """Let an object of ``resource``, like ``batch/v1/jobs``, be there."""
        version, _, plural = resource.rpartition("/")
        place = f"/namespaces/{namespace}" if namespace else ""
        self.objects[f"{_root(version)}{place}/{plural}/{thing['metadata']['name']}"] = thing
        return thing

    def delete(self, resource: str, name: str, namespace: str = NAMESPACE) -> None:
        """Let an object be gone."""
        version, _, plural = resource.rpartition("/")
        del self.objects[f"{_root(version)}/namespaces/{namespace}/{plural}/{name}"]

    def note(self, kind: str, uid: str, message: str, when: str = CREATED) -> None:
        """Let the cluster have noted a warning about an object."""
        self.put(
            "v1/events",
            {
                "metadata": {"name": f"{uid}.{len(self.objects)}"},
                "type": "Warning",
                "involvedObject": {"kind": kind, "uid": uid},
                "lastTimestamp": when,
                "message": message,
            },
        )

    def install_kueue(self, **queue: Any) -> None:
        """Let the cluster have Kueue, with the LocalQueue ``default``; as Kueue 0.19 answers."""
        version = "kueue.x-k8s.io/v1beta2"
        self.answers["get /apis/kueue.x-k8s.io"] = {"preferredVersion": {"groupVersion": version}}
        self.put(f"{version}/localqueues", {"metadata": {"name": "default"}, **queue})

    def queue_job(self, job: Object, *conditions: Object, **workload: Any) -> Object:
        """Let a Job be in the queue ``default``, with a Workload in this state.

        Args:
            job: the Job.
            conditions: of the Workload.
            workload: its name, and what its spec has.
        """
        job["metadata"].setdefault("labels", {})["kueue.x-k8s.io/queue-name"] = "default"
        name = workload.pop("name", "job-digits-worker-33186")
        labels = {"kueue.x-k8s.io/job-uid": job["metadata"].setdefault("uid", "u")}
        when = f"2026-01-01T00:00:{len(self.objects):02d}Z"
        return self.put(
            "kueue.x-k8s.io/v1beta2/workloads",
            {
                "metadata": {"name": name, "labels": labels, "creationTimestamp": when},
                "spec": {"active": True, "podSets": [{"name": "main", "count": 2}], **workload},
                "status": {"conditions": list(conditions)},
            },
        )

    def listen(self, pod: str, port: int, namespace: str = NAMESPACE) -> None:
        """Let a pod's port be one of this machine."""
        Server.listening[f"/api/v1/namespaces/{namespace}/pods/{pod}/portforward"] = port

    def lose(self, call: str) -> None:
        """Let a call such as ``delete /…/jobs/digits-worker`` be carried out without an answer."""
        Server.losing.add(call)

    def answer(self, call: str, code: int, message: str, **details: Any) -> None:
        """Let a call such as ``get /api/v1/nodes`` be refused."""
        self.answers[call] = kmock.KubernetesError(code, "", message, details)

    async def _handle(self, request: Any) -> Any:
        method, path = request.method.value.lower(), request.url.path
        self.calls.append(f"{method} {path}")
        self.queries.append(dict(request.params))
        self.encodings += [v for k, v in request.headers.items() if k.lower() == "accept-encoding"]
        if (barrier := self.barrier) is not None:
            async with asyncio.timeout(20):
                await barrier.wait()
            self.barrier = None
        if self.rules is not None:
            self._authorize(method, path, dict(request.params))
        canned = self.answers.get(f"{method} {path}")
        if isinstance(canned, Exception):
            raise canned
        if callable(canned):
            canned = canned()
        if isinstance(canned, Cut):
            return _cut(request, canned)
        if canned is not None:
            return canned
        if method == "patch":
            return self._patch(path, json.loads(request.body), dict(request.params))
        if method == "post":
            return self._post(path, json.loads(request.body), dict(request.params))
        if method == "get" and path.rsplit("/", 1)[1] in PLURALS:
            return {"items": self._listed(path, request.params)}
        if path not in self.objects:
            raise kmock.KubernetesError(404, "NotFound", f"{path} not found", {})
        return self.objects.pop(path) if method == "delete" else self.objects[path]

    def _authorize(self, method: str, path: str, params: Mapping[str, str]) -> None:
        """Refuse what no rule allows, as RBAC does."""
        place = re.fullmatch(
            r"/apis?(?:/(?P<group>[a-z0-9.-]+\.[a-z0-9.-]+|batch|apps|policy))?/v[0-9a-z]+"
            r"(?:/namespaces/(?P<namespace>[^/]+))?/?(?P<resource>[a-z]+)?"
            r"(?:/(?P<name>[^/]+))?(?:/(?P<sub>[a-z]+))?",
            path,
        )
        if place is None or (place["resource"] is None and place["namespace"] is None):
            return  # which kinds there are, everybody may ask
        group, name = place["group"] or "", place["name"]
        resource = place["resource"] or "namespaces"
        name = name if place["resource"] else place["namespace"]
        resource += f"/{place['sub']}" if place["sub"] else ""
        verb = {"get": "get" if name else "list", "post": "create"}.get(method, method)
        # an object that an apply makes has to be created as well
        verbs = [verb, "create"] if "force" in params and path not in self.objects else [verb]
        for each in verbs:
            if not any(_allows(rule, each, group, resource, name) for rule in self.rules or []):
                namespace = place["namespace"]
                scope = f'the namespace "{namespace}"' if namespace else "the cluster scope"
                named = f'in API group "{group}" in {scope}'
                message = f'User "ann" cannot {each} resource "{resource}" {named}'
                raise kmock.KubernetesError(403, "Forbidden", message, {})

    def _post(self, path: str, body: Object, params: Mapping[str, str]) -> Any:
        """Create an object; whether it is valid is asked before whether it exists."""
        if invalid := _invalid(body):
            raise invalid
        name = body["metadata"]["name"]
        if f"{path}/{name}" in self.objects:
            reason = "AlreadyExists"
            raise kmock.KubernetesError(409, reason, f'"{name}" already exists', {})
        if "dryRun" in params:
            return body
        self.created.append(body)
        return self.put_at(f"{path}/{name}", body)

    def put_at(self, path: str, thing: Object) -> Object:
        if "stringData" in thing:
            thing = {**thing, "data": encoded(thing["stringData"])}
        self.objects[path] = thing
        return thing

    def _patch(self, path: str, body: Object, params: Mapping[str, str]) -> Any:
        """Server-side apply, or a merge patch of the spec."""
        self.patches.append(body)
        if "force" not in params:
            there = self.objects[path]
            there.setdefault("spec", {}).update(body.get("spec", {}))
            if "stringData" in body:  # of a Secret
                content = {**there["data"], **encoded(body["stringData"]), **body.get("data", {})}
                there["data"] = {key: value for key, value in content.items() if value is not None}
            if follow := self.answers.get(f"after patch {path}"):
                follow()
            return there
        if params["force"] != "true" and (fields := _conflicts(self.objects.get(path), body)):
            raise kmock.KubernetesError(409, "Conflict", _conflict(fields), {})
        live, ours = _tolerations(self.objects.get(path, body)), self.tolerations.get(path)
        sent = _tolerations(body)
        # what is not sent is taken away, unless somebody else has changed it since
        if sent != live and (sent is not None or live == ours):
            raise kmock.KubernetesError(422, "", "spec.template: field is immutable", {})
        if invalid := _invalid(body):  # the API server says first that a field is immutable
            raise invalid
        status = 200 if path in self.objects else 201
        if "dryRun" in params:
            self.dry_runs += 1
        else:
            self.applied.append(body)
            self.tolerations[path] = sent
            there = self.objects.setdefault(path, {"metadata": {"creationTimestamp": CREATED}})
            labels = {**there["metadata"].get("labels", {}), **body["metadata"].get("labels", {})}
            there["metadata"].update(body["metadata"], labels=labels)
            there.update(
                {key: copy.deepcopy(value) for key, value in body.items() if key != "metadata"}
            )
            if sent is None and live is not None:
                there["spec"]["template"]["spec"]["tolerations"] = live
        headers = {"Warning": f'299 - "{self.warnings[0]}"'} if self.warnings else {}
        return kmock.Response(status=status, payload=body, headers=headers)  # type: ignore[attr-defined]

    def _listed(self, path: str, params: Mapping[str, str]) -> list[Object]:
        """By label, and events by the kind that they are about; everywhere, or in a namespace."""
        wanted = _pairs(params.get("labelSelector", ""))
        kind = _pairs(params.get("fieldSelector", "")).get("involvedObject.kind")
        root, plural = path.rsplit("/", 1)
        anywhere = re.compile(rf"{root}(/namespaces/[^/]+)?/{plural}/[^/]+")
        return [
            thing
            for name, thing in self.objects.items()
            if anywhere.fullmatch(name)
            and wanted.items() <= (thing["metadata"].get("labels") or {}).items()
            and kind in (None, thing.get("involvedObject", {}).get("kind"))
        ]


async def _cut(request: Any, text: Cut) -> AsyncIterator[bytes]:
    yield bytes(text)
    request._raw_request.transport.close()


def encoded(content: Mapping[str, str]) -> dict[str, str]:
    """As a Secret's `data` has it."""
    return {key: base64.b64encode(value.encode()).decode() for key, value in content.items()}


def _allows(rule: Object, verb: str, group: str, resource: str, name: str | None) -> bool:
    return (
        verb in rule["verbs"]
        and group in rule["apiGroups"]
        and resource in rule["resources"]
        and ("resourceNames" not in rule or name in rule["resourceNames"])
    )


def _conflicts(live: Any, sent: Any, field: str = "") -> list[str]:
    """Fields with another value than the one that another manager has set, which is all of them.

    Lists count as one field, as those without a key do.
    """
    if isinstance(live, dict) and isinstance(sent, dict):
        return [
            each
            for key in live.keys() & sent.keys()
            for each in _conflicts(live[key], sent[key], f"{field}.{key}")
        ]
    return [] if live is None or live == sent else [field]


def _conflict(fields: list[str]) -> str:
    """As an API server words it; kubectl passes it on."""
    listed = "\n".join(f"- {field}" for field in sorted(fields))
    return f'Apply failed with {len(fields)} conflicts: conflicts with "hpo-job":\n{listed}'


def _invalid(thing: Object) -> kmock.KubernetesError | None:
    """The refusal of a Job whose worker asks for more CPUs than it may use; in whole numbers."""
    pod = thing.get("spec", {}).get("template", {}).get("spec", {})
    for container in pod.get("containers", []) if thing.get("kind") == "Job" else []:
        resources = container.get("resources", {})
        cpus = [str(resources.get(each, {}).get("cpu", "")) for each in ("requests", "limits")]
        if all(each.isdigit() for each in cpus) and int(cpus[0]) > int(cpus[1]):
            name = thing["metadata"]["name"]
            cause = {
                "field": "spec.template.spec.containers[0].resources.requests",
                "message": f'Invalid value: "{cpus[0]}": must be less than or equal to cpu limit '
                f"of {cpus[1]}",
            }
            details = {"kind": "Job", "name": name, "causes": [cause]}
            return kmock.KubernetesError(422, "Invalid", f"{name} is invalid", details)
    return None


def _tolerations(job: Object) -> Any:
    """What cannot be changed of a Job that has started: an example. An empty list is none."""
    return job.get("spec", {}).get("template", {}).get("spec", {}).get("tolerations") or None


def _pairs(selector: str) -> dict[str, str]:
    return dict(each.split("=", 1) for each in selector.split(",") if each and "!=" not in each)


async def _tunnel(raw: web.BaseRequest, port: int) -> web.StreamResponse:
    """As a kubelet carries a port: data on channel 0, errors on 1, both begun by the port."""
    socket = web.WebSocketResponse(protocols=("v4.channel.k8s.io",))
    await socket.prepare(raw)
    for channel in (0, 1):
        await socket.send_bytes(struct.pack("<BH", channel, int(raw.query["ports"])))
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        await socket.send_bytes(b"\1" + NOBODY_LISTENS)
        await socket.close()
        return socket

    async def back() -> None:
        while data := await reader.read(1 << 16):
            await socket.send_bytes(b"\0" + data)
        await socket.close()

    task = asyncio.create_task(back())
    try:
        async for message in socket:
            if message.type == WSMsgType.BINARY and message.data[0] == 0:
                writer.write(message.data[1:])
                await writer.drain()
    finally:
        task.cancel()
        writer.transport.abort()
        await asyncio.sleep(0)  # for the transport to be gone before its loop is
    return socket


def _discovery() -> dict[str, Object]:
    """Which groups of kinds there are, as kubectl asks for it."""
    groups = [version.split("/") for version in KINDS if "/" in version]
    named = [
        {
            "name": group,
            "versions": [{"groupVersion": f"{group}/{version}", "version": version}],
            "preferredVersion": {"groupVersion": f"{group}/{version}", "version": version},
        }
        for group, version in groups
    ]
    return {
        "get /api": {"kind": "APIVersions", "versions": ["v1"]},
        "get /apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": named},
    }


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
        async with Server() as mock, kmock.Server(mock) as server:
            stand_in = Api(mock)
            stand_in.url = str(server.url).rstrip("/")
            box.append(stand_in)
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), daemon=True)
    thread.start()
    assert ready.wait(120)
    stand_in = box[0]
    kubeconfig(tmp_path / "kubeconfig", stand_in.url)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    yield stand_in
    Server.listening.clear()
    Server.losing.clear()
    loop.call_soon_threadsafe(stop.set)
    thread.join(120)
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
def worker_job() -> Object:
    """The Job of the study digits, which is not in the cluster yet."""
    return copy.deepcopy(JOB)


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
                "uid": f"p{index}",
                "annotations": {"batch.kubernetes.io/job-completion-index": str(index)},
                "labels": {"batch.kubernetes.io/job-name": "digits-worker"},
            },
            "spec": {"nodeName": "n1"} if phase == "Running" else {},
            "status": {"phase": phase, **status},
        }

    return make
