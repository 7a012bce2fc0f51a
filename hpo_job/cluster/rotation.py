"""New passwords and a new certificate for the server of k8s/mysql, while workers use it.

It can be cut off at any point and run again: new passwords are stored in the server's Secret before
the server gets them, and MySQL accepts the old ones until all pods have had time to read the new.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

from sqlalchemy.engine import make_url

from hpo_job.cluster.client import Cluster
from hpo_job.cluster.credentials import credentials, read_secret
from hpo_job.cluster.database import NotReadyError, reachable_with, ready_pod
from hpo_job.cluster.names import SERVICE
from hpo_job.cluster.refusals import NoAnswerError, adding
from hpo_job.cluster.server import LOOK, READY, SERVER_SECRET, USER, new_server, wait_ready
from hpo_job.errors import ClusterError
from hpo_job.storage import timeouts
from hpo_job.storage.defaults import PROMPT
from hpo_job.storage.mysql.passwords import accepts, change_passwords, discard_old_passwords

ROOT = "root"
NEXT = "next-"  # before the keys of passwords that the server may not have yet
PASSWORDS = {USER: "password", ROOT: "root-password"}  # keys of the server's Secret
END = "-----END CERTIFICATE-----"
UNFINISHED = "the rotation is not finished: run hpo-job database --rotate again"


def rotate(cluster: Cluster, secret: str, announce: Callable[[str], None]) -> None:
    """Change the passwords and the certificate of the database.

    Args:
        cluster: where it is.
        secret: the workers' Secret.
        announce: called with a line before each step.

    Raises:
        ClusterError: there is no such database; or a step failed, after which it has to be run
            again.
    """
    server, workers = read_secret(cluster, SERVER_SECRET), credentials(cluster, secret)
    if server is None:
        raise ClusterError(
            f"Secret {SERVER_SECRET} is missing in namespace {cluster.namespace}: only a database "
            "of `hpo-job database` can be rotated"
        )
    fresh = _pending(cluster, server)
    with adding(UNFINISHED):
        announce("changing the passwords; running workers keep their connections")
        _change_passwords(cluster, secret, workers, server, fresh)
        announce("storing them, and a new certificate, in the Secrets")
        _store(cluster, secret, workers, server, fresh)
        announce("restarting the database with the new certificate; workers wait for it")
        _restart(cluster)
        wait_ready(cluster, secret, announce)
        announce(f"waiting {timeouts.RENEWAL} s until all pods have the new password")
        time.sleep(timeouts.RENEWAL)
        root = _as_root(credentials(cluster, secret), fresh["root-password"])
        with reachable_with(cluster, root, secret) as url:
            discard_old_passwords(url, list(PASSWORDS), PROMPT)


def _pending(cluster: Cluster, server: dict[str, str]) -> dict[str, str]:
    """The passwords that come next: those of a rotation that was cut off, or new ones."""
    fresh = new_server(cluster.namespace)
    for key in PASSWORDS.values():
        fresh[key] = server.get(NEXT + key, fresh[key])
    content = {NEXT + key: fresh[key] for key in PASSWORDS.values()}
    cluster.patch("secrets", SERVER_SECRET, {"stringData": content})
    return fresh


def _change_passwords(
    cluster: Cluster,
    secret: str,
    workers: dict[str, str],
    server: dict[str, str],
    fresh: dict[str, str],
) -> None:
    """Change each password that the server does not accept already."""
    missing = {}
    for user, key in PASSWORDS.items():
        as_user = _with_account(workers, user, fresh[key])
        with reachable_with(cluster, as_user, secret) as url:
            if not accepts(url, PROMPT):
                missing[user] = fresh[key]
    if not missing:
        return
    # root's own password comes last
    password = server["root-password"] if ROOT in missing else fresh["root-password"]
    with reachable_with(cluster, _as_root(workers, password), secret) as url:
        change_passwords(url, missing, PROMPT)


def _store(
    cluster: Cluster,
    secret: str,
    workers: dict[str, str],
    server: dict[str, str],
    fresh: dict[str, str],
) -> None:
    """Store what the server and its clients use from now on.

    The old authority's certificate stays next to the new one: until the server has restarted, it
    has a certificate of that authority.
    """
    url = make_url(workers["url"].strip()).set(password=fresh["password"])
    content = {"url": url.render_as_string(hide_password=False)}
    authorities = fresh["ca.pem"] + _latest(server.get("ca.pem", ""))
    if "ca.pem" in workers:
        content["ca.pem"] = authorities
    cluster.patch("secrets", secret, {"stringData": content})
    change = {
        "stringData": {**fresh, "ca.pem": authorities},
        "data": {NEXT + key: None for key in PASSWORDS.values()},
    }
    cluster.patch("secrets", SERVER_SECRET, change)


def _restart(cluster: Cluster) -> None:
    """Have the StatefulSet replace its pod, as `kubectl rollout restart` does, and wait for it."""
    service = cluster.get("services", SERVICE)
    before = ready_pod(cluster, service)["metadata"].get("uid")
    now = {"kubectl.kubernetes.io/restartedAt": datetime.now(UTC).isoformat(timespec="seconds")}
    template = {"template": {"metadata": {"annotations": now}}}
    cluster.patch("statefulsets", SERVICE, {"spec": template})
    deadline = time.monotonic() + READY
    while time.monotonic() < deadline:
        try:
            if ready_pod(cluster, service)["metadata"].get("uid") != before:
                return
        except (NotReadyError, NoAnswerError):
            pass
        time.sleep(LOOK)
    raise ClusterError(f"the database {SERVICE} was not restarted within {READY} s")


def _latest(certificates: str) -> str:
    """The latest two of several certificates, newest first; a cut-off rotation needs the second."""
    return "".join(f"{each}{END}\n" for each in certificates.split(f"{END}\n")[:-1][:2])


def _as_root(workers: dict[str, str], password: str) -> dict[str, str]:
    return _with_account(workers, ROOT, password)


def _with_account(workers: dict[str, str], user: str, password: str) -> dict[str, str]:
    """The workers' Secret, with the URL of another account of the same server."""
    url = make_url(workers["url"].strip()).set(username=user, password=password)
    return {**workers, "url": url.render_as_string(hide_password=False)}
