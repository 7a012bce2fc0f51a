"""The patience of a study is exact on every database: no trial starts after it is used up."""

from __future__ import annotations

from pathlib import Path

import pytest
from optuna.trial import TrialState

from hpo_job.worker.signals import Stop
from tests.quick import Quick, run_workers

SAME = """
def train(trial, context):
    return 1.0
"""


@pytest.mark.processes
def test_no_trial_starts_after_the_patience_is_used_up(any_url: str, tmp_path: Path) -> None:
    quick = Quick(tmp_path, SAME, url=any_url, budget="patience = 6\nmin_delta = 0.1")
    assert run_workers(quick.worker_job(), 3, Stop(), lambda: None) == 0
    trials = quick.study.get_trials(deepcopy=False)
    assert {trial.state for trial in trials} == {TrialState.COMPLETE}
    # the first is an improvement, six more are none; two others may run when the last one ends
    assert 7 <= len(trials) <= 7 + 2
