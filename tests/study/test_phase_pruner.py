"""Pruning phase by phase: what a pruner sees of a study, with each of Optuna's underneath."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.pruners import (
    BasePruner,
    HyperbandPruner,
    MedianPruner,
    NopPruner,
    PatientPruner,
    PercentilePruner,
    SuccessiveHalvingPruner,
    ThresholdPruner,
    WilcoxonPruner,
)
from optuna.trial import FrozenTrial, TrialState, create_trial

from hpo_job import results
from hpo_job.storage.database import Storage
from hpo_job.study.phase_pruner import PhasePruner
from hpo_job.trial import attributes
from hpo_job.trial.phases import Phase, measured_value, step_text

pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
LANGUAGE = Phase("language_model", 2, "perplexity", "minimize", of_study=False).stored(0)


def classifier(start: int) -> dict[str, Any]:
    return {
        "name": "classifier",
        "start": start,
        "epochs": 3,
        "metric": "f1_macro",
        "direction": "maximize",
        "of_study": True,
    }


def trial(
    language: list[float], scores: list[float], state: TrialState = TrialState.COMPLETE
) -> FrozenTrial:
    """A trial of two phases, the first of which is better the lower."""
    values = dict(enumerate([*language, *scores]))
    phases = [LANGUAGE, classifier(len(language))] if scores else [LANGUAGE]
    complete = state == TrialState.COMPLETE
    return create_trial(
        state=state,
        # as Optuna keeps it of a PRUNED trial
        value=[*language, *scores][-1] if complete or state == TrialState.PRUNED else None,
        params={"x": 0.5},
        distributions={"x": FloatDistribution(0, 1)},
        intermediate_values=values,
        user_attrs={attributes.PHASES: phases},
    )


@pytest.fixture
def ask(storage: Storage) -> Callable[..., bool]:
    """Whether the last of some trials of a study would be pruned now."""

    def asked(make: Callable[[], BasePruner], *trials: FrozenTrial) -> bool:
        study = optuna.create_study(storage=storage.optuna, direction="maximize")
        for each in trials:
            study.add_trial(each)
        pruner = PhasePruner(make, storage.optuna)
        return pruner.prune(study, study.trials[-1])

    return asked


RUNNING = TrialState.RUNNING


@pytest.mark.parametrize("head_epochs", [1, 3])
def test_the_same_step_of_a_phase_is_compared_though_the_one_before_was_longer(
    ask: Callable[..., bool], head_epochs: int
) -> None:
    def median() -> MedianPruner:
        return MedianPruner(n_startup_trials=1, n_warmup_steps=0)

    others = [trial([50.0, 40.0], [0.5, 0.7]), trial([60.0], [0.6, 0.8])]
    language = [90.0] * head_epochs
    assert not ask(median, *others, trial(language, [0.56], RUNNING))  # above 0.55
    assert ask(median, *others, trial(language, [0.54], RUNNING))


def test_each_phase_has_its_own_direction(ask: Callable[..., bool]) -> None:
    def median() -> MedianPruner:
        return MedianPruner(n_startup_trials=1, n_warmup_steps=0)

    others = [trial([50.0, 40.0], [0.5]), trial([60.0, 50.0], [0.6])]
    assert ask(median, *others, trial([70.0], [], RUNNING))
    assert not ask(median, *others, trial([45.0], [], RUNNING))


@pytest.mark.parametrize(
    ("make", "bad", "good"),
    [
        (lambda: MedianPruner(n_startup_trials=1), [0.1], [0.9]),
        (lambda: PercentilePruner(50, n_startup_trials=1), [0.1], [0.9]),
        (
            lambda: SuccessiveHalvingPruner(min_resource=1, reduction_factor=2),
            [0.1, 0.1],
            [0.9, 0.9],
        ),
        (lambda: ThresholdPruner(lower=0.3), [0.1], [0.9]),
        (
            lambda: PatientPruner(MedianPruner(n_startup_trials=1), patience=1),
            [0.4, 0.2, 0.1],
            [0.4, 0.5, 0.9],
        ),
        (
            lambda: WilcoxonPruner(p_threshold=0.4),
            [0.1, 0.1, 0.1, 0.1, 0.1],
            [0.9, 0.9, 0.9, 0.9, 0.9],
        ),
        # one bracket: Hyperband is successive halving then
        (
            lambda: HyperbandPruner(min_resource=1, max_resource=2, reduction_factor=3),
            [0.1, 0.1],
            [0.9, 0.9],
        ),
    ],
    ids=["median", "percentile", "halving", "threshold", "patient", "wilcoxon", "hyperband"],
)
def test_any_pruner_prunes_the_bad_and_not_the_good(
    ask: Callable[..., bool], make: Callable[[], BasePruner], bad: list[float], good: list[float]
) -> None:
    rungs = {"classifier:completed_rung_0": 0.6}  # what halving pruners noted with the others
    others = [
        trial([30.0] * length, [0.5, 0.6, 0.6, 0.6, 0.6][: 4 + length]) for length in (1, 2, 3, 4)
    ]
    for other in others:
        other.system_attrs = rungs
    # the first phase has values of quite another size
    assert ask(make, *others, trial([500.0], bad, RUNNING))
    assert not ask(make, *others, trial([500.0], good, RUNNING))


def test_what_a_pruner_notes_stays_within_its_phase(storage: Storage) -> None:
    study = optuna.create_study(storage=storage.optuna, direction="maximize")
    pruner = PhasePruner(
        lambda: SuccessiveHalvingPruner(min_resource=1, reduction_factor=2), storage.optuna
    )
    for value in (0.5, 0.4, 0.3):
        study.add_trial(trial([9.0, 9.0], [value, value], RUNNING))
        pruner.prune(study, study.trials[-1])
    notes = [set(t.system_attrs) for t in study.trials]
    assert notes == [{"classifier:completed_rung_0"}] * 3 or all(
        key.startswith("classifier:") for keys in notes for key in keys
    )
    assert all(notes)


def test_a_trial_without_phases_is_compared_as_a_whole(ask: Callable[..., bool]) -> None:
    def plain(values: list[float], state: TrialState = TrialState.COMPLETE) -> FrozenTrial:
        return create_trial(
            state=state,
            value=values[-1] if state == TrialState.COMPLETE else None,
            intermediate_values=dict(enumerate(values)),
        )

    def median() -> MedianPruner:
        return MedianPruner(n_startup_trials=1)

    assert ask(median, plain([0.5]), plain([0.6]), plain([0.1], RUNNING))
    assert not ask(median, plain([0.5]), plain([0.6]), plain([0.7], RUNNING))


def test_nothing_is_looked_at_where_nothing_is_pruned(ask: Callable[..., bool]) -> None:
    assert not ask(NopPruner, trial([1.0], [0.5]), trial([1.0], [0.0], RUNNING))


@pytest.mark.parametrize(
    ("language", "scores", "state", "value"),
    [
        ([90.0, 80.0], [], TrialState.PRUNED, None),
        ([90.0, 80.0], [], TrialState.RUNNING, None),
        ([90.0], [0.5, 0.4], TrialState.PRUNED, 0.4),
        ([90.0], [0.5], TrialState.FAIL, None),
        ([90.0], [0.5, 0.6], TrialState.COMPLETE, 0.6),
    ],
)
def test_a_trial_that_did_not_come_to_its_metric_has_no_value(
    language: list[float], scores: list[float], state: TrialState, value: float | None
) -> None:
    assert measured_value(trial(language, scores, state)) == value
    cell = results.row(trial(language, scores, state))[2]
    assert cell == ("-" if value is None else f"{value:.4f}")


def test_a_phase_that_began_without_a_report_is_not_the_last_ones() -> None:
    begun = trial([90.0], [0.5], TrialState.PRUNED)
    begun.intermediate_values = {0: 90.0}
    assert measured_value(begun) is None


def test_a_trial_that_failed_has_no_value() -> None:
    reports = {0: 0.1, 1: 0.2}
    failed = create_trial(state=TrialState.FAIL, intermediate_values=reports)
    assert measured_value(failed) is None
    lost = create_trial(
        state=TrialState.FAIL, intermediate_values=reports, user_attrs={"fail_reason": "lost"}
    )
    assert results.row(lost)[2] == "-"


@pytest.mark.filterwarnings("ignore:Heartbeat of storage:UserWarning")
def test_an_infeasible_trial_is_not_the_best_of_its_phase(storage: Storage) -> None:
    study = optuna.create_study(storage=storage.optuna)
    bests: list[int] = []

    class Asking(BasePruner):
        def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
            bests.append(study.best_trial.number)
            return False

    phases = [Phase("p", 1, "loss", "minimize").stored(0)]
    for value, constraint in ((1.0, 1.0), (2.0, 0.0), (3.0, 0.0)):
        asked = study.ask()
        asked.set_user_attr(attributes.PHASES, phases)
        asked.set_constraint("k", constraint)
        asked.report(value, 0)
        study.tell(asked, value)
    running = study.ask()
    running.set_user_attr(attributes.PHASES, phases)
    running.report(5.0, 0)
    study.pruner = PhasePruner(Asking, storage.optuna)
    assert running.should_prune() is False
    assert bests == [1]


def test_a_trial_that_names_no_phases_has_its_last_report() -> None:
    plain = create_trial(state=TrialState.PRUNED, intermediate_values={0: 0.1, 1: 0.2})
    assert measured_value(plain) == 0.2
    assert measured_value(create_trial(state=TrialState.PRUNED)) is None


@pytest.mark.parametrize(
    ("phases", "reports", "text"),
    [
        ([], 0, "step 0"),
        (None, 3, "step 3"),
        ("another tool's", 1, "step 1"),
        ([LANGUAGE], 0, "language_model epoch 1 of 2"),
        ([LANGUAGE], 2, "language_model epoch 2 of 2"),
        ([LANGUAGE, classifier(2)], 2, "classifier epoch 1 of 3"),
        ([LANGUAGE, classifier(2)], 4, "classifier epoch 3 of 3"),
        ([{"name": "stored", "start": 0, "metric": "by an earlier version"}], 1, "step 1"),
    ],
)
def test_how_far_a_trial_is(phases: object, reports: int, text: str) -> None:
    running = create_trial(
        state=TrialState.RUNNING,
        intermediate_values=dict.fromkeys(range(reports), 0.5),
        user_attrs={attributes.PHASES: phases},
    )
    assert step_text(running) == text


def test_a_phase_is_noted_with_its_first_step() -> None:
    phase = Phase("classifier", 3, "f1_macro", "maximize", final=True)
    assert phase.stored(4) == classifier(4)
