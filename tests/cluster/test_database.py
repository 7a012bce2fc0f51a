"""The database's Secrets, the wait for it, and the way to it through the API server."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from sqlalchemy.engine import make_url

from hpo_job.cluster.client import Cluster
from hpo_job.cluster.database import address, reachable
from hpo_job.cluster.pods import why
from hpo_job.cluster.refusals import NoAnswerError, NoApiServerError, error_of
from hpo_job.cluster.server import make_secrets, wait_ready
from hpo_job.errors import ClusterError
from tests.cluster.conftest import Api
from tests.cluster.test_place import decoded, ready_pod

Object = dict[str, Any]
SECRETS = "/api/v1/namespaces/hpo-job/secrets"
pytestmark = pytest.mark.usefixtures("namespace")


@pytest.fixture(autouse=True)
def _logs_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """No database runs here; tests/storage/mysql/test_submitting.py logs in to a real one."""
    monkeypatch.setattr("hpo_job.cluster.server.log_in", lambda cluster, secret: None)


@pytest.fixture
def clone(digits: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(digits.parents[1])
    return digits.parents[1]


def test_workers_get_the_url_and_nothing_of_the_servers(
    api: Api, cli: Callable[..., Result], clone: Path
) -> None:
    ready_pod(api)
    done = cli("database")
    assert done.exit_code == 0, done.output
    assert "created    secret/hpo-job-mysql\ncreated    secret/hpo-job-storage\n" in done.stdout
    server = decoded(api.objects[f"{SECRETS}/hpo-job-mysql"])
    workers = decoded(api.objects[f"{SECRETS}/hpo-job-storage"])
    assert set(workers) == {"url", "ca.pem"}
    assert workers["ca.pem"] == server["ca.pem"]
    assert make_url(workers["url"]).password == server["password"]
    (statefulset,) = [thing for thing in api.applied if thing["kind"] == "StatefulSet"]
    assert "hpo-job-storage" not in str(statefulset)
    assert set(server) >= {"root-password", "server.pem", "server-key.pem"}

    api.created.clear()
    assert cli("database").exit_code == 0
    assert api.created == []  # the passwords stay


def test_what_was_broken_off_in_between_is_made(
    api: Api, cli: Callable[..., Result], clone: Path
) -> None:
    ready_pod(api)
    assert cli("database").exit_code == 0
    server = decoded(api.objects[f"{SECRETS}/hpo-job-mysql"])
    del api.objects[f"{SECRETS}/hpo-job-storage"]
    assert "created    secret/hpo-job-storage" in cli("database").stdout
    restored = decoded(api.objects[f"{SECRETS}/hpo-job-storage"])
    assert make_url(restored["url"]).password == server["password"]


def test_each_secret_is_named_as_soon_as_it_is_made(api: Api) -> None:
    """Also if the next one is refused."""
    created = make_secrets(Cluster(), "hpo-job-storage")
    assert next(created) == "hpo-job-mysql"
    api.answer(f"post {SECRETS}", 403, "forbidden")
    with pytest.raises(ClusterError, match="forbidden"):
        next(created)


def test_the_workers_secret_is_that_of_the_settings(
    api: Api, cli: Callable[..., Result], clone: Path
) -> None:
    ready_pod(api)
    file = clone / "k8s/settings/kustomization.yaml"
    file.write_text(file.read_text().replace("secretName: hpo-job-storage", "secretName: ours"))
    assert "created    secret/ours" in cli("database").stdout


def test_the_secret_of_another_server_is_left_alone(
    api: Api, cli: Callable[..., Result], clone: Path, secret: Object
) -> None:
    api.put("v1/secrets", secret)
    refused = cli("database")
    assert refused.exit_code == 2
    assert "Secret hpo-job-storage belongs to another server" in refused.stderr
    assert api.created == api.applied == []


@pytest.mark.parametrize("workers_too", [False, True])
def test_a_volume_without_its_secret_is_left_alone(
    api: Api, cli: Callable[..., Result], clone: Path, secret: Object, workers_too: bool
) -> None:
    """New passwords would not open the database that is in it."""
    if workers_too:  # which does not make it another server's
        api.put("v1/secrets", secret)
    claim = {"metadata": {"name": "data-hpo-job-mysql-0"}, "spec": {}}
    api.put("v1/persistentvolumeclaims", claim)
    refused = cli("database")
    assert refused.exit_code == 2
    assert "Secret hpo-job-mysql with its passwords is missing: restore the Secret" in (
        refused.stderr
    )
    assert "delete pvc data-hpo-job-mysql-0" in refused.stderr
    assert api.created == api.applied == []


def test_a_database_that_crashes_ends_the_wait(
    api: Api, cli: Callable[..., Result], clone: Path
) -> None:
    pod = ready_pod(api, ready="False")
    waiting = {"reason": "CrashLoopBackOff", "message": "back-off 20s"}
    pod["status"]["containerStatuses"] = [
        {"name": "mysql", "restartCount": 2, "ready": False, "state": {"waiting": waiting}}
    ]
    log = b"2026-01-01T00:00:00.000000000Z started\n2026-01-01T00:00:01.000000000Z disk full\n"
    api.answers["get /api/v1/namespaces/hpo-job/pods/hpo-job-mysql-0/log"] = log
    refused = cli("database")
    assert refused.exit_code == 2
    assert "the database crashes: pod hpo-job-mysql-0 was started 3 times" in refused.stderr
    assert "its log says: disk full" in refused.stderr
    # MySQL ends its log in good order
    crashed(
        api,
        "[ERROR] unknown variable 'bogus=1'.",
        "[ERROR] [MY-010119] [Server] Aborting",
        "[System] MySQL Server - end.",
    )
    line = cli("database").stderr
    assert "its log says: [ERROR] unknown variable 'bogus=1'." in line
    assert "delete" not in line  # of what may hold studies


@pytest.mark.parametrize(
    "says",
    [  # MySQL 9.7's own words, of first starts that were killed
        "[ERROR] [MY-012224] [InnoDB] Header page consists of zero bytes in datafile: ./ibdata1, "
        "Space ID:0, Flags: 0.",
        "[ERROR] [MY-012960] [InnoDB] Cannot create redo log files because data files are corrupt "
        "or the database was not shut down cleanly after creating the data files.",
        "[ERROR] [MY-010457] [Server] --initialize specified but the data directory has files in "
        "it. Aborting.",
    ],
)
def test_a_first_start_that_was_cut_off_has_a_way_out(
    api: Api, cli: Callable[..., Result], clone: Path, says: str
) -> None:
    """The volume is neither empty nor a database, so no further start can succeed."""
    dictionary = "[ERROR] [MY-010020] [Server] Data Dictionary initialization failed."
    crashed(api, "[System] MySQL Server - start.", says, dictionary)
    line = cli("database").stderr
    assert "if it was never ready, its first start was cut off: delete the database, with" in line
    assert "all its studies" in line
    assert "kubectl -n hpo-job delete pvc data-hpo-job-mysql-0" in line


@pytest.mark.parametrize(
    "cause",
    [
        "[ERROR] [MY-013171] [InnoDB] Cannot boot server version 80400 on data directory built by "
        "version 90200. Downgrade is not supported",
        "[ERROR] [MY-012574] [InnoDB] Unable to lock ./ibdata1 error: 11",
    ],
)
def test_a_volume_with_studies_is_not_to_be_deleted(
    api: Api, cli: Callable[..., Result], clone: Path, cause: str
) -> None:
    """Almost every start that fails ends with the dictionary's error; the cause stands above it."""
    dictionary = "[ERROR] [MY-010020] [Server] Data Dictionary initialization failed."
    crashed(api, cause, dictionary, "[ERROR] [MY-010119] [Server] Aborting")
    line = cli("database").stderr
    assert f"its log says: {cause}" in line
    assert "delete" not in line


def crashed(api: Api, *log: str) -> None:
    """Let the database's pod have crashed twice, with these lines in its log."""
    pod = ready_pod(api, ready="False")
    pod["status"]["containerStatuses"] = [{"name": "mysql", "restartCount": 2, "ready": False}]
    lines = "".join(f"2026-01-01T00:00:01.000000000Z {line}\n" for line in log).encode()
    api.answers["get /api/v1/namespaces/hpo-job/pods/hpo-job-mysql-0/log"] = lines


def test_a_crashed_database_that_was_deleted_is_not_waited_for(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The way out of a crash is to delete its pod, which is there for a moment still."""
    selector = {"app.kubernetes.io/component": "mysql"}
    api.put("v1/services", {"metadata": {"name": "hpo-job-mysql"}, "spec": {"selector": selector}})
    pod = ready_pod(api, ready="False")
    pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    pod["status"]["containerStatuses"] = [{"name": "mysql", "restartCount": 5, "ready": False}]
    monkeypatch.setattr("hpo_job.cluster.server.time.sleep", lambda seconds: ready_pod(api))
    announced: list[str] = []
    wait_ready(Cluster(), "hpo-job-storage", announced.append)
    (line,) = announced
    assert "is being stopped" in line


def test_a_database_is_not_spoken_of_as_a_worker() -> None:
    ended = {"name": "mysql", "state": {"terminated": {"exitCode": 1}}}
    assert why({"status": {"containerStatuses": [ended]}}) == "ended with exit code 1"


def test_while_it_waits_it_says_for_what(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hpo_job.cluster.server.time.sleep", lambda seconds: None)
    selector = {"app.kubernetes.io/component": "mysql"}
    api.put("v1/services", {"metadata": {"name": "hpo-job-mysql"}, "spec": {"selector": selector}})
    api.put("apps/v1/statefulsets", {"metadata": {"name": "hpo-job-mysql", "uid": "s"}})
    api.note("StatefulSet", "s", "create Pod failed: exceeded quota: small")
    announced: list[str] = []

    def announce(line: str) -> None:
        announced.append(line)
        if len(announced) == 1:
            ready_pod(api, ready="False")
            api.note("Pod", "one before of that name", "stale")
            api.note("Pod", "m", "no disk is left", "2026-01-01T00:00:01Z")
        else:
            ready_pod(api)

    wait_ready(Cluster(), "hpo-job-storage", announce)
    first, second = announced
    assert "it has no pod; create Pod failed: exceeded quota: small" in first
    assert "pod hpo-job-mysql-0: no disk is left" in second
    api.objects.clear()
    api.put("v1/services", {"metadata": {"name": "hpo-job-mysql"}, "spec": {"selector": selector}})
    api.answer("get /api/v1/namespaces/hpo-job/pods", 401, "Unauthorized")
    with pytest.raises(ClusterError, match="log in again"):
        wait_ready(Cluster(), "hpo-job-storage", announced.append)


def test_an_api_server_that_is_away_for_a_moment_ends_no_wait(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hpo_job.cluster.server.time.sleep", lambda seconds: None)
    monkeypatch.setattr("hpo_job.cluster.connection.RETRIES", False)
    selector = {"app.kubernetes.io/component": "mysql"}
    api.put("v1/services", {"metadata": {"name": "hpo-job-mysql"}, "spec": {"selector": selector}})
    ready_pod(api)
    api.lose("get /api/v1/namespaces/hpo-job/pods")
    announced: list[str] = []
    wait_ready(Cluster(), "hpo-job-storage", announced.append)
    (line,) = announced
    assert "does not answer" in line


@pytest.mark.parametrize("code", [429, 500, 502, 503, 504])
def test_neither_does_one_that_has_no_answer_for_now(
    api: Api, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    monkeypatch.setattr("hpo_job.cluster.server.time.sleep", lambda seconds: None)
    selector = {"app.kubernetes.io/component": "mysql"}
    api.put("v1/services", {"metadata": {"name": "hpo-job-mysql"}, "spec": {"selector": selector}})
    ready_pod(api)
    pods = "get /api/v1/namespaces/hpo-job/pods"
    api.answer(pods, code, "busy")
    announced: list[str] = []

    def announce(line: str) -> None:
        announced.append(line)
        api.answers.pop(pods)

    wait_ready(Cluster(), "hpo-job-storage", announce)
    assert announced == ["the API server refuses: busy"]


@pytest.mark.parametrize("code", [502, 503, 504])
def test_the_page_of_a_gateway_is_no_answer_for_now(code: int) -> None:
    error = error_of(code, b"<html>no backend</html>", "hpo-job", "https://api")
    assert isinstance(error, NoAnswerError)
    page = error_of(404, b"<html>not here</html>", "hpo-job", "https://api")
    assert isinstance(page, NoApiServerError)


def test_a_reason_that_differs_in_an_id_only_is_said_once(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The node names another container at each try."""
    selector = {"app.kubernetes.io/component": "mysql"}
    api.put("v1/services", {"metadata": {"name": "hpo-job-mysql"}, "spec": {"selector": selector}})
    ready_pod(api, ready="False")
    api.note("Pod", "m", 'failed to start "da11c3352b9584cfa3f54e6bd8fb47f3": no pid')
    tries = iter(["b8add912c7a7b1a9d3891da2a94f5371", "8df8af792694fe08ec4a4ece9dbc3a03"])

    def sleep(seconds: float) -> None:
        sandbox = next(tries, None)
        if sandbox is None:
            ready_pod(api)
        else:
            api.note("Pod", "m", f'failed to start "{sandbox}": no pid', "2026-01-01T00:00:01Z")

    monkeypatch.setattr("hpo_job.cluster.server.time.sleep", sleep)
    announced: list[str] = []
    wait_ready(Cluster(), "hpo-job-storage", announced.append)
    (line,) = announced
    assert line.endswith('pod hpo-job-mysql-0: failed to start "…": no pid')


def service(name: str, **spec: Any) -> Object:
    return {"metadata": {"name": name}, "spec": spec}


def url_secret(api: Api, host: str) -> None:
    import base64

    url = base64.b64encode(f"mysql+pymysql://u:p@{host}/d".encode()).decode()
    api.put(
        "v1/secrets",
        {"metadata": {"name": "hpo-job-storage"}, "data": {"url": url, "keystore": "//79"}},
    )


def test_a_service_without_pods_of_its_own_leads_out_of_the_cluster(api: Api) -> None:
    outside = {"externalName": "db.example", "type": "ExternalName"}
    for selector in ({}, {"selector": {"app": "db"}}):  # which an ExternalName does not look at
        api.put("v1/services", service("db", **outside, **selector))
        url_secret(api, "db")
        with reachable(Cluster()) as url:
            assert make_url(url).host == "db.example"
    api.put("v1/services", service("db"))
    with reachable(Cluster()) as url:
        assert make_url(url).host == "db"


def test_a_service_in_another_namespace(api: Api) -> None:
    api.put("v1/services", service("db", selector={"app": "db"}), "databases")
    pod = {
        "metadata": {"name": "db-0", "labels": {"app": "db"}},
        "spec": {},
        "status": {"conditions": [{"type": "Ready", "status": "True"}]},
    }
    api.put("v1/pods", pod, "databases")
    url_secret(api, "db.databases.svc.cluster.local")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=greet, args=(listener,)).start()
        api.listen("db-0", int(listener.getsockname()[1]), "databases")
        with reachable(Cluster()) as url:
            assert make_url(url).host == "127.0.0.1"


def test_the_address_of_a_server_is_that_of_all_its_databases_and_accounts() -> None:
    urls = (
        "mysql+mysqldb://hpo:s3cret@db/hpo?ssl_mode=REQUIRED",
        " mysql://root:x@db:3306/other\n",
    )
    assert {address({"url": url}) for url in urls} == {("db", 3306)}
    assert address({"url": "mysql://hpo:s3cret@db:3307/hpo"}) == ("db", 3307)


def greet(listener: socket.socket) -> None:
    connection, _ = listener.accept()
    with connection:
        connection.sendall(b"hello")
        connection.recv(1)
