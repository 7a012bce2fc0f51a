"""The workers' database as it is reached from outside the cluster."""

from __future__ import annotations

import importlib.util
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from hpo_job.cluster.client import Cluster, Object
from hpo_job.cluster.credentials import credentials, secret_of
from hpo_job.cluster.forward import forwarded
from hpo_job.cluster.names import MYSQL, SERVICE, WORKER, secret_of_settings
from hpo_job.cluster.pods import is_ready, why
from hpo_job.errors import ClusterError
from hpo_job.storage.urls import LOOPBACK, show_as

MOUNTED = "/var/run/hpo-job/storage"  # where pods mount the Secret
PORT = 3306  # of a URL without a port


class NotReadyError(ClusterError):
    """The database exists, and does not answer yet, or no longer."""


@contextmanager
def reachable(
    cluster: Cluster,
    secret: str | None = None,
    study: str | None = None,
    *,
    own: bool = False,
    at_once: bool = True,
) -> Iterator[str]:
    """Yield a URL of the workers' database that works on this machine, while this is open.

    A database in the cluster is reached through a port-forward; one outside of it is expected to
    be reachable as it is.

    Args:
        cluster: the namespace of the workers.
        secret: the Secret with the URL; by default the one that `secret_of` finds.
        study: for `secret_of`.
        own: likewise.
        at_once: whether all that is probably needed is asked at the same time: quicker over a slow
            network, and a few requests more where the database is not there.

    Raises:
        ClusterError: the Secret is missing or unusable, or the database is not ready.
    """
    ahead = [
        cluster.question("secrets", secret or secret_of_settings(study)),
        cluster.question("services", SERVICE),
        cluster.question("pods", **MYSQL),
        *([] if secret else [cluster.question("jobs", **WORKER)]),
    ]
    with cluster.asking_ahead(*(ahead if at_once else ())):
        secret = secret or secret_of(cluster, study, own=own)
        with reachable_with(cluster, credentials(cluster, secret), secret) as url:
            yield url


@contextmanager
def reachable_with(cluster: Cluster, data: dict[str, str], secret: str) -> Iterator[str]:
    """As `reachable`, with the content of a Secret."""
    url = _parsed(data)
    with tempfile.TemporaryDirectory(prefix="hpo-job-") as folder:
        url = with_driver(_with_certificate(url, data, Path(folder), secret))
        home, service = _service(cluster, url)
        if service is None or not _has_pods(service):
            if external := (service or {"spec": {}})["spec"].get("externalName"):
                url = url.set(host=external)  # the Service's own name resolves in the cluster only
            if url.host:
                show_as(url, f"{url.host}/{url.database} of Secret {secret}")
            yield url.render_as_string(hide_password=False)
            return

        def pod() -> str:
            return str(ready_pod(home, service)["metadata"]["name"])

        greets = url.get_backend_name() in ("mysql", "mariadb")
        with forwarded(home, pod, _target_port(service, url), greets=greets) as local:
            here = url.set(host=LOOPBACK, port=local)
            name = service["metadata"]["name"]
            show_as(here, f"{name}/{url.database} in namespace {home.namespace}")
            yield here.render_as_string(hide_password=False)


def address(data: dict[str, str]) -> tuple[str | None, int]:
    """The host and the port of the server that the content of a Secret leads to."""
    url = _parsed(data)
    return url.host, url.port or PORT


def with_driver(url: URL) -> URL:
    """A mysql URL with a driver that is installed here; the pods' one may need a compiler."""
    if url.get_backend_name() != "mysql" or importlib.util.find_spec("MySQLdb"):
        return url
    return url.set(drivername="mysql+pymysql")


def ready_pod(cluster: Cluster, service: Object) -> Object:
    """A pod of a Service that is ready.

    Raises:
        NotReadyError: there is none; says why.
    """
    pods = cluster.list_objects("pods", **service["spec"]["selector"])
    for pod in pods:
        if is_ready(pod):
            return pod
    name = service["metadata"]["name"]
    reasons = "; ".join(_why_not(cluster, pods)) or _why_none(cluster, name)
    raise NotReadyError(
        f"the database {name} in namespace {cluster.namespace} is not ready: {reasons}"
    )


def _parsed(data: dict[str, str]) -> URL:
    try:
        return make_url(data["url"].strip())
    except (ArgumentError, ValueError):
        raise ClusterError("the Secret's key `url` is not a database URL") from None


def _with_certificate(url: URL, data: dict[str, str], folder: Path, secret: str) -> URL:
    """The URL with the authority's certificate in ``folder``, if pods have it from the Secret.

    Raises:
        ClusterError: the Secret does not have it, or something else in its place.
    """
    path = Path(str(url.query.get("ssl_ca", "")))
    if not path.is_relative_to(MOUNTED):
        return url
    text, certificate = data.get(path.name), folder / "ca.pem"
    certificate.write_text(text or "")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(certificate)
    except ssl.SSLError as error:
        problem = "is no certificate" if text else "is missing"
        raise ClusterError(
            f"Secret {secret}: its key {path.name}, which its URL names as ssl_ca, {problem}"
        ) from error
    return url.set(query={**url.query, "ssl_ca": str(certificate)})


def _service(cluster: Cluster, url: URL) -> tuple[Cluster, Object | None]:
    """The namespace and the Service that the URL's host names; None for a host outside."""
    name, _, rest = (url.host or "").partition(".")
    parts = rest.split(".")
    if not name or not (not rest or parts[1:2] == ["svc"] or parts == [cluster.namespace]):
        return cluster, None
    home = cluster.in_namespace(parts[0]) if rest else cluster
    return home, home.find("services", name)


def _has_pods(service: Object) -> bool:
    """Whether pods serve it; else it stands for a server outside of the cluster."""
    spec = service["spec"]
    return bool(spec.get("selector")) and spec.get("type") != "ExternalName"


def _target_port(service: Object, url: URL) -> int:
    """The port of the pods behind the Service's port; a named one is taken to have its number."""
    for port in service["spec"].get("ports", []):
        if port["port"] == (url.port or PORT):
            target = port.get("targetPort", port["port"])
            return target if isinstance(target, int) else int(port["port"])
    return url.port or PORT


def _why_not(cluster: Cluster, pods: list[Object]) -> Iterator[str]:
    warnings = cluster.latest_warnings("Pod") if pods else {}
    for pod in pods:
        reason = why(pod) or warnings.get(str(pod["metadata"].get("uid"))) or "is starting"
        if pod["metadata"].get("deletionTimestamp"):
            reason = "is being stopped"
        yield f"pod {pod['metadata']['name']}: {reason}"


def _why_none(cluster: Cluster, name: str) -> str:
    statefulset = cluster.find("statefulsets", name)
    uid = str(statefulset["metadata"].get("uid")) if statefulset else None
    warning = cluster.latest_warnings("StatefulSet").get(uid) if uid else None
    look = f"kubectl -n {cluster.namespace} get statefulset {name}"
    return f"it has no pod; {warning or look}"
