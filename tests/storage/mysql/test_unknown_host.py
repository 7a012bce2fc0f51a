"""A database whose name does not resolve for now, as a headless Service's without its pod."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from click.testing import Result
from pymysql.err import OperationalError

from hpo_job.errors import UnreachableError
from hpo_job.storage import outage
from hpo_job.storage.mysql.connection import Connection
from hpo_job.storage.mysql.faults import reason
from hpo_job.storage.mysql.url import read_url
from hpo_job.storage.urls import parse, redacted_url
from hpo_job.worker.job import Job
from hpo_job.worker.signals import Stop


@pytest.mark.parametrize(
    "driver",
    [
        pytest.param("mysqldb", marks=pytest.mark.needs("mysqlclient")),
        pytest.param("pymysql", marks=pytest.mark.needs("pymysql")),
    ],
)
def test_a_new_worker_waits_for_it_and_its_pod_may_try_again(
    driver: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 2 would fail the whole Job: a pod that comes up while the database restarts."""
    monkeypatch.setattr(outage, "QUIET", 0.0)
    database = Connection(
        read_url(f"mysql+{driver}://me:secret@no.such.host.invalid/hpo"), 1.0, lambda: None
    )
    with pytest.raises(UnreachableError, match=r"no\.such\.host\.invalid") as raised:
        database.run(lambda cursor, attempt: cursor.execute("SELECT 1"))
    assert raised.value.exit_code == 1
    assert "waiting for the server" in caplog.text
    assert "MySQL error 200" in caplog.text
    assert "no.such.host.invalid" in caplog.text.partition("at most: ")[2]
    assert "secret" not in caplog.text + str(raised.value)


def test_a_worker_in_a_pod_names_the_server_and_no_options(
    job: Callable[..., str], cli: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    url = "mysql+mysqldb://hpo:secret@db:3306/hpo?ssl_mode=VERIFY_CA&ssl_ca=/var/run/ca.pem"
    labels: list[str] = []

    def run(task: Job, stop: Stop) -> int:
        labels.append(redacted_url(parse(task.storage)))
        return 0

    monkeypatch.setattr("hpo_job.worker.job.run_worker", run)
    monkeypatch.setattr("hpo_job.storage.urls._NAMES", {})
    cli("worker", job(), "--storage", url)
    cli("worker", job(), "--storage", url, HPO_JOB_OWNER="uid")
    cli("worker", job(), "--storage", url.replace("@db", "@127.0.0.1"), HPO_JOB_OWNER="uid")
    typed, in_pod, by_proxy = labels
    assert "ssl_mode=VERIFY_CA" in typed
    assert in_pod == "db/hpo"
    assert "ssl_mode=VERIFY_CA" in by_proxy  # an address that does not name the server


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (
            OperationalError(2003, "Can't connect to server on 'db' (111)"),
            "MySQL error 2003: Can't connect to server on 'db' (Connection refused)",
        ),
        (
            OperationalError(2003, "Can't connect to server on 'db' (110)"),
            "MySQL error 2003: Can't connect to server on 'db' (Connection timed out)",
        ),
        (OperationalError(2006, ""), "MySQL error 2006"),
        (OperationalError(0), "MySQL error 0"),
    ],
)
def test_the_drivers_reason_is_readable(error: Exception, line: str) -> None:
    assert reason(error) == line
