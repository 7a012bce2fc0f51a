"""Paused trials are promoted: the best of each rung, once, within the budget, by any worker."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from click.testing import Result
from optuna.trial import FrozenTrial, TrialState, create_trial

from hpo_job.results.continued import continued
from hpo_job.study.promotion import PromotionPruner, is_paused
from hpo_job.trial import attributes
from tests.worker.attempts import EPOCHS, PAUSING, Study, require_promoted, undisturbed


@pytest.mark.processes
def test_the_best_of_each_rung_go_on_and_no_epoch_is_trained_twice(
    tmp_path: Path, cli: Callable[..., Result]
) -> None:
    study = Study(tmp_path, more=PAUSING, budget="trials = 8")
    assert study.run() == 0, study.log.read_text()
    require_promoted(study, trials=8)
    number = {trial.number: trial.params["x"] for trial in study.trials}
    trained = [(number[trial], epoch) for trial, epoch in study.epochs()]
    assert len(trained) == len(set(trained))
    complete = [trial for trial in study.trials if trial.state == TrialState.COMPLETE]
    assert complete
    for trial in complete:
        assert trial.value == undisturbed(trial.params["x"])
        assert list(trial.intermediate_values) == list(range(20))
    assert study.objects() == set()  # nobody promotes them any more
    paused = [trial for trial in study.trials if is_paused(trial)]
    assert {trial.user_attrs[attributes.PAUSED_AT] for trial in paused} <= {1, 2, 4, 8, 16}

    status = cli("status", "quick", "--storage", study.url).stdout
    assert "finished  8 of 8 parameter sets in " in status
    assert "retries" not in status  # nothing was broken off
    results = cli("results", "quick", "--storage", study.url).stdout
    assert len(re.findall(r"^ *#\d+ ", results, re.MULTILINE)) == 8  # one line for each
    assert f"not listed: {len(study.trials) - 8} paused attempts that another trial went" in results
    again = cli("worker", study.job, "--storage", study.url, "--artifacts", study.store)
    assert again.exit_code == 0
    assert len(study.trials) == len(number)


@pytest.mark.processes
def test_a_small_study_has_a_result(tmp_path: Path) -> None:
    """Of three, none would pass the second rung: there is no half of one."""
    study = Study(tmp_path, more=PAUSING, budget="trials = 3")
    assert study.run() == 0, study.log.read_text()
    (complete,) = [trial for trial in study.trials if trial.state == TrialState.COMPLETE]
    assert complete.value == undisturbed(complete.params["x"])
    assert len(study.epochs()) <= 20 + 2 * 2
    require_promoted(study, trials=3)
    assert study.objects() == set()


@pytest.mark.processes
def test_a_function_that_saves_nothing_begins_anew(tmp_path: Path) -> None:
    source = """
    def train(trial, context):
        for epoch in range(4):
            context.report(context.params["x"] + epoch, last=epoch == 3)
        return context.params["x"]
    """
    study = Study(tmp_path, source, more=PAUSING, budget="trials = 4")
    assert study.run() == 0, study.log.read_text()
    require_promoted(study, trials=4)


@pytest.mark.processes
def test_a_promotion_that_is_broken_off_goes_on_and_holds_no_place(tmp_path: Path) -> None:
    study = Study(tmp_path, more=PAUSING, budget="trials = 4")
    study.end_at(2, "SIGKILL")  # which only a promoted trial reaches
    assert study.run() == -9
    assert continued(study.study).size == study.stored_bytes() > 0
    assert study.run() == 0, study.log.read_text()
    require_promoted(study, trials=4)
    assert study.states()["FAIL"] == 1
    assert continued(study.study).size == study.stored_bytes() == 0


@pytest.mark.processes
def test_a_trial_that_is_broken_off_while_it_pauses_goes_no_further(tmp_path: Path) -> None:
    source = EPOCHS.replace(
        'context.save(lambda: {"epoch": epoch + 1',
        'context.save(lambda: stopped(trial, folder) and {"epoch": epoch + 1',
    )
    source += """
def stopped(trial, folder):
    rung = trial.user_attrs["rung"]
    mark = folder / f"stopped-{rung}"
    if rung < 2 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGTERM)
    return True
"""
    study = Study(tmp_path, source, more=PAUSING, budget="trials = 4")
    assert study.run() == 143
    assert study.run() == 143  # the first promoted one
    assert study.run() == 0, study.log.read_text()
    require_promoted(study, trials=4)
    trained = [(study.trials[trial].params["x"], epoch) for trial, epoch in study.epochs()]
    assert len(trained) == len(set(trained))
    for trial in filter(is_paused, study.trials):
        assert trial.user_attrs[attributes.PAUSED_AT] == 2 ** trial.user_attrs[attributes.RUNG]
    assert study.states()["FAIL"] == 2
    assert study.objects() == set()


def paused(value: float, rung: int = 0, **attrs: int) -> FrozenTrial:
    return create_trial(
        state=TrialState.PRUNED,
        value=value,
        intermediate_values={0: value},
        user_attrs={attributes.RUNG: rung, attributes.PAUSED_AT: 1, **attrs},
    )


def promoted(trials: list[FrozenTrial], way: Any = "minimize", **options: int) -> int | None:
    study = optuna.create_study(direction=way)
    study.add_trials(trials)
    trial = PromotionPruner(**options).next(study, study.trials)
    return None if trial is None else trial.number


def test_which_trial_is_promoted() -> None:
    three = [paused(0.3), paused(0.1), paused(0.2)]
    assert promoted(three) == 1
    assert promoted(three, "maximize") == 0
    assert promoted(three[:2]) is None  # a third of two is none
    assert promoted([*three, paused(0.05, retry_of=1, rung=1)]) is None
    assert promoted([*three, paused(0.4), paused(0.5), paused(0.6), paused(0.7, retry_of=1)]) == 2
    assert promoted([paused(float("nan")), paused(0.9), paused(0.8)]) == 2
    # the highest rung first
    upper = [paused(value, rung=1, retry_of=number) for number, value in enumerate((3.0, 2.0, 1.0))]
    assert promoted([*three, *upper, paused(0.0), paused(0.01), paused(0.02)]) == 5


def test_brackets_have_rungs_of_their_own() -> None:
    pruner = PromotionPruner(min_resource=2, reduction_factor=3, brackets=2)
    assert [pruner.resource(0, rung) for rung in range(3)] == [2, 6, 18]
    assert [pruner.resource(1, rung) for rung in range(2)] == [6, 18]
    trials = [paused(0.1), paused(0.2, bracket=1), paused(0.3)]
    assert promoted(trials) is None
    assert promoted([*trials, paused(0.4)]) == 0


@pytest.mark.parametrize(
    ("keys", "more", "message"),
    [
        ({}, "reduction_factor = 1", "reduction_factor should be at least 2, found 1"),
        ({}, "min_resource = 0", "min_resource should be at least 1, found 0"),
        ({}, "rungs = 3", "unknown option 'rungs'"),
        ({}, '[checkpoint]\nevery = "off"', "checkpoint.every: PromotionPruner goes on from saved"),
        (
            {"direction": ["minimize", "maximize"]},
            "",
            "pruner.name: PromotionPruner ranks trials by",
        ),
    ],
)
def test_what_it_cannot_do_is_refused(
    job: Callable[..., Path],
    refused: Callable[..., str],
    keys: dict[str, Any],
    more: str,
    message: str,
) -> None:
    folder = job(**keys)
    text = (folder / "study.toml").read_text()
    (folder / "study.toml").write_text(f'{text}\n[pruner]\nname = "PromotionPruner"\n{more}\n')
    assert message in refused("check", folder)
