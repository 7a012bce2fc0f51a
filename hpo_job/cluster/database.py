"""The study's database as seen from outside the cluster, and the Secret that leads to it."""

from __future__ import annotations

import base64
import binascii
import importlib.util
import secrets
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from hpo_job.cluster.client import Cluster, Object
from hpo_job.cluster.forward import forwarded
from hpo_job.cluster.names import INSTANCE, WORKER, secret_of_settings, storage_secret, study_of
from hpo_job.cluster.pods import is_ready, why
from hpo_job.errors import ClusterError, SpecError

SERVICE = "hpo-job-mysql"
SERVER_SECRET = "hpo-job-mysql"  # the server's own: passwords, certificate and key
USER = DATABASE = "hpo"
MOUNTED = "/var/run/hpo-job/storage"  # where pods have the Secret
READY = 600  # seconds for a new server to pull its image and initialise
YEARS = 10  # that the certificate of the database is good for


def secret_of(cluster: Cluster, study: str | None = None) -> str:
    """The name of the Secret that this namespace's workers read the database's URL from.

    study: or its folder: its Job tells, or the latest of all, or else its clone's settings.
    """
    name = None
    with suppress(SpecError):  # its folder may be half written
        name = study_of(study) if study else None

    def rank(job: Object) -> tuple[bool, str]:
        metadata = job["metadata"]
        return metadata["labels"].get(INSTANCE) == name, metadata["creationTimestamp"]

    for job in sorted(cluster.all("jobs", **WORKER), key=rank, reverse=True):
        if name := storage_secret(job):
            return name
    return secret_of_settings(study)  # no Job: none yet, or the last one is long over


def credentials(cluster: Cluster, name: str) -> dict[str, str]:
    """What the Secret holds. Raises ClusterError where it is missing, or has no URL."""
    data = _held(cluster, name)
    if data is None:
        cluster.require_namespace()
        raise ClusterError(
            f"Secret {name} is missing in namespace {cluster.namespace}: `hpo-job database` makes "
            "a database and its Secret; of a server of your own put the URL into its key `url`"
        )
    if not data.get("url"):
        raise ClusterError(
            f"Secret {name} in namespace {cluster.namespace}: has no key `url`, which should be "
            "the database's URL, like mysql+mysqldb://USER:PASSWORD@HOST/DATABASE"
        )
    return data


@contextmanager
def reachable(
    cluster: Cluster, secret: str | None = None, study: str | None = None
) -> Iterator[str]:
    """The URL of the workers' database that works from here, for as long as this is open.

    A database in the cluster is reached through the API server, as `kubectl port-forward` does
    it. One outside is expected to be in reach.

    Raises ClusterError where the Secret or the database is missing, or not ready.
    """
    data = credentials(cluster, secret or secret_of(cluster, study))
    url = _parsed(data["url"].strip())
    with tempfile.TemporaryDirectory(prefix="hpo-job-") as folder:
        query = dict(url.query)
        if str(query.get("ssl_ca", "")).startswith(MOUNTED):
            certificate = Path(folder) / "ca.pem"
            certificate.write_text(data.get(Path(str(query["ssl_ca"])).name, ""))
            url = url.set(query={**query, "ssl_ca": str(certificate)})
        url = with_driver(url)
        found = _service(cluster, url)
        if found is None:
            yield url.render_as_string(hide_password=False)
            return
        place, service = found
        port = _target_port(service, url)
        name = lambda: str(_ready_pod(place, service)["metadata"]["name"])  # noqa: E731
        with forwarded(place, name, port) as local:
            yield url.set(host="127.0.0.1", port=local).render_as_string(hide_password=False)


def with_driver(url: URL) -> URL:
    """A mysql URL with a driver that is installed here; the pods' may need a compiler."""
    if url.get_backend_name() != "mysql" or importlib.util.find_spec("MySQLdb"):
        return url
    return url.set(drivername="mysql+pymysql")


def make_secrets(cluster: Cluster, name: str) -> list[str]:
    """Make the Secrets of a server and, as ``name``, of its workers, where they are missing.

    The workers' holds the URL and the authority's certificate only; the names of those made.

    Raises ClusterError where ``name`` is there already, and leads to another server.
    """
    server, workers = _held(cluster, SERVER_SECRET), cluster.find("secrets", name)
    if server is None and workers is not None:
        raise ClusterError(
            f"Secret {name} is that of another server, since there is no Secret {SERVER_SECRET}; "
            "delete it, or use that server"
        )
    made = []
    if server is None:
        server = new_server(cluster.namespace)
        cluster.create(_secret(SERVER_SECRET, cluster.namespace, server))
        made.append(SERVER_SECRET)
    if workers is None:
        cluster.create(_secret(name, cluster.namespace, for_workers(server)))
        made.append(name)
    return made


def new_server(namespace: str) -> dict[str, str]:
    """New passwords, and a certificate of the server's own: what its Secret holds."""
    authority, certificate, key = _certificate(namespace)
    return {
        "password": secrets.token_urlsafe(24),
        "root-password": secrets.token_urlsafe(24),
        "ca.pem": authority,
        "server.pem": certificate,
        "server-key.pem": key,
    }


def for_workers(server: dict[str, str]) -> dict[str, str]:
    """What workers get to know of a server: the URL, and whom its certificate is signed by."""
    query = {"ssl_mode": "VERIFY_CA", "ssl_ca": f"{MOUNTED}/ca.pem"}
    url = URL.create("mysql+mysqldb", USER, server["password"], SERVICE, 3306, DATABASE, query)
    return {"url": url.render_as_string(hide_password=False), "ca.pem": server["ca.pem"]}


def wait_ready(cluster: Cluster, tell: Callable[[str], None], seconds: float = READY) -> None:
    """Wait until the database's pod is ready; whatever keeps it is told when it changes.

    Raises ClusterError, saying why it is not, or what the API server refuses.
    """
    deadline = time.monotonic() + seconds
    service, told = cluster.get("services", SERVICE), ""
    while True:
        try:
            _ready_pod(cluster, service)
            return
        except NotReadyError as error:
            if time.monotonic() > deadline:
                raise
            if str(error) != told:
                tell(told := str(error))
        time.sleep(2)


class NotReadyError(ClusterError):
    """The database is there, and does not answer yet, or not any more."""


def _held(cluster: Cluster, name: str) -> dict[str, str] | None:
    """What a Secret holds, None where there is none."""
    secret = cluster.find("secrets", name)
    if secret is None:
        return None
    held = {}
    for key, value in (secret.get("data") or {}).items():
        try:
            held[key] = base64.b64decode(value).decode()
        except (UnicodeDecodeError, binascii.Error):
            continue  # a key store or the like, which nobody here reads
    return held


def _secret(name: str, namespace: str, content: dict[str, str]) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {
                "app.kubernetes.io/name": "hpo-job",
                "app.kubernetes.io/component": "mysql",
            },
        },
        "type": "Opaque",
        "stringData": content,
    }


def _parsed(text: str) -> URL:
    try:
        return make_url(text)
    except (ArgumentError, ValueError):
        raise ClusterError("the Secret's key `url` is not a database URL") from None


def _service(cluster: Cluster, url: URL) -> tuple[Cluster, Object] | None:
    """The Service that the URL's host is, and where; None where it leads out of the cluster."""
    name, _, rest = (url.host or "").partition(".")
    place = rest.split(".")
    if not name or not (not rest or place[1:2] == ["svc"] or place == [cluster.namespace]):
        return None
    cluster = cluster.within(place[0]) if rest else cluster
    service = cluster.find("services", name)
    # one without a selector has no pods of its own: it stands for a server outside
    return (cluster, service) if service and service["spec"].get("selector") else None


def _target_port(service: Object, url: URL) -> int:
    """The pods' port behind the Service's: a name means the usual one."""
    for port in service["spec"].get("ports", []):
        if port["port"] == (url.port or 3306):
            target = port.get("targetPort", port["port"])
            return target if isinstance(target, int) else int(port["port"])
    return url.port or 3306


def _ready_pod(cluster: Cluster, service: Object) -> Object:
    """A pod of a Service that answers. Raises NotReadyError, saying why none does."""
    pods = cluster.all("pods", **service["spec"]["selector"])
    for pod in pods:
        if is_ready(pod):
            return pod
    name = service["metadata"]["name"]
    reasons = "; ".join(_why_not(cluster, pods)) or _why_none(cluster, name)
    raise NotReadyError(
        f"the database {name} in namespace {cluster.namespace} is not ready: {reasons}"
    )


def _why_not(cluster: Cluster, pods: list[Object]) -> Iterator[str]:
    warnings = cluster.latest_warnings("Pod") if pods else {}
    for pod in pods:
        reason = why(pod) or warnings.get(str(pod["metadata"].get("uid"))) or "is starting"
        if pod["metadata"].get("deletionTimestamp"):
            reason = "is being stopped"
        yield f"pod {pod['metadata']['name']}: {reason}"


def _why_none(cluster: Cluster, name: str) -> str:
    found = cluster.find("statefulsets", name)
    warnings = (
        cluster.latest_warnings("StatefulSet").get(str(found["metadata"].get("uid")))
        if found
        else None
    )
    return f"it has no pod; {warnings or f'kubectl -n {cluster.namespace} get statefulset {name}'}"


def _certificate(namespace: str) -> tuple[str, str, str]:
    """An authority that nobody else has the key of, and a server's certificate and key, as PEM."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    now = datetime.now(UTC)

    def named(name: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])

    def builder(subject: str, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(named(subject))
            .issuer_name(named("hpo-job database"))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=365 * YEARS))
        )

    authority_key, server_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority = (
        builder("hpo-job database", authority_key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(authority_key, hashes.SHA256())
    )
    hosts = [
        SERVICE,
        f"{SERVICE}.{namespace}",
        f"{SERVICE}.{namespace}.svc",
        f"{SERVICE}.{namespace}.svc.cluster.local",
        "localhost",
    ]
    alternatives = [x509.DNSName(host) for host in hosts]
    # 127.0.0.1 is what it is reached by through a port-forward
    names = x509.SubjectAlternativeName([*alternatives, x509.IPAddress(ip_address("127.0.0.1"))])
    server = (
        builder(SERVICE, server_key)
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(authority_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    key = server_key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return authority.public_bytes(pem).decode(), server.public_bytes(pem).decode(), key.decode()
