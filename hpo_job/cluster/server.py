"""The MySQL server of k8s/mysql: its Secrets, and waiting until it is ready."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable

from sqlalchemy.engine import URL

from hpo_job.cluster.certificate import new_certificate
from hpo_job.cluster.client import Cluster, Object
from hpo_job.cluster.credentials import read_secret
from hpo_job.cluster.database import MOUNTED, NotReadyError, ready_pod
from hpo_job.errors import ClusterError

SERVICE = "hpo-job-mysql"
SERVER_SECRET = "hpo-job-mysql"  # for the server only: passwords, certificate and key
USER = DATABASE = "hpo"
READY = 600  # seconds for a new server to pull its image and initialise
LOOK = 2.0  # seconds between two looks at its pod


def make_secrets(cluster: Cluster, name: str) -> list[str]:
    """Create the Secrets of the server and of its workers, as far as they do not exist.

    Args:
        cluster: where.
        name: of the workers' Secret, which gets the URL and the authority's certificate only.

    Returns:
        The names of the Secrets that were created.

    Raises:
        ClusterError: the workers' Secret exists already, and leads to another server.
    """
    server, workers = read_secret(cluster, SERVER_SECRET), cluster.find("secrets", name)
    if server is None and workers is not None:
        raise ClusterError(
            f"Secret {name} belongs to another server, since there is no Secret {SERVER_SECRET}; "
            "delete it, or use that server"
        )
    created = []
    if server is None:
        server = new_server(cluster.namespace)
        cluster.create(_secret(SERVER_SECRET, cluster.namespace, server))
        created.append(SERVER_SECRET)
    if workers is None:
        cluster.create(_secret(name, cluster.namespace, for_workers(server)))
        created.append(name)
    return created


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


def wait_ready(cluster: Cluster, announce: Callable[[str], None], seconds: float = READY) -> None:
    """Wait until the database's pod is ready.

    Args:
        cluster: where it is.
        announce: called with the reason why it is not ready, whenever the reason changes.
        seconds: how long to wait.

    Raises:
        ClusterError: it is still not ready, and why; or the API server refuses.
    """
    deadline = time.monotonic() + seconds
    service, announced = cluster.get("services", SERVICE), ""
    while True:
        try:
            ready_pod(cluster, service)
            return
        except NotReadyError as error:
            if time.monotonic() > deadline:
                raise
            if str(error) != announced:
                announce(announced := str(error))
        time.sleep(LOOK)


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
