"""Submitting asks the database itself before anything is sent: a stand-in, but a real server."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from sqlalchemy.engine import make_url

from hpo_job.storage.database import Storage
from hpo_job.storage.mysql import MySQLStorage
from tests import ROOT
from tests.cluster.conftest import Api, api, digits, namespace  # noqa: F401  # fixtures
from tests.cluster.objects import JOB, JOBS
from tests.storage.mysql.server import sql
from tests.storage.mysql.test_through_a_cluster import cluster_of  # noqa: F401  # a fixture

Object = dict[str, Any]


@pytest.fixture
def created(cli: Callable[..., Result], url: str, digits: Path) -> None:  # noqa: F811
    """The study of the job folder exists."""
    done = cli("create", digits, "--storage", url)
    assert done.exit_code == 0, done.output


@pytest.fixture
def running(api: Api) -> Object:  # noqa: F811
    """A healthy Job of the study, with another pod template than the one that is submitted."""
    job = api.put("batch/v1/jobs", copy.deepcopy(JOB))
    api.answer(f"patch {JOBS}/digits-worker", 422, "spec.template: field is immutable")
    return job


@pytest.fixture
def refusal(
    api: Api,  # noqa: F811
    cli: Callable[..., Result],
    cluster_of: Callable[[str], None],  # noqa: F811
    digits: Path,  # noqa: F811
) -> Callable[[str], str]:
    """How `submit --replace` is refused, with the healthy Job left alone."""

    def submit(url: str) -> str:
        cluster_of(url)
        refused = cli("submit", digits, "--replace")
        assert refused.exit_code == 2, refused.output
        assert api.applied == []
        assert f"{JOBS}/digits-worker" in api.objects
        assert "s3cret" not in refused.output
        return " ".join(refused.stderr.split())

    return submit


def test_another_spec(
    created: None,
    running: Object,
    refusal: Callable[[str], str],
    url: str,
    digits: Path,  # noqa: F811
) -> None:
    study = digits / "study.toml"
    study.write_text(f"seed = 9\n{study.read_text()}")
    assert "study 'digits' exists with another spec" in refusal(url)


def test_other_data(
    running: Object,
    refusal: Callable[[str], str],
    url: str,
    cli: Callable[..., Result],
    digits: Path,  # noqa: F811
) -> None:
    shutil.rmtree(digits)
    shutil.copytree(ROOT / "jobs/penguins-species", digits)
    for file in (digits / "study.toml", digits / "kustomization.yaml"):
        file.write_text(file.read_text().replace("penguins-species", "digits"))
    assert cli("create", digits, "--storage", url).exit_code == 0
    table = digits / "penguins.csv"
    rows = table.read_text().splitlines(keepends=True)
    table.write_text("".join(rows[:-1]))
    assert "study 'digits' was created with other data" in refusal(url)


def test_a_wrong_password(
    created: None, running: Object, refusal: Callable[[str], str], url: str
) -> None:
    account(url, "GRANT ALL ON {} TO")
    wrong = make_url(url).set(username="reader", password="s3cret2")
    line = refusal(wrong.render_as_string(hide_password=False))
    assert "Secret hpo-job-storage: " in line
    assert "user name or password are wrong" in line


@pytest.mark.parametrize("tables", [True, False])
def test_no_right_to_write(
    running: Object, refusal: Callable[[str], str], url: str, tables: bool
) -> None:
    """Neither into tables that are there, nor to make them."""
    if tables:
        MySQLStorage(url)
    account(url, "GRANT SELECT ON {} TO")
    reading = make_url(url).set(username="reader", password="s3cret")
    line = refusal(reading.render_as_string(hide_password=False))
    assert "this account may not write" in line


def test_a_new_study_in_an_empty_database(
    api: Api,  # noqa: F811
    cli: Callable[..., Result],
    cluster_of: Callable[[str], None],  # noqa: F811
    url: str,
    digits: Path,  # noqa: F811
) -> None:
    """Nothing is in it afterwards either: the first worker makes the tables."""
    cluster_of(url)
    done = cli("submit", digits)
    assert done.exit_code == 0, done.output
    assert "database with connections for" in done.stdout
    assert sql(url, "SHOW TABLES") == []


def test_a_study_that_goes_on(
    created: None,
    running: Object,
    api: Api,  # noqa: F811
    cli: Callable[..., Result],
    cluster_of: Callable[[str], None],  # noqa: F811
    url: str,
    digits: Path,  # noqa: F811
) -> None:
    """With a larger budget, which may change."""
    cluster_of(url)
    study = digits / "study.toml"
    study.write_text(study.read_text().replace("trials = 30", "trials = 31"))
    del api.answers[f"patch {JOBS}/digits-worker"]
    done = cli("submit", digits)
    assert done.exit_code == 0, done.output
    storage = Storage(url)
    assert [s.study_name for s in storage.optuna.get_all_studies()] == ["digits"]
    storage.close()


def account(url: str, grant: str) -> None:
    """An account `reader` of the server, with a right in the URL's database."""
    database = f"`{make_url(url).database}`.*"
    sql(
        url,
        "DROP USER IF EXISTS reader@'%'",
        "CREATE USER reader@'%' IDENTIFIED BY 's3cret'",
        f"{grant.format(database)} reader@'%'",
    )
