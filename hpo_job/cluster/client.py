"""The API server: the one module that talks to it, and what its refusals mean in one line."""

from __future__ import annotations

import copy
import json
import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import quote, urlencode

from hpo_job.errors import ClusterError

try:
    import urllib3
    from kubernetes import client
    from kubernetes.client.rest import RESTClientObject

    from hpo_job.cluster import kubeconfig
except ImportError as error:  # an extra, since most who tune on one machine need none of it
    raise ClusterError(
        f"{error.name} is not installed: pip install 'hpo-job[kubernetes]'"
    ) from None

Object = dict[str, Any]
NAMESPACE = "hpo-job"  # where nothing names another
MANAGER = "hpo-job"
TIMEOUT = (5, 60)  # seconds to connect, and to wait for an answer
RETRIES = urllib3.Retry(2, redirect=5, status=0, backoff_factor=0.2)
MERGE = "application/merge-patch+json"
APPLY = "application/apply-patch+yaml"
_WARNING = re.compile(r'^\d+ \S+ "(.*)"$')  # the header of that name, of RFC 7234
_NO_NAMESPACE = "namespace {} does not exist: make cluster makes that of k8s/settings"
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\S+")  # before each line of a log
_CANNOT = re.compile(r'cannot (\S+) resource "([^"]+)"(?: in API group "([^"]*)")?')


class Cluster:
    """A namespace of the cluster that a kubeconfig names; objects are plain dictionaries.

    namespace: where the commands look; that of the kubeconfig's context where not given, and
        `NAMESPACE` where that names none.
    warnings: what the API server has said beside its answers, each once.

    Raises ClusterError, one line, wherever the API server refuses.
    """

    def __init__(self, context: str | None = None, namespace: str | None = None) -> None:
        self._configuration, active = kubeconfig.load(context)
        self.namespace: str = namespace or active.get("namespace") or NAMESPACE
        self.warnings: list[str] = []
        # The client's own connections and credentials; its generated methods and their many
        # classes are left alone: they differ from one release to the next
        self._pool = RESTClientObject(self._configuration).pool_manager
        if not self._configuration.verify_ssl:  # the kubeconfig says so; kubectl is silent as well
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        # what it retries, it would tell at each try; what comes of it is an error of one line
        logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
        self._resources: dict[str, dict[str, tuple[str, bool]]] = {}

    def within(self, namespace: str) -> Cluster:
        """The same cluster, looked at in another namespace."""
        other = copy.copy(self)
        other.namespace = namespace
        return other

    @property
    def host(self) -> str:
        return str(self._configuration.host)

    def core(self) -> Any:
        """A core API client of its own, for whoever exchanges its transport: see `forward`."""
        return client.CoreV1Api(client.ApiClient(self._configuration))

    def get(self, resource: str, name: str) -> Object:
        """An object of this namespace; ``resource`` is like ``jobs`` or ``nodes``."""
        return self._json("GET", self._path(resource, name))

    def find(self, resource: str, name: str) -> Object | None:
        """As `get`, but None where there is none."""
        try:
            return self.get(resource, name)
        except NotFoundError:
            return None

    def all(self, resource: str, **labels: str) -> list[Object]:
        """The objects with all of these labels, double underscores in their names for a slash."""
        selector = ",".join(f"{key}={value}" for key, value in labels.items())
        query = {"labelSelector": selector} if selector else {}
        return list(self._json("GET", self._path(resource), query)["items"])

    def list_all_namespaces(self, resource: str, **fields: str) -> list[Object]:
        """The objects of all namespaces, with these fields; ``field__not`` for any other value."""
        selectors = [
            f"{key.removesuffix('__not').replace('_', '.')}"
            f"{'!=' if key.endswith('__not') else '='}{value}"
            for key, value in fields.items()
        ]
        group = _GROUPS.get(resource, "api/v1")
        query = {"fieldSelector": ",".join(selectors)} if selectors else {}
        return list(self._json("GET", f"/{group}/{resource}", query)["items"])

    def latest_warnings(self, kind: str) -> dict[str, str]:
        """By uid the latest warning that the cluster has noted about each object of a kind.

        Empty where this account may not read events: they explain, and nothing depends on them.
        """
        query = {"fieldSelector": f"involvedObject.kind={kind},type=Warning"}
        try:
            events = self._json("GET", self._path("events"), query)["items"]
        except ForbiddenError:
            return {}
        latest = sorted(events, key=lambda event: _moment(event))
        return {
            str(event["involvedObject"].get("uid")): " ".join(
                str(event.get("message") or "").split()
            )
            for event in latest
        }

    def apply(self, thing: Object, *, dry_run: bool = False) -> bool:
        """Server-side apply; whether the object was not there before."""
        query = {"fieldManager": MANAGER, "force": "true"}
        if dry_run:
            query["dryRun"] = "All"
        response = self._request("PATCH", self._path_of(thing), query, thing, APPLY)
        return bool(response.status == 201)

    def create(self, thing: Object) -> Object:
        """Create an object that is not there yet."""
        path = self._path_of(thing).rsplit("/", 1)[0]
        return self._json("POST", path, {"fieldManager": MANAGER}, thing)

    def patch(self, resource: str, name: str, change: Mapping[str, Any]) -> Object:
        """A merge patch, as `kubectl patch --type merge` sends it."""
        query = {"fieldManager": MANAGER}
        return self._json("PATCH", self._path(resource, name), query, change, MERGE)

    def delete(self, resource: str, name: str) -> None:
        """Delete an object, and first those that it owns; no error where there is none."""
        with suppress(NotFoundError):
            self._json("DELETE", self._path(resource, name), {"propagationPolicy": "Foreground"})

    def log(
        self, pod: str, *, follow: bool = False, since: str = ""
    ) -> Iterator[tuple[str | None, str]]:
        """The lines that a worker has written, each behind its time; None where a node speaks.

        follow: go on with those that it writes. since: a time that this has given, with which to
        go on behind the line that had it.
        """
        query = {"container": "worker", "timestamps": "true"}
        query |= {"follow": "true"} if follow else {}
        query |= {"sinceTime": since} if since else {}
        for line in self._lines(pod, query, follow=follow):
            when, _, text = line.partition(" ")
            if not _TIME.fullmatch(when):  # the node's own words, in the place of a log
                yield None, line
            elif when > since:  # always as many digits, so text can be compared
                yield when, text

    def _lines(self, pod: str, query: Mapping[str, str], *, follow: bool) -> Iterator[str]:
        path = self._path("pods", pod) + "/log"
        timeout = (TIMEOUT[0], None if follow else TIMEOUT[1])
        response = self._request("GET", path, query, timeout=timeout, stream=True)
        rest = b""
        try:
            for chunk in response.stream(amt=None):
                *lines, rest = (rest + chunk).split(b"\n")
                yield from (line.decode(errors="replace") for line in lines)
        except urllib3.exceptions.HTTPError:
            pass  # the connection ended with its pod
        if rest:
            yield rest.decode(errors="replace")

    def require_namespace(self) -> None:
        """Raise NotFoundError where the namespace does not exist, as far as one may ask."""
        try:
            self._json("GET", f"/api/v1/namespaces/{self.namespace}")
        except NotFoundError:
            raise NotFoundError(_NO_NAMESPACE.format(self.namespace)) from None
        except ForbiddenError:
            return

    def _path(self, resource: str, name: str = "") -> str:
        group = _GROUPS.get(resource, "api/v1")
        place = "" if resource == "nodes" else f"/namespaces/{self.namespace}"
        return f"/{group}{place}/{resource}" + (f"/{quote(name)}" if name else "")

    def _path_of(self, thing: Object) -> str:
        version, kind = str(thing["apiVersion"]), str(thing["kind"])
        root = f"/apis/{version}" if "/" in version else f"/api/{version}"
        if version not in self._resources:
            try:
                found = self._json("GET", root)["resources"]
            except (NotFoundError, NoApiServerError) as error:
                # of groups that are not there, an API server answers with a bare 404
                if isinstance(error, NoApiServerError) and error.code != 404:
                    raise
                found = []
            self._resources[version] = {
                each["kind"]: (each["name"], each["namespaced"])
                for each in found
                if "/" not in each["name"]
            }
        if kind not in self._resources[version]:
            raise ClusterError(f"{version} {kind}: this cluster does not know it")
        plural, namespaced = self._resources[version][kind]
        namespace = thing["metadata"].get("namespace", self.namespace)
        place = f"/namespaces/{namespace}" if namespaced else ""
        return f"{root}{place}/{plural}/{quote(thing['metadata']['name'])}"

    def _json(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content: str = "application/json",
    ) -> Object:
        response = self._request(method, path, query or {}, body, content)
        try:
            found: Object = json.loads(response.data)
        except ValueError as error:
            raise NoApiServerError(self.host, response.status) from error
        return found

    def _request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: Any = None,
        content: str = "application/json",
        timeout: tuple[int, int | None] = TIMEOUT,
        stream: bool = False,
    ) -> Any:
        auth = self._configuration.auth_settings().get("BearerToken", {})
        headers = {"Content-Type": content, "Accept": "application/json, */*"}
        if auth.get("value"):
            headers[auth["key"]] = auth["value"]
        try:
            response = self._pool.request(
                method,
                f"{self.host}{path}{'?' if query else ''}{urlencode(query)}",
                headers=headers,
                body=None if body is None else json.dumps(body),
                timeout=urllib3.Timeout(*timeout),
                retries=RETRIES if method == "GET" else False,
                preload_content=not stream,
            )
        except (urllib3.exceptions.HTTPError, OSError) as error:
            cause = getattr(error, "reason", None) or error
            raise ClusterError(
                f"the API server {self.host} does not answer: {' '.join(str(cause).split())}; is "
                "it the right context? kubectl config current-context"
            ) from error
        if response.status >= 400:
            raise _refused(response.status, response.data, self.namespace, self.host)
        for header in response.headers.getlist("Warning"):
            text = _WARNING.sub(r"\1", header).replace('\\"', '"')
            if text not in self.warnings:
                self.warnings.append(text)
        return response


class NotFoundError(ClusterError):
    """What was asked for does not exist."""


class NoApiServerError(ClusterError):
    """Something answers that is no API server: a proxy, or a log-in page."""

    def __init__(self, host: str, code: int) -> None:
        self.code = code
        super().__init__(
            f"{host} answers, but not as a Kubernetes API server does; is there a log-in page or a "
            "proxy before it? kubectl cluster-info"
        )


class DeniedError(ClusterError):
    """The cluster does not let this account in: asking again would not help."""


class ForbiddenError(DeniedError):
    """The account of the kubeconfig may not do that."""


class ImmutableError(ClusterError):
    """The object exists with something that cannot be changed."""


_GROUPS = {
    "jobs": "apis/batch/v1",
    "statefulsets": "apis/apps/v1",
}


def _moment(event: Object) -> str:
    """When something was noted last; newer API servers leave the older field empty."""
    return str(
        event.get("lastTimestamp")
        or event.get("eventTime")
        or event["metadata"].get("creationTimestamp")
        or ""
    )


def _refused(code: int, body: bytes, namespace: str, host: str) -> ClusterError:
    """What an answer of the API server means."""
    try:
        status = json.loads(body)
    except ValueError:
        status = {"message": body.decode(errors="replace")}
    message = " ".join(str(status.get("message") or code).split())
    details = status.get("details") or {}
    if code == 401:
        return DeniedError("the cluster does not accept the kubeconfig's credentials; log in again")
    # as a proxy answers whose way to the API server is not there: no word about the object
    if message.startswith("<") or (code == 404 and status.get("kind") != "Status"):
        return NoApiServerError(host, code)
    if "exceeded quota" in message:
        return ClusterError(
            f"namespace {namespace}: quota {message.partition('exceeded quota: ')[2]}"
        )
    if code == 403 and (cannot := _CANNOT.search(message)):
        resource = ".".join(filter(None, (cannot[2], cannot[3])))
        where = f" in namespace {namespace}" if "namespace" in message else ""
        return ForbiddenError(f"forbidden: this account may not {cannot[1]} {resource}{where}")
    if code == 403:
        return ForbiddenError(f"forbidden: {message}")
    if code == 404 and details.get("kind") == "namespaces":
        return NotFoundError(_NO_NAMESPACE.format(namespace))
    if code == 404:
        return NotFoundError(f"namespace {namespace}: {message}")
    if code == 422 and "immutable" in message:
        return ImmutableError(message)
    causes = details.get("causes") or []
    if code == 422 and causes:
        problems = "; ".join(f"{c.get('field')}: {c.get('message')}" for c in causes)
        return ClusterError(f"{details.get('kind')} {details.get('name')}: {problems}")
    return ClusterError(f"the API server refuses: {message}")
