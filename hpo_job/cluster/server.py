"""The MySQL server of k8s/mysql: its Secrets, and waiting until it is ready."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable, Iterator

from sqlalchemy.engine import URL

from hpo_job.cluster.certificate import new_certificate
from hpo_job.cluster.client import Cluster, Object
from hpo_job.cluster.credentials import read_secret
from hpo_job.cluster.database import MOUNTED, NotReadyError, reachable, ready_pod
from hpo_job.cluster.names import SERVICE
from hpo_job.cluster.refusals import ForbiddenError, NoAnswerError
from hpo_job.errors import ClusterError, HpoJobError, StorageError, UnreachableError, one_line
from hpo_job.storage.database import worker_capacity

SERVER_SECRET = "hpo-job-mysql"  # for the server only: passwords, certificate and key
USER = DATABASE = "hpo"
READY = 600  # seconds for a new server to pull its image and initialise
LOOK = 2.0  # seconds between two looks at its pod
CLAIM = "data-hpo-job-mysql-0"  # of the StatefulSet's volume
ERROR = "[ERROR]"  # in MySQL's log: the first such line is the cause, those below it follow from it
# First errors where a first start was cut off: after 0.5 s, after 1 to 3 s, and at the next try
CUT_OFF = (
    "Header page consists of zero bytes in datafile: ./ibdata1",
    "Cannot create redo log files because data files are corrupt",
    "--initialize specified but the data directory",
)
CRASHES = 2  # restarts after which its pod counts as crashing
_IDS = re.compile(r"\b(?=[a-f]*\d)[0-9a-f]{12,}\b")  # of containers, new ones at each try


def make_secrets(cluster: Cluster, name: str) -> Iterator[str]:
    """Create the Secrets of the server and of its workers, as far as they do not exist.

    Args:
        cluster: where.
        name: of the workers' Secret, which gets the URL and the authority's certificate only.

    Yields:
        The name of each Secret that was created, once it is.

    Raises:
        ClusterError: the workers' Secret exists already, and leads to another server; or the
            server's volume exists without its Secret.
    """
    server, workers = read_secret(cluster, SERVER_SECRET), cluster.find("secrets", name)
    if server is None:
        _require_no_volume(cluster)
    if server is None and workers is not None:
        raise ClusterError(
            f"Secret {name} belongs to another server, since there is no Secret {SERVER_SECRET}; "
            "delete it, or use that server"
        )
    if server is None:
        server = new_server(cluster.namespace)
        cluster.create(_secret(SERVER_SECRET, cluster.namespace, server))
        yield SERVER_SECRET
    if workers is None:
        cluster.create(_secret(name, cluster.namespace, for_workers(server)))
        yield name


def new_server(namespace: str) -> dict[str, str]:
    """The content of a server's Secret: new passwords, a new certificate and its key."""
    authority, certificate, key = new_certificate(SERVICE, namespace)
    return {
        "password": secrets.token_urlsafe(24),
        "root-password": secrets.token_urlsafe(24),
        "ca.pem": authority,
        "server.pem": certificate,
        "server-key.pem": key,
    }


def for_workers(server: dict[str, str]) -> dict[str, str]:
    """The content of the workers' Secret: the URL, and the authority's certificate."""
    query = {"ssl_mode": "VERIFY_CA", "ssl_ca": f"{MOUNTED}/ca.pem"}
    url = URL.create("mysql+mysqldb", USER, server["password"], SERVICE, 3306, DATABASE, query)
    return {"url": url.render_as_string(hide_password=False), "ca.pem": server["ca.pem"]}


def wait_ready(
    cluster: Cluster, secret: str, announce: Callable[[str], None], seconds: float = READY
) -> None:
    """Wait until workers can log in to the database.

    Args:
        cluster: where it is.
        secret: the workers' Secret, whose URL is tried.
        announce: called with the reason why it is not ready, whenever the reason changes.
        seconds: how long to wait.

    Raises:
        ClusterError: it is still not ready, it crashes again and again, it does not accept the
            Secret's password, or the API server refuses.
    """
    deadline = time.monotonic() + seconds
    service, announced = cluster.get("services", SERVICE), ""
    while error := _why_not_ready(cluster, service, secret):
        if time.monotonic() > deadline:
            raise error
        reason = _IDS.sub("…", str(error))
        if reason != announced:
            announce(announced := reason)
        time.sleep(LOOK)


def _why_not_ready(cluster: Cluster, service: Object, secret: str) -> HpoJobError | None:
    """Why workers cannot log in yet; an API server that does not answer ends no wait."""
    try:
        try:
            ready_pod(cluster, service)
            log_in(cluster, secret)
            return None
        except (NotReadyError, UnreachableError) as error:
            require_no_crash(cluster, service)
            return error
    except NoAnswerError as error:
        return error


def log_in(cluster: Cluster, secret: str) -> None:
    """Log in to the database as a worker would.

    Raises:
        UnreachableError: it does not answer.
        ClusterError: it does not accept the Secret.
    """
    try:
        with reachable(cluster, secret) as url:
            worker_capacity(url)
    except UnreachableError:
        raise
    except StorageError as error:
        raise ClusterError(
            f"the database does not accept Secret {secret}: {error}; its first start was cut off, "
            f"or its volume was made with other passwords: {_way_out(cluster)}"
        ) from error


def require_no_crash(cluster: Cluster, service: Object) -> None:
    """Raise ClusterError with what its log says if the database's pod crashes repeatedly."""
    for pod in cluster.list_objects("pods", **service["spec"]["selector"]):
        name = pod["metadata"]["name"]
        if pod["metadata"].get("deletionTimestamp"):  # another one takes its place
            continue
        for container in pod.get("status", {}).get("containerStatuses") or []:
            if container.get("restartCount", 0) >= CRASHES and not container.get("ready"):
                line = _cause(cluster, name, container["name"])
                hint = _delete(cluster) if any(each in line for each in CUT_OFF) else ""
                raise ClusterError(
                    f"the database crashes: pod {name} was started "
                    f"{container['restartCount'] + 1} times; its log says: {line}{hint}"
                )


def _cause(cluster: Cluster, pod: str, container: str) -> str:
    """The first line of a log that is an error, or else its last line."""
    try:
        lines = [text for _, text in cluster.log(pod, container=container, previous=True)]
    except ClusterError as error:
        return str(error)
    lines = [one_line(line) for line in lines if line.strip()]
    return next((line for line in lines if ERROR in line), lines[-1] if lines else "nothing")


def _require_no_volume(cluster: Cluster) -> None:
    """Raise ClusterError if a volume exists, whose database new passwords would not open."""
    try:
        claim = cluster.find("persistentvolumeclaims", CLAIM)
    except ForbiddenError:
        return  # the log-in notices it later
    if claim is not None:
        raise ClusterError(
            f"the volume of claim {CLAIM} has a database, but the Secret {SERVER_SECRET} with its "
            f"passwords is missing: {_way_out(cluster)}"
        )


def _way_out(cluster: Cluster) -> str:
    return (
        f"restore the Secret {SERVER_SECRET}, or delete the database with all its studies: "
        f"{_commands(cluster)}"
    )


def _delete(cluster: Cluster) -> str:
    """What to do about a volume that may never have become a database."""
    return (
        "; if it was never ready, its first start was cut off: delete the database, with all its "
        f"studies, and start anew: {_commands(cluster)}"
    )


def _commands(cluster: Cluster) -> str:
    kubectl = f"kubectl -n {cluster.namespace} delete"
    return f"{kubectl} statefulset {SERVICE}; {kubectl} pvc {CLAIM}"


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
