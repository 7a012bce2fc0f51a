"""A parameter set on several seeds, several metrics, and what is measured of every trial."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from hpo_job.errors import FailuresError
from hpo_job.study.admission import Refusal
from hpo_job.trial import attributes
from tests.quick import SPACE, Quick

pytestmark = pytest.mark.studies

SEEDED = """
def train(trial, context):
    for epoch in range(2):
        context.report(context.seed + epoch)
    return float(context.seed)
"""


def test_repeats_are_scored_on_seeds_of_their_own(tmp_path: Path) -> None:
    quick = Quick(tmp_path, SEEDED, budget="trials = 2\nrepeats = 3", more="seed = 5")
    quick.work()
    for trial in quick.study.trials:
        assert trial.value == 6
        assert trial.user_attrs[attributes.REPEAT_VALUES] == [5, 6, 7]
        assert trial.user_attrs[attributes.REPEAT_STD] == pytest.approx((2 / 3) ** 0.5)
        assert trial.intermediate_values == {0: 5, 1: 6}  # of the first repeat alone


def test_a_pruning_that_a_library_wraps_is_one(tmp_path: Path) -> None:
    quick = Quick(
        tmp_path,
        """
        def train(trial, context):
            try:
                context.report(trial.number)
            except Exception as error:
                raise RuntimeError("a callback failed") from error
            return trial.number
        """,
        budget="trials = 3",
        space='[pruner]\nname = "ThresholdPruner"\nupper = 0.5\n',
    )
    quick.work()
    states = [trial.state for trial in quick.study.trials]
    assert states == [TrialState.COMPLETE, TrialState.PRUNED, TrialState.PRUNED]


def test_the_wilcoxon_pruner_is_shown_the_repeats(tmp_path: Path) -> None:
    quick = Quick(
        tmp_path,
        """
        def train(trial, context):
            context.report(99)
            return context.seed + 100 * (trial.number > 0)
        """,
        budget="trials = 3\nrepeats = 8",
        space='[pruner]\nname = "WilcoxonPruner"\np_threshold = 0.1\n',
    )
    quick.work()
    first, *others = quick.study.trials
    assert first.intermediate_values == {seed: seed for seed in range(8)}
    assert first.state == TrialState.COMPLETE
    assert first.value == 3.5
    for trial in others:
        assert trial.state == TrialState.PRUNED
        assert 2 <= len(trial.intermediate_values) < 8


def test_a_trial_with_all_its_repeats_is_not_pruned_any_more(tmp_path: Path) -> None:
    quick = Quick(
        tmp_path,
        "def train(trial, context):\n    return context.seed + 100 * (trial.number > 0)",
        budget="trials = 2\nrepeats = 8",
        space='[pruner]\nname = "WilcoxonPruner"\np_threshold = 0.1\nn_startup_steps = 8\n',
    )
    quick.work()
    assert quick.states() == {"COMPLETE": 2}
    assert len(quick.study.trials[1].intermediate_values) == 8


def test_one_seed_has_no_spread(tmp_path: Path) -> None:
    quick = Quick(tmp_path, SEEDED, budget="trials = 1")
    quick.work()
    assert attributes.REPEAT_VALUES not in quick.study.trials[0].user_attrs


MANY: dict[str, Any] = {
    "more": 'metric = ["loss", "size"]',
    "direction": '["minimize", "maximize"]',
}


def test_several_metrics_are_values_in_their_order_and_nothing_is_pruned(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    quick = Quick(
        tmp_path,
        """
        def train(trial, context):
            for epoch in range(3):
                context.report(1e9 * trial.number)
            return context.params["x"] ** 2, trial.number
        """,
        space='[pruner]\nname = "ThresholdPruner"\nupper = 1.0\n' + SPACE,
        **MANY,
    )
    assert (
        "ThresholdPruner has no effect: with several metrics nothing is pruned" in caplog.messages
    )
    assert quick.work() is Refusal.USED_UP
    assert quick.states() == {"COMPLETE": 6}
    assert [trial.values[1] for trial in quick.study.trials] == list(range(6))
    assert quick.study.metric_names == ["loss", "size"]
    assert not quick.study.trials[1].intermediate_values
    assert len(quick.study.best_trials) >= 1


@pytest.mark.parametrize("returned", ["1.0", "(1.0,)", "(1.0, 2.0, 3.0)", "(1.0, float('nan'))"])
def test_another_number_of_values_fails(tmp_path: Path, returned: str) -> None:
    quick = Quick(
        tmp_path,
        f"def train(trial, context):\n    return {returned}",
        budget="trials = 1\nfailures = 1",
        **MANY,
    )
    with pytest.raises(FailuresError, match="not 2 numbers"):
        quick.work()


MEASURED = {attributes.STORAGE_TIME, attributes.TOTAL_TIME}
PLACE = {attributes.HOST, attributes.DEVICE_NAME}


@pytest.mark.parametrize(
    ("end", "state"),
    [
        ("return 1.0", TrialState.COMPLETE),
        ("import optuna; raise optuna.TrialPruned", TrialState.PRUNED),
        ("raise ValueError('no')", TrialState.FAIL),
    ],
)
def test_measurements_are_written_however_a_trial_ends(
    tmp_path: Path, end: str, state: TrialState, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HPO_JOB_POD", "worker-0")
    monkeypatch.setenv("HPO_JOB_IMAGE", "hpo-job:1")
    quick = Quick(
        tmp_path,
        f"""
        def train(trial, context):
            with context.timings.measure("train_time"):
                pass
            if trial.number == 0:
                {end}
            return 1.0
        """,
        budget="trials = 1",
    )
    quick.work()
    trial = quick.study.trials[0]
    assert trial.state == state
    assert trial.user_attrs.keys() >= MEASURED | PLACE | {"train_time"}
    assert trial.user_attrs[attributes.TOTAL_TIME] >= trial.user_attrs[attributes.STORAGE_TIME] > 0
    assert trial.user_attrs[attributes.POD] == "worker-0"
    assert trial.user_attrs[attributes.IMAGE] == "hpo-job:1"


def test_copied_measurements_are_forgotten(tmp_path: Path) -> None:
    quick = Quick(tmp_path, budget="trials = 1")
    copied = {
        attributes.EXECUTE_TIME: 1e9,
        "train_time_head": 1e9,
        attributes.POD: "another",
        attributes.REASON: attributes.LOST,
        "note": "mine",
    }
    quick.study.enqueue_trial({"x": 0.0}, user_attrs=copied)
    quick.work()
    attrs = quick.study.trials[0].user_attrs
    assert attrs[attributes.EXECUTE_TIME] is None
    assert attrs["train_time_head"] is None
    assert attrs[attributes.POD] is None
    assert attrs[attributes.REASON] is None
    assert attrs["note"] == "mine"
