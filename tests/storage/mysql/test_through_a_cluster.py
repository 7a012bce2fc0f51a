"""A study in a cluster's database, read through the API server: a stand-in, but a real MySQL."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import copy
import csv
import io
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import optuna
import pytest
from click.testing import Result
from sqlalchemy.engine import make_url

from hpo_job.cluster.names import MYSQL
from hpo_job.storage.database import Storage
from hpo_job.storage.mysql import MySQLStorage, turns
from tests import synthetic
from tests.cluster.conftest import Api, api, kubeconfig, namespace  # noqa: F401  # fixtures
from tests.cluster.objects import JOB
from tests.storage.mysql.fleet import study_on
from tests.storage.mysql.proxy import RoundTrips
from tests.storage.mysql.server import PrivateServer, new_database

Object = dict[str, Any]


@pytest.fixture
def cluster_of(api: Api, namespace: None) -> Callable[[str], None]:  # noqa: F811
    """Lets a database's server be that of a cluster's pod."""

    def put(url: str) -> None:
        here = make_url(url)
        inside = here.set(host="hpo-job-mysql", port=3306).render_as_string(hide_password=False)
        data = {"url": base64.b64encode(inside.encode()).decode()}
        api.put("v1/secrets", {"metadata": {"name": "hpo-job-storage"}, "data": data})
        labels = dict(MYSQL)
        api.put(
            "v1/services",
            {
                "metadata": {"name": "hpo-job-mysql"},
                "spec": {"selector": labels, "ports": [{"port": 3306, "targetPort": "mysql"}]},
            },
        )
        ready = [{"type": "Ready", "status": "True"}]
        api.put(
            "v1/pods",
            {
                "metadata": {"name": "hpo-job-mysql-0", "labels": labels},
                "spec": {},
                "status": {"conditions": ready},
            },
        )
        api.listen("hpo-job-mysql-0", int(here.port or 3306))

    return put


@pytest.fixture
def round_trips(
    api: Api,  # noqa: F811
    cluster_of: Callable[[str], None],
) -> Callable[[str], AbstractContextManager[RoundTrips]]:
    """Counts those to a cluster's database, with a study of three trials, inside a block."""

    @contextlib.contextmanager
    def counting(url: str) -> Iterator[RoundTrips]:
        study = study_on(MySQLStorage(url))
        study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=3)
        cluster_of(url)
        with contextlib.closing(RoundTrips(int(make_url(url).port or 3306))) as counted:
            api.listen("hpo-job-mysql-0", counted.port)
            yield counted

    return counting


def test_results_come_through_a_port_forward(
    url: str, cluster_of: Callable[[str], None], cli: Callable[..., Result]
) -> None:
    study_on(MySQLStorage(url)).optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=3)
    cluster_of(url)
    done = cli("results", "s", "--cluster", "--format", "csv")
    assert done.exit_code == 0, done.output
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [row["state"] for row in rows] == ["COMPLETE"] * 3
    assert "study     s" in cli("status", "s", "--cluster").stdout


def test_reading_takes_few_round_trips(
    url: str,
    round_trips: Callable[[str], AbstractContextManager[RoundTrips]],
    cli: Callable[..., Result],
) -> None:
    """Each costs 0.5 s over a slow network; the connection is opened once and kept."""
    with round_trips(url) as counting:
        assert cli("results", "s", "--cluster").exit_code == 0
        assert counting.count <= 7


def test_status_reads_a_study_once(
    url: str,
    round_trips: Callable[[str], AbstractContextManager[RoundTrips]],
    cli: Callable[..., Result],
) -> None:
    """Unless it watches it: `status --watch` has to read it anew."""
    with round_trips(url) as counting:
        assert "study     s" in cli("status", "s", "--cluster").stdout
        assert counting.count <= 7


def test_a_reader_asks_nobody_whether_the_server_is_crowded(
    url: str,
    round_trips: Callable[[str], AbstractContextManager[RoundTrips]],
    cli: Callable[..., Result],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As workers do after a turn of two seconds, which four slow round trips are."""
    monkeypatch.setattr(turns, "TURN", 0.0)
    with round_trips(url) as counting:
        assert cli("results", "s", "--cluster").exit_code == 0
        assert counting.count <= 7


def test_a_status_before_the_first_worker_says_so(
    url: str, cluster_of: Callable[[str], None], cli: Callable[..., Result]
) -> None:
    cluster_of(url)
    text = " ".join(cli("status", "s", "--cluster").stdout.split())
    assert "has no studies yet; the first worker makes its tables" in text


def test_a_database_is_called_by_the_users_words(
    own_server: PrivateServer,
    api: Api,  # noqa: F811
    cluster_of: Callable[[str], None],
    cli: Callable[..., Result],
) -> None:
    """Not by the address of a port-forward, which nobody has typed."""
    url = new_database(own_server.root_url)
    cluster_of(url)
    name = "hpo-job-mysql/hpo_"
    for command in ("results", "status"):
        said = cli(command, "s", "--cluster").output
        assert name in said
        assert "127.0.0.1" not in said


def test_a_stopped_job_is_forecast_nothing(
    url: str,
    api: Api,  # noqa: F811
    cluster_of: Callable[[str], None],
    cli: Callable[..., Result],
) -> None:
    study = study_on(MySQLStorage(url))
    study.set_user_attr("spec", {"name": "digits", "budget": {"trials": 9}})
    trial = optuna.trial.create_trial(value=1.0)
    trial.datetime_start = datetime.now() - timedelta(minutes=5)
    study.add_trial(trial)
    cluster_of(url)
    job = api.put("batch/v1/jobs", copy.deepcopy(JOB))
    job["metadata"]["name"] = "s-worker"
    api.put("batch/v1/jobs", job)
    assert "rate " in cli("status", "s", "--cluster").stdout
    job["spec"]["suspend"] = True
    assert "rate " not in cli("status", "s", "--cluster").stdout
    job["spec"]["suspend"] = False
    job["status"] = {"conditions": [{"type": "Failed", "status": "True", "reason": "x"}]}
    assert "rate " not in cli("status", "s", "--cluster").stdout


# At 0.5 s a round trip, 15 of them are 7.5 s. Not seen by a proxy: opening the two connections that
# one waits for (to ask the API server, and to forward a port), and TLS on the database's
UNSEEN = 2 + 2 + 1
AT_ONCE = 4  # questions to the API server that cost one round trip


@pytest.mark.parametrize("command", ["results", "best", "status", "report"])
def test_what_a_slow_network_costs_a_command(
    url: str,
    api: Api,  # noqa: F811
    cluster_of: Callable[[str], None],
    cli: Callable[..., Result],
    tmp_path: Path,
    command: str,
) -> None:
    """All of it goes through the API server: its own answers, and those of the database."""
    opened = Storage(url, create=True)
    synthetic.study(synthetic.trials(30), storage=opened.optuna)
    opened.close()
    cluster_of(url)
    with contextlib.closing(RoundTrips(int(api.url.rpartition(":")[2]))) as counting:
        kubeconfig(tmp_path / "kubeconfig", f"http://127.0.0.1:{counting.port}")
        output = ["-o", tmp_path / "report.html"] if command == "report" else []
        done = cli(command, "synthetic", *output, "--cluster")
        assert done.exit_code == 0, done.output
        assert "synthetic" in (tmp_path / "report.html").read_text() if output else done.stdout
        one_after_the_other = counting.count - (AT_ONCE - 1)
        assert one_after_the_other + UNSEEN <= 15, (counting.count, api.calls)
        assert counting.connections <= AT_ONCE + 1


def test_what_is_known_to_be_needed_is_asked_at_once(
    url: str,
    api: Api,  # noqa: F811
    cluster_of: Callable[[str], None],
    cli: Callable[..., Result],
) -> None:
    """The API server answers none of the four questions before all have come."""
    study_on(MySQLStorage(url))
    cluster_of(url)
    api.barrier = asyncio.Barrier(AT_ONCE)
    assert cli("results", "s", "--cluster").exit_code == 0
    assert len(api.calls) == AT_ONCE
