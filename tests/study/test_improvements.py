"""[budget] patience: a study ends when nothing improves, exactly, and goes on when it is raised."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from click.testing import Result
from optuna.trial import FrozenTrial, TrialState, create_trial

from hpo_job import results
from hpo_job.study.admission import Refusal, admit
from hpo_job.study.improvements import Improvements
from hpo_job.trial import attributes
from hpo_job.worker.signals import Stop
from tests.quick import Quick, run_workers
from tests.study.test_admission import start

Refused = Callable[..., str]
FALLING = """
VALUES = [3.0, 2.0, 2.0005, 1.9995, 1.0, 1.5, 0.9995, 1.0]

def train(trial, context):
    return VALUES[trial.number] if trial.number < len(VALUES) else 2.0
"""
LIMIT = "patience = 4\nmin_delta = 0.001"


def ended(number: int, value: float | None, **attrs: Any) -> FrozenTrial:
    state = TrialState.PRUNED if value is None else TrialState.COMPLETE
    trial = create_trial(state=state, value=value, user_attrs=attrs)
    trial.number = number
    return trial


def since(values: list[float | None], min_delta: float, direction: Any = "minimize") -> int:
    improvements = Improvements(direction)
    improvements.update(ended(number, value) for number, value in enumerate(values))
    return improvements.since(min_delta)


@pytest.mark.parametrize(
    ("values", "min_delta", "expected"),
    [
        ([], 0, 0),
        ([None, None], 0, 2),  # pruned trials have no value, and count
        ([1.0], 0, 0),
        ([1.0, 1.0, 0.9, None], 0, 1),
        ([1.001, 1.0, 1.0], 0.001, 1),  # whatever the digits of 1.001 - 1
        ([1.0, 0.95, 0.91, 0.9], 0.1, 0),  # small gains add up
        ([1.0, 0.95, 0.91], 0.1, 2),
        ([math.inf, 1.0, 1.0], 0.1, 1),
        ([1.0, -math.inf, 0.0], 0.1, 1),
    ],
)
def test_trials_since_the_last_improvement(
    values: list[float | None], min_delta: float, expected: int
) -> None:
    assert since(values, min_delta) == expected
    negative = [None if value is None else -value for value in values]
    assert since(negative, min_delta, "maximize") == expected


def test_the_order_in_which_trials_are_read_does_not_matter() -> None:
    draw = random.Random(3)
    trials = [ended(n, draw.choice([None, round(draw.random(), 2)])) for n in range(60)]
    for min_delta in (0.0, 0.05, 0.3):
        in_order = since([trial.value for trial in trials], min_delta)
        for _ in range(20):
            read = draw.sample(trials, len(trials))
            improvements = Improvements("minimize")
            improvements.update(read)
            assert improvements.since(min_delta) == in_order


def test_parameter_sets_count_once_and_improve_when_they_reach_the_end() -> None:
    improvements = Improvements("minimize")
    improvements.update([ended(0, None), ended(1, None), ended(2, None)])
    assert improvements.since(0) == 3
    going_on = {attributes.RUNG: 1, attributes.RETRY_OF: 0}
    improvements.update([ended(3, None, **going_on)])
    assert improvements.since(0) == 3
    improvements.update([ended(4, 0.5, **going_on), ended(5, None)])
    assert improvements.since(0) == 1


def test_an_infeasible_trial_is_no_improvement() -> None:
    infeasible = ended(1, 0.1)
    infeasible.system_attrs["constraints"] = (1.0,)
    improvements = Improvements("minimize")
    improvements.update([ended(0, 1.0), infeasible])
    assert improvements.since(0) == 1


def test_what_runs_ends_and_may_improve(tmp_path: Path) -> None:
    quick = Quick(tmp_path, budget="trials = 9\npatience = 1")
    first, second, third = start(quick), start(quick), start(quick)
    quick.study.tell(first, 1.0)
    quick.study.tell(second, 1.0)
    assert admit(quick.study, quick.checked.spec, quick.storage) is Refusal.FULL
    assert not results.finished(quick.study)
    quick.study.tell(third, 0.5)
    fourth = start(quick)
    quick.study.tell(fourth, 0.5)
    assert admit(quick.study, quick.checked.spec, quick.storage) is Refusal.NO_IMPROVEMENT
    assert results.finished(quick.study)


@pytest.mark.processes
def test_workers_end_raise_it_and_they_go_on(tmp_path: Path, cli: Callable[..., Result]) -> None:
    quick = Quick(tmp_path, FALLING, budget=LIMIT)
    assert run_workers(quick.worker_job(), 3, Stop(), lambda: None) == 0
    assert 9 <= quick.states()["COMPLETE"] <= 9 + 2  # of three workers, two may be at another trial
    place = ("--storage", quick.url)
    status = cli("status", "quick", *place).stdout
    assert "ended     no improvement of 0.001 in 4 trials\n" in status
    checked = cli("check", quick.job).stdout
    assert "ends after 4 trials without an improvement" in checked

    before = quick.states()["COMPLETE"]
    rerun = cli("run", quick.job, *place)
    assert rerun.exit_code == 0
    assert "ended     no improvement of 0.001 in 4 trials" in rerun.stdout
    assert quick.states()["COMPLETE"] == before

    larger = cli("worker", quick.job, *place, "--set", "budget.patience=9")
    assert larger.exit_code == 0, larger.output
    assert quick.states()["COMPLETE"] == 14  # 4 is the last improvement
    assert "no improvement of 0.001 in 9 trials" in cli("status", "quick", *place).stdout


def test_status_and_its_json_say_how_near_the_end_is(
    tmp_path: Path, cli: Callable[..., Result]
) -> None:
    quick = Quick(tmp_path, budget="trials = 9\npatience = 4")
    for value in (1.0, 2.0, 3.0):
        quick.study.tell(start(quick), value)
    lines = "\n".join(results.overview(quick.study))
    assert "patience  no improvement in the last 2 trials; ends at 4" in lines
    text = cli("status", "quick", "--storage", quick.url, "--format", "json").stdout
    assert '"without_improvement": 2' in text
    assert '"ended_by": null' in text


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (
            {"direction": ["minimize", "maximize"], "budget": {"trials": 3, "patience": 2}},
            "budget.patience: an improvement is defined for one metric, and this study has 2; "
            "remove patience, and set trials or timeout",
        ),
        (
            {"budget": {"trials": 3, "min_delta": 0.1}},
            "budget.min_delta: it belongs to patience, which is missing; set it too",
        ),
        ({"budget": {"patience": 0}}, "budget.patience: "),
        ({"budget": {}}, "budget: set trials, timeout or patience; without any the study never"),
    ],
)
def test_what_makes_no_sense_is_refused(
    job: Callable[..., Path], refused: Refused, keys: dict[str, Any], message: str
) -> None:
    assert message in refused("check", job(**keys))


def test_a_study_without_patience_counts_nothing() -> None:
    study = optuna.create_study()
    study.add_trial(create_trial(value=1.0))
    assert "patience" not in "\n".join(results.overview(study))
