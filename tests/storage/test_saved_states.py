"""Trials that go on after their workers were killed, on every database."""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path

import pytest
from optuna.trial import TrialState

from hpo_job.trial import attributes
from tests.quick import wait_until
from tests.worker.attempts import PAUSING, Study, require_promoted, undisturbed


@pytest.mark.processes
def test_workers_that_are_killed_again_and_again_run_the_budget_once(
    any_url: str, tmp_path: Path
) -> None:
    """Two workers, six parameter sets of twenty epochs, a SIGKILL or SIGTERM every few epochs."""
    study, chance = Study(tmp_path, url=any_url, budget="trials = 6\nretries = 9"), random.Random(0)
    log = study.job / "epochs"
    log.touch()
    kills, workers = 0, [study.fork() for _ in range(2)]
    while workers:
        if kills < 8:
            count = len(study.epochs()) + 8
            wait_until(lambda: len(study.epochs()) >= count or _over(study))  # noqa: B023
            victim = chance.choice(workers)
            os.kill(victim, chance.choice([signal.SIGKILL, signal.SIGTERM]))
            kills += 1
        else:
            victim = workers[0]
        workers.remove(victim)
        code = os.waitstatus_to_exitcode(os.waitpid(victim, 0)[1])
        # one that was forked a moment ago does not listen yet
        assert code in (0, -signal.SIGKILL, -signal.SIGTERM, 128 + signal.SIGTERM)
        if code:
            workers.append(study.fork())
    complete = [trial for trial in study.trials if trial.state == TrialState.COMPLETE]
    assert len(complete) == 6
    assert all(trial.state.is_finished() for trial in study.trials)
    tried = {trial.params["x"] for trial in study.trials if trial.params}
    assert len(tried) == 6  # nothing was given up
    for trial in complete:
        assert trial.value == undisturbed(trial.params["x"])
        assert list(trial.intermediate_values) == list(range(20))
    trained = len(study.epochs())
    assert trained <= 1.25 * 6 * 20  # a kill costs an epoch, and at most what was not uploaded yet
    assert any(attributes.RESUMED_FROM in trial.user_attrs for trial in complete)
    study.storage.close()


@pytest.mark.processes
def test_workers_promote_paused_trials_within_the_budget(any_url: str, tmp_path: Path) -> None:
    """Without a controller: three workers, one of which is killed and another started."""
    study = Study(tmp_path, url=any_url, more=PAUSING, budget="trials = 9\nretries = 9")
    (study.job / "epochs").touch()
    workers = [study.fork() for _ in range(3)]
    wait_until(lambda: len(study.epochs()) >= 8)
    os.kill(workers[0], signal.SIGKILL)
    os.waitpid(workers.pop(0), 0)
    workers.append(study.fork())
    assert [os.waitpid(worker, 0)[1] for worker in workers] == [0, 0, 0]
    require_promoted(study, trials=9)
    assert study.objects() == set()
    study.storage.close()


def _over(study: Study) -> bool:
    return study.states().get("COMPLETE") == 6
