"""Objects of one namespace of a cluster: read, applied, deleted, and the logs of pods."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import quote

from hpo_job.cluster.connection import CONNECTION_ERRORS, Connection, with_query
from hpo_job.cluster.refusals import (
    NO_NAMESPACE,
    ForbiddenError,
    NoApiServerError,
    NotFoundError,
)
from hpo_job.errors import ClusterError

Object = dict[str, Any]
MANAGER = "hpo-job"
MERGE = "application/merge-patch+json"
APPLY = "application/apply-patch+yaml"
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\S+")  # at the start of each line of a log


class Cluster(Connection):
    """One namespace of the cluster that a kubeconfig names; objects are plain dictionaries.

    Every method raises ClusterError, with a message of one line, where the API server refuses.

    Args:
        context: of the kubeconfig; its current one by default.
        namespace: where to look; by default the context's, or else that of `Connection`.
    """

    def __init__(self, context: str | None = None, namespace: str | None = None) -> None:
        super().__init__(context, namespace)
        self._resources: dict[str, dict[str, tuple[str, bool]]] = {}

    def in_namespace(self, namespace: str) -> Cluster:
        """The same cluster, with another namespace."""
        other = copy.copy(self)
        other.namespace = namespace
        return other

    def get(self, resource: str, name: str) -> Object:
        """Get an object of this namespace.

        Args:
            resource: the plural of its kind, like ``jobs`` or ``nodes``.
            name: the object's name.

        Raises:
            NotFoundError: the object does not exist.
        """
        return self._json("GET", self._path(resource, name))

    def find(self, resource: str, name: str) -> Object | None:
        """As `get`, but None where the object does not exist."""
        try:
            return self.get(resource, name)
        except NotFoundError:
            return None

    def list_objects(self, resource: str, **labels: str) -> list[Object]:
        """The objects of this namespace that have all of these labels."""
        return list(self._json("GET", self.question(resource, **labels))["items"])

    def question(self, resource: str, name: str = "", **labels: str) -> str:
        """The request for an object, or for those with all of these labels; see `asking_ahead`."""
        selector = ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
        query = {"labelSelector": selector} if selector else {}
        return with_query(self._path(resource, name), query)

    def list_all_namespaces(self, resource: str, **fields: str) -> list[Object]:
        """The objects of all namespaces that have these values in these fields.

        Args:
            resource: as for `get`.
            fields: selectors: ``status_phase="Failed"`` asks for ``status.phase=Failed``, and
                ``status_phase__not="Failed"`` for every other value.
        """
        selectors = [
            f"{key.removesuffix('__not').replace('_', '.')}"
            f"{'!=' if key.endswith('__not') else '='}{value}"
            for key, value in fields.items()
        ]
        group = _GROUPS.get(resource, "api/v1")
        query = {"fieldSelector": ",".join(selectors)} if selectors else {}
        return list(self._json("GET", f"/{group}/{resource}", query)["items"])

    def preferred_version(self, group: str) -> str | None:
        """The version of an API group that this cluster prefers, as a path; None without it."""
        try:
            answer = self._json("GET", f"/apis/{group}")
        except NotFoundError:
            return None
        except NoApiServerError as error:
            if error.code == 404:  # an API server answers so where it has no such group
                return None
            raise
        return f"apis/{answer['preferredVersion']['groupVersion']}"

    def latest_warnings(self, kind: str) -> dict[str, str]:
        """The latest warning event about each object of a kind, by the object's uid.

        Empty where this account may not read events: they only explain, nothing depends on them.
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
        """Apply an object on the server's side (field manager `MANAGER`).

        Returns:
            Whether the object is new.

        Raises:
            ImmutableError: the object exists, and differs in a field that cannot be changed.
        """
        query = {"fieldManager": MANAGER, "force": "true"}
        if dry_run:
            query["dryRun"] = "All"
        response = self._request("PATCH", self._path_of(thing), query, thing, APPLY)
        return bool(response.status == 201)

    def create(self, thing: Object, *, dry_run: bool = False) -> Object:
        """Create an object that does not exist yet.

        Raises:
            ExistsError: it exists, and would be valid as a new one.
        """
        path = self._path_of(thing).rsplit("/", 1)[0]
        query = {"fieldManager": MANAGER, **({"dryRun": "All"} if dry_run else {})}
        return self._json("POST", path, query, thing)

    def patch(self, resource: str, name: str, change: Mapping[str, Any]) -> Object:
        """Send a merge patch, as `kubectl patch --type merge` does."""
        query = {"fieldManager": MANAGER}
        return self._json("PATCH", self._path(resource, name), query, change, MERGE)

    def delete(self, resource: str, name: str) -> None:
        """Delete an object after those that it owns; no error where it does not exist."""
        with suppress(NotFoundError):
            self._json("DELETE", self._path(resource, name), {"propagationPolicy": "Foreground"})

    def log(
        self,
        pod: str,
        *,
        follow: bool = False,
        since: str = "",
        container: str = "worker",
        previous: bool = False,
        latest: int | None = None,
    ) -> Iterator[tuple[str | None, str]]:
        """Read the log of a pod.

        Args:
            pod: the pod's name.
            follow: whether to wait for further lines, until the container ends or nothing was
                written for a minute.
            since: the time of the last line that was read; lines up to it are left out.
            container: of the pod.
            previous: whether the container's last start is meant, before it was restarted.
            latest: how many of the latest lines are read; all by default.

        Yields:
            The time and the text of each line. A line from the node itself, which stands where
            the log should be, has None for its time.
        """
        query = {"container": container, "timestamps": "true"}
        query |= {"previous": "true"} if previous else {}
        query |= {"follow": "true"} if follow else {}
        query |= {"tailLines": str(latest)} if latest else {}
        query |= {"sinceTime": since} if since else {}
        for line in self._lines(pod, query):
            when, _, text = line.partition(" ")
            if not _TIME.fullmatch(when):  # from the node itself
                yield None, line
            elif when > since:  # always the same number of digits, so texts compare as times
                yield when, text

    def _lines(self, pod: str, query: Mapping[str, str]) -> Iterator[str]:
        response = self._request("GET", self._path("pods", pod) + "/log", query, stream=True)
        rest = b""
        try:
            for chunk in response.stream(amt=None):
                *lines, rest = (rest + chunk).split(b"\n")
                yield from (line.decode(errors="replace") for line in lines)
        except CONNECTION_ERRORS as error:
            if "follow" in query:  # it may be silent, or has ended with its pod
                return  # whoever follows reads on from the last line that came whole
            raise self._no_answer(error) from error
        if rest:
            yield rest.decode(errors="replace")

    def require_namespace(self) -> None:
        """Check that the namespace exists, unless this account may not ask.

        Raises:
            NotFoundError: it does not exist.
        """
        try:
            self._json("GET", f"/api/v1/namespaces/{self.namespace}")
        except NotFoundError:
            raise NotFoundError(NO_NAMESPACE.format(self.namespace)) from None
        except ForbiddenError:
            return

    def _path(self, resource: str, name: str = "") -> str:
        """The path of a resource; one with slashes names its group itself."""
        group, _, plural = resource.rpartition("/")
        group = group or _GROUPS.get(resource, "api/v1")
        place = "" if resource in _OF_THE_CLUSTER else f"/namespaces/{self.namespace}"
        return f"/{group}{place}/{plural}" + (f"/{quote(name)}" if name else "")

    def _path_of(self, thing: Object) -> str:
        version, kind = str(thing["apiVersion"]), str(thing["kind"])
        if version not in self._resources:
            self._resources[version] = self._kinds(version)
        if kind not in self._resources[version]:
            raise ClusterError(f"{version} {kind}: this cluster does not know this kind of object")
        plural, namespaced = self._resources[version][kind]
        namespace = thing["metadata"].get("namespace", self.namespace)
        place = f"/namespaces/{namespace}" if namespaced else ""
        return f"{_root(version)}{place}/{plural}/{quote(thing['metadata']['name'])}"

    def _kinds(self, version: str) -> dict[str, tuple[str, bool]]:
        """The plural of each kind of an API version, and whether its objects are namespaced."""
        try:
            resources = self._json("GET", _root(version))["resources"]
        except NotFoundError:
            return {}
        except NoApiServerError as error:
            if error.code == 404:  # an API server answers so where it has no such group
                return {}
            raise
        return {
            each["kind"]: (each["name"], each["namespaced"])
            for each in resources
            if "/" not in each["name"]
        }


_GROUPS = {
    "jobs": "apis/batch/v1",
    "statefulsets": "apis/apps/v1",
    "priorityclasses": "apis/scheduling.k8s.io/v1",
    "runtimeclasses": "apis/node.k8s.io/v1",
    "resourceclaimtemplates": "apis/resource.k8s.io/v1",
}
_OF_THE_CLUSTER = ("nodes", "priorityclasses", "runtimeclasses")


def _root(version: str) -> str:
    return f"/apis/{version}" if "/" in version else f"/api/{version}"


def _moment(event: Object) -> str:
    """When an event was last seen; newer API servers leave the older field empty."""
    return str(
        event.get("lastTimestamp")
        or event.get("eventTime")
        or event["metadata"].get("creationTimestamp")
        or ""
    )
