"""What to try next: each rule speaks where its case is there, and is silent where it is not."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from click.testing import Result
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from hpo_job import report
from hpo_job.objectives.predictions import Predictions
from hpo_job.results.advice import LEAST, advise
from hpo_job.storage.database import Storage
from tests import synthetic

Cli = Callable[..., Result]
SPACE: dict[str, BaseDistribution] = {
    "rate": FloatDistribution(1e-5, 1e-1, log=True),
    "epochs": IntDistribution(1, 10),
}


def trial(
    value: float | None,
    *,
    rate: float = 1e-3,
    epochs: int = 5,
    state: TrialState = TrialState.COMPLETE,
    curve: dict[int, float] | None = None,
    **attrs: Any,
) -> FrozenTrial:
    created = create_trial(
        state=state,
        value=value,
        params={"rate": rate, "epochs": epochs},
        distributions=SPACE,
        user_attrs={"train_time": 9.0, "worker": "one", **attrs},
        intermediate_values=curve or {},
    )
    created.datetime_start = synthetic.START
    created.datetime_complete = synthetic.START + timedelta(seconds=10)
    return created


def values(count: int = 20, best_at: int = 11) -> list[float]:
    """Values between 0.6 and 0.8 of which nothing follows; the best one is early enough."""
    rng = random.Random(1)
    drawn = [rng.uniform(0.6, 0.79) for _ in range(count)]
    drawn[best_at] = 0.8
    return drawn


def rules(trials: list[FrozenTrial], predictions: Predictions | None = None) -> set[str]:
    return {each.rule for each in advise(synthetic.study(trials), predictions)}


def quiet(**changes: Any) -> list[FrozenTrial]:
    """Trials of which nothing follows: the best are in the middle, seeds and parts are small."""
    return [trial(value, **changes) for value in values()]


def test_nothing_is_said_where_nothing_follows() -> None:
    assert rules(quiet()) == set()


def test_nothing_is_said_of_few_trials(storage: Storage, cli: Cli, database: str) -> None:
    assert rules([trial(0.6 + i / 100, rate=0.1) for i in range(LEAST - 1)]) == set()
    synthetic.study([trial(0.7)], storage=storage.optuna)
    text = cli("advise", "synthetic", "--storage", database).stdout
    assert text == "too few trials to say anything: 1 count, 10 are needed\n"


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_no_trial_beats_the_baseline(direction: str) -> None:
    worse = 0.5 if direction == "maximize" else 0.6
    (advice,) = advise(synthetic.study([trial(worse)], direction=direction))
    assert advice.rule == "baseline"
    assert "WORSE than the baseline 0.5200" in advice.text


@pytest.mark.parametrize(("rate", "edge"), [(0.09, "upper"), (1.2e-5, "lower")])
def test_the_best_lie_at_the_edge_of_a_range(rate: float, edge: str) -> None:
    trials = quiet()
    trials += [trial(0.85 + i / 1000, rate=rate) for i in range(3)]
    (advice,) = [each for each in advise(synthetic.study(trials)) if each.rule == "edge"]
    assert f"rate at {rate:.3g}" in advice.text
    assert f"the {edge} edge of its range" in advice.text
    assert (advice.plot, advice.params) == ("slice", ("rate",))
    trials[-1] = trial(0.9, rate=1e-3)  # the best three do not agree
    assert "edge" not in rules(trials)


def test_a_parameter_that_did_not_matter() -> None:
    rng = random.Random(0)
    trials = []
    for _ in range(60):
        rate = 10 ** rng.uniform(-5, -1)
        value = 0.8 - 0.05 * abs(math.log10(rate) + 3)
        trials.append(trial(value, rate=rate, epochs=rng.randint(1, 10)))
    sentences = advise(synthetic.study(trials))
    (advice,) = [each for each in sentences if each.rule == "unimportant"]
    assert "epochs (" in advice.text
    assert "rate (" not in advice.text
    assert "unimportant" not in rules(trials[:15])


def test_whether_the_last_trials_improved() -> None:
    rising = [trial(0.6 + i / 100) for i in range(20)]
    assert "progress" in rules(rising)
    (advice,) = [each for each in advise(synthetic.study(rising)) if each.rule == "progress"]
    assert "from 0.7400 to 0.7900" in advice.text
    settled = [trial(value) for value in values(40, best_at=3)]
    (advice,) = advise(synthetic.study(settled))
    assert "none of the 36 trials since #3 was better" in advice.text


def test_the_best_were_still_improving_when_they_ended() -> None:
    growing = {0: 0.5, 1: 0.6, 2: 0.7}
    assert rules(quiet(curve=growing)) == {"epochs"}
    assert rules(quiet(curve={0: 0.5, 1: 0.7, 2: 0.6})) == set()


def test_a_pruner_that_stops_what_later_wins() -> None:
    late = {0: 0.1, 1: 0.8, 2: 0.75}
    trials = [trial(v, curve=late if v == 0.8 else {0: 0.5, 1: 0.6, 2: 0.55}) for v in values()]
    pruned = [trial(None, state=TrialState.PRUNED, curve={0: 0.3}) for _ in range(12)]
    (advice,) = advise(synthetic.study(trials + pruned))
    assert advice.rule == "pruner"
    assert "half of them by step 0, where the best trial was only number 32 of 32" in advice.text
    early = [trial(v, curve={0: v, 1: 0.9, 2: 0.7}) for v in values()]
    assert rules(early + pruned) == set()


def test_differences_that_are_smaller_than_chance() -> None:
    trials = quiet()
    trials[11] = trial(0.8, interval=[0.55, 0.95])
    (advice,) = advise(synthetic.study(trials))
    assert "19 of 20 trials are within chance of the best" in advice.text
    trials[11] = trial(0.8, interval=[0.795, 0.81])
    assert rules(trials) == set()
    assert rules(quiet(repeat_std=0.1)) == {"noise"}
    assert rules(quiet(repeat_std=0.001)) == set()


def test_time_that_is_not_spent_on_training() -> None:
    trials = quiet(data_time=6.0, train_time=3.0)
    (advice,) = advise(synthetic.study(trials))
    assert advice.text.startswith("60% of the workers' time went into loading data")
    failed = [trial(None, state=TrialState.FAIL) for _ in range(20)]
    assert rules(quiet() + failed) == {"time"}


def test_classes_that_fail() -> None:
    targets = np.array([0] * 20 + [1] * 20 + [2] * 4)
    answers = targets.copy()
    answers[-3:] = 0
    outputs = np.eye(3)[answers]
    names = ("cats", "dogs", "rare birds")
    stored = Predictions([str(i) for i in range(44)], [], names, targets, outputs)
    (advice,) = advise(synthetic.study(quiet()), stored)
    assert "rare birds (F1 0.40, 4 items)" in advice.text
    right = Predictions(stored.items, [], names, targets, np.eye(3)[targets])
    assert rules(quiet(), right) == set()


def test_several_objectives_are_looked_at_for_time_and_baseline_only() -> None:
    assert {each.rule for each in advise(synthetic.several_objectives(40))} <= {"time", "baseline"}


def test_infeasible_trials_are_no_ground_for_advice() -> None:
    from tests.results.test_infeasible import with_constraint

    trials = quiet() + [
        with_constraint(trial(0.9, rate=0.1), 1.0, 0.9 + i / 1000) for i in range(3)
    ]
    assert rules(trials) == set()


def test_the_command_and_the_report(storage: Storage, cli: Cli, database: str) -> None:
    trials = quiet() + [trial(0.85 + i / 1000, rate=0.09) for i in range(3)]
    study = synthetic.study(trials, storage=storage.optuna)
    done = cli("advise", "synthetic", "--storage", database)
    assert done.exit_code == 0, done.output
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "  hpo-job plot synthetic slice --params rate\n" in done.stdout
    records = json.loads(
        cli("advise", "synthetic", "--format", "json", "--storage", database).stdout
    )
    assert "edge" in [record["rule"] for record in records]
    page = report.report([study])
    (section,) = [each for each in page.sections if each.name == "advice"]
    assert len(section.blocks) > 1
    assert "advice-rate" in page.figures
    assert "the upper edge of its range" in page.html()
