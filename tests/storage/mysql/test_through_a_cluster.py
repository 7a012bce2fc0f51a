"""A study in a cluster's database, read through the API server: a stand-in, but a real MySQL."""

from __future__ import annotations

import base64
import contextlib
import copy
import csv
import io
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import optuna
import pytest
from click.testing import Result
from sqlalchemy.engine import make_url

from hpo_job.storage.mysql import MySQLStorage
from tests.cluster.conftest import Api, api, namespace  # noqa: F401  # fixtures
from tests.cluster.test_errors import JOB
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
        labels = {"app.kubernetes.io/component": "mysql"}
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
    api: Api,  # noqa: F811
    cluster_of: Callable[[str], None],
    cli: Callable[..., Result],
) -> None:
    """Each costs 0.5 s over a slow network; the connection is opened once and kept."""
    study_on(MySQLStorage(url)).optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=3)
    cluster_of(url)
    with contextlib.closing(RoundTrips(int(make_url(url).port or 3306))) as counting:
        api.listen("hpo-job-mysql-0", counting.port)
        assert cli("results", "s", "--cluster").exit_code == 0
        assert counting.count <= 14


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
