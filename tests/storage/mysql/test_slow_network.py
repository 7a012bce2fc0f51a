"""Commands that look, over a network with long round trips."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from sqlalchemy.engine import make_url

from hpo_job.storage import defaults
from hpo_job.storage.database import Storage
from hpo_job.storage.mysql import MySQLStorage
from hpo_job.storage.mysql.freshness import fresh_until
from tests import synthetic
from tests.storage.mysql.proxy import RoundTrips


@pytest.fixture
def filled(url: str) -> str:
    opened = Storage(url, create=True)
    synthetic.study(synthetic.trials(30), storage=opened.optuna)
    opened.close()
    return url


def through(url: str, proxy: RoundTrips) -> str:
    return make_url(url).set(port=proxy.port).render_as_string(hide_password=False)


@pytest.mark.parametrize("command", ["results", "status", "best", "report"])
def test_a_command_reads_once_on_one_connection(
    filled: str, command: str, cli: Callable[..., Result], tmp_path: Path
) -> None:
    """At 0.5 s a round trip, 10 of them are 5 s: a report asks for the trials 43 times."""
    output = ["-o", tmp_path / "report.html"] if command == "report" else []
    with contextlib.closing(RoundTrips(int(make_url(filled).port or 0))) as proxy:
        done = cli(command, "synthetic", *output, "--storage", through(filled, proxy))
        assert done.exit_code == 0, done.output
        assert (proxy.connections, proxy.count <= 10) == (1, True), proxy.count


@pytest.mark.parametrize("delay", [0.25, pytest.param(0.75, marks=pytest.mark.slow)])
def test_results_come_over_a_slow_network(
    filled: str, delay: float, cli: Callable[..., Result]
) -> None:
    with contextlib.closing(RoundTrips(int(make_url(filled).port or 0), delay)) as proxy:
        done = cli("results", "synthetic", "--format", "csv", "--storage", through(filled, proxy))
        assert done.exit_code == 0, done.output
        assert len(done.stdout.splitlines()) == 31
        assert proxy.connections == 1
        assert proxy.count <= 14


def test_a_reader_sees_its_own_writes_and_what_others_did_before_the_next_view(url: str) -> None:
    worker = MySQLStorage(url)
    reader = MySQLStorage(url, fresh_for=3600)
    study_id = worker.create_new_study([])
    assert reader.get_all_trials(study_id) == []
    assert reader.get_study_user_attrs(study_id) == {}
    worker.create_new_trial(study_id)
    worker.set_study_user_attr(study_id, "a", 1)
    assert reader.get_all_trials(study_id) == []  # as it was just now
    assert reader.get_study_user_attrs(study_id) == {}
    reader.set_study_user_attr(study_id, "b", 2)
    assert reader.get_study_user_attrs(study_id) == {"a": 1, "b": 2}
    reader.create_new_trial(study_id)
    assert len(reader.get_all_trials(study_id)) == 2
    for storage in (worker, reader):
        storage.remove_session()


def test_what_was_slow_to_read_counts_longer_as_up_to_date(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "monotonic", lambda: 100.0)
    assert fresh_until(99.9, 1.5) == 101.5
    assert fresh_until(97.0, 1.5) == 130.0
    assert fresh_until(97.0, 0.0) == 100.0


def test_no_wait_is_shorter_than_the_attempt_it_waits_for() -> None:
    assert defaults.PROMPT >= 2 * defaults.CONNECT_TIMEOUT  # so that there is a second attempt
    assert defaults.READER_FRESH < 2  # the interval of `status --watch`
