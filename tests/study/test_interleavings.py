"""The budget is exact however workers start, finish, fail, are stopped and die."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path

import optuna
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
)
from optuna.trial import TrialState

from hpo_job.study.admission import Refusal, admit
from hpo_job.study.ledger import Ledger
from hpo_job.study.workers import identity
from hpo_job.trial import attributes
from hpo_job.trial.counting import evaluated
from tests.quick import SPACE, Quick

TRIALS, RETRIES = 4, 1
PATIENCE, MIN_DELTA = 2, 0.1
VALUES = (1.0, 0.95, 0.9, 0.5)  # less is better; some are no improvement of MIN_DELTA
WORKERS = 3  # each has read the study at another time


class Study(RuleBasedStateMachine):
    """Workers of one study, in any order of what may happen to them."""

    running = Bundle("running")

    @initialize(enqueued=st.integers(0, 2), patient=st.booleans())
    def create(self, enqueued: int, patient: bool) -> None:
        self.patience = PATIENCE if patient else TRIALS + 1
        self.folder = tempfile.TemporaryDirectory()
        self.quick = Quick(
            Path(self.folder.name),
            budget=(
                f"trials = {TRIALS}\nretries = {RETRIES}\n"
                f"patience = {self.patience}\nmin_delta = {MIN_DELTA}"
            ),
            space=SPACE + "\n[[enqueue]]\nx = 1.0" * bool(enqueued),
        )
        self.ledgers = [Ledger() for _ in range(WORKERS)]

    @rule(target=running, worker=st.integers(0, WORKERS - 1))
    def ask(self, worker: int) -> object:
        """A worker asks for a trial, whatever it knew of the study before."""
        stalled = self.without_improvement() >= self.patience
        trial = admit(
            self.quick.study, self.quick.checked.spec, self.quick.storage, self.ledgers[worker]
        )
        if isinstance(trial, Refusal):
            assert stalled or len(self.holding_places()) == TRIALS
            assert (trial is Refusal.NO_IMPROVEMENT) <= (not self.any_running())
            return multiple()
        assert not stalled
        # a worker on another machine: nobody can see whether its process lives
        trial.set_user_attr(attributes.WORKER, {"host": f"pod-{trial.number}", "pid": 1})
        trial.suggest_float("x", -5, 5)
        return trial

    @rule(trial=consumes(running), value=st.sampled_from([*VALUES, None]))
    def finish(self, trial: optuna.Trial, value: float | None) -> None:
        if value is None:
            trial.report(0.0, 0)
        state = TrialState.PRUNED if value is None else TrialState.COMPLETE
        self.quick.study.tell(trial, value, state)

    @rule(trial=consumes(running), reason=st.sampled_from(["error", *sorted(attributes.RETRIED)]))
    def fail(self, trial: optuna.Trial, reason: str) -> None:
        """It raised, was interrupted or preempted, or another worker took it for lost."""
        trial.set_user_attr(attributes.REASON, reason)
        self.quick.study.tell(trial, state=TrialState.FAIL)

    @rule(trial=consumes(running))
    def die(self, trial: optuna.Trial) -> None:
        """Its worker is killed: the next one to ask sees that its process is gone."""
        trial.set_user_attr(attributes.WORKER, {**identity(), "pid": 2**22 + 1})

    @invariant()
    def the_budget_is_kept(self) -> None:
        assert len(self.holding_places()) <= TRIALS

    @invariant()
    def no_trial_is_retried_twice(self) -> None:
        named = [trial.user_attrs.get(attributes.RETRY_OF) for trial in self.trials()]
        retried = [number for number in named if number is not None]
        assert len(retried) == len(set(retried))

    def teardown(self) -> None:
        """The workers that are left bring the study to its end."""
        if not hasattr(self, "quick"):
            return
        for trial in self.trials():
            if trial.state == TrialState.RUNNING:
                self.quick.study.tell(trial.number, 1.0)
        while isinstance(started := self.next(), optuna.Trial):
            started.suggest_float("x", -5, 5)
            self.quick.study.tell(started, 1.0)
        assert self.is_over()
        self.each_lost_set_ran_again()
        self.folder.cleanup()

    def each_lost_set_ran_again(self) -> None:
        """As often as the budget says, with the same parameters; interruptions are free."""
        trials = self.trials()
        retry = {trial.user_attrs.get(attributes.RETRY_OF): trial for trial in trials}
        for trial in trials:
            if trial.user_attrs.get(attributes.REASON) in attributes.RETRIED:
                again = retry.get(trial.number)
                if again is not None and again.state == TrialState.WAITING:
                    assert self.without_improvement() >= self.patience  # it ended before that
                elif again is not None:
                    assert trial.params.items() <= again.params.items()
                else:
                    assert self.is_over()

    def is_over(self) -> bool:
        places = sum(map(evaluated, self.trials()))
        return places == TRIALS or self.without_improvement() >= self.patience

    def without_improvement(self) -> int:
        """How many trials have ended since the last improvement, counted anew."""
        mark, count = math.inf, 0
        for trial in filter(evaluated, self.trials()):
            count += 1
            value = math.inf if trial.value is None else trial.value
            if trial.state == TrialState.COMPLETE and value <= mark - MIN_DELTA + 1e-9:
                mark, count = value, 0
        return count

    def any_running(self) -> bool:
        return any(trial.state == TrialState.RUNNING for trial in self.trials())

    def next(self) -> optuna.Trial | Refusal:
        return admit(self.quick.study, self.quick.checked.spec, self.quick.storage)

    def trials(self) -> list[optuna.trial.FrozenTrial]:
        return self.quick.study.get_trials(deepcopy=False)

    def holding_places(self) -> list[optuna.trial.FrozenTrial]:
        return [
            trial
            for trial in self.trials()
            if evaluated(trial) or trial.state == TrialState.RUNNING
        ]


TestInterleavings = pytest.mark.studies(Study.TestCase)
TestInterleavings.settings = settings(
    max_examples=16,
    stateful_step_count=20,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
