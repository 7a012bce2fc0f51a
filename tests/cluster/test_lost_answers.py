"""A change whose answer is lost may have been made: the error says so, and how to go on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from tests.cluster.conftest import Api
from tests.cluster.objects import JOBS

Object = dict[str, Any]
Cli = Callable[..., Result]
pytestmark = pytest.mark.usefixtures("namespace")
DONE_OR_NOT = "; the change may have been made all the same: run the command again"
JOB_PATH = f"{JOBS}/digits-worker"


def test_a_change_that_is_not_answered(api: Api, cli: Cli, worker_job: Object) -> None:
    api.put("batch/v1/jobs", worker_job)
    api.lose(f"patch {JOB_PATH}")
    lost = cli("scale", "digits", "4")
    assert lost.exit_code == 2
    assert "does not answer: ('Connection aborted.'" in lost.stderr
    assert lost.stderr.endswith(f"{DONE_OR_NOT}\n")
    assert worker_job["spec"]["parallelism"] == 4
    again = cli("scale", "digits", "4")
    assert again.exit_code == 0, again.output


@pytest.mark.parametrize("code", [502, 504])
def test_a_gateway_that_does_not_know(api: Api, cli: Cli, worker_job: Object, code: int) -> None:
    api.put("batch/v1/jobs", worker_job)
    api.answer(f"patch {JOB_PATH}", code, "upstream is away")
    lost = cli("stop", "digits")
    assert lost.exit_code == 2
    assert f"upstream is away{DONE_OR_NOT}" in lost.stderr


def test_what_was_refused_was_not_made(api: Api, cli: Cli, worker_job: Object) -> None:
    api.put("batch/v1/jobs", worker_job)
    api.answer(f"patch {JOB_PATH}", 500, "a webhook is away")
    assert DONE_OR_NOT not in cli("stop", "digits").stderr


def test_a_submission_is_repeated_after_a_lost_answer(
    api: Api, cli: Cli, digits: Path, secret: Object
) -> None:
    """Not after a dry run, which changes nothing."""
    api.put("v1/secrets", secret)
    api.answer(f"patch {JOB_PATH}", 504, "upstream is away")
    assert DONE_OR_NOT not in cli("submit", digits).stderr
    assert api.applied == []
    del api.answers[f"patch {JOB_PATH}"]
    api.lose(f"patch {JOB_PATH}")
    lost = cli("submit", digits)
    assert lost.exit_code == 2
    assert lost.stderr.endswith(f"{DONE_OR_NOT}\n")
    again = cli("submit", digits)
    assert again.exit_code == 0, again.output
    assert "configured job/digits-worker" in again.stdout
