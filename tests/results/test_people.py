"""Who ran a study's trials, and where."""

from __future__ import annotations

import getpass
import json
import socket
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from click.testing import Result
from optuna.trial import create_trial

from hpo_job.results.people import places, places_text
from tests.quick import Quick


def study_of(*ran: tuple[str | None, str | None, str | None]) -> optuna.Study:
    study = optuna.create_study()
    for user, host, pod in ran:
        attrs = {"user": user, "host": host, "pod": pod}
        known = {name: value for name, value in attrs.items() if value}
        study.add_trial(create_trial(value=1.0, user_attrs=known))
    return study


ANNA, POD, OLD = ("anna", "node-1", None), (None, "node-2", "maps-0"), (None, "laptop", None)


@pytest.mark.parametrize(
    ("ran", "text"),
    [
        ([], None),
        ([(None, None, None)], None),
        ([ANNA], "anna@node-1 (1 trial)"),
        ([POD, ANNA, ANNA], "anna@node-1 (2 trials), maps-0 (1 trial)"),
        (
            [ANNA, ANNA, POD, OLD, ("ben", "a", None), ("ben", "b", None)],
            "anna@node-1 (2 trials), maps-0 (1 trial), laptop (1 trial), and 2 others",
        ),
    ],
)
def test_places(ran: list[tuple[str | None, str | None, str | None]], text: str | None) -> None:
    assert places_text(study_of(*ran)) == text


def test_workers_say_who_and_where_they_are(
    tmp_path: Path, cli: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = Quick(tmp_path, budget="trials = 2")
    quick.work()
    here = {"user": getpass.getuser(), "host": socket.gethostname(), "pod": None, "trials": 2}
    assert places(quick.study) == [here]
    place = ("quick", "--storage", quick.url)
    assert json.loads(cli("status", *place, "--format", "json").stdout)["run_by"] == [here]
    line = f"run by    {here['user']}@{here['host']} (2 trials)\n"
    assert line in cli("status", *place).stdout
    table = cli("results", *place, "--columns", "number,user,host").stdout
    assert f"{here['user']}  {here['host']}" in table

    def nameless() -> str:
        raise KeyError("uid not found")

    monkeypatch.setattr(getpass, "getuser", nameless)
    larger = Quick(tmp_path, budget="trials = 3")
    larger.work()
    assert places(larger.study)[1] == {**here, "user": None, "trials": 1}
