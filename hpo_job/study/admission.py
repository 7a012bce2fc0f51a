"""Who may start the next trial: the one place where a study's budget is counted.

Optuna's MaxTrialsCallback counts after a trial, so a budget overshoots by the number of workers.
Here counting and starting are one step within the study's lock, which the database or the system
releases when its holder dies.

Guaranteed: COMPLETE, PRUNED and RUNNING trials together are never more than the budget's
``trials``; of those that a PromotionPruner lets go on with parameters, only the first counts. A
trial that runs holds a place, one that fails gives it back. Once the budget's ``patience`` is used
up, no new parameters start (what a PromotionPruner paused may still go on); the trials that run
end, and if one of them is an improvement, the study goes on.

Not guaranteed: workers of plain Optuna take no lock and know no budget, so each may exceed it by
the trial it runs; and what they start may be the enqueued trial that was marked here.

What a crash leaves, and who repairs it (the states are drawn in docs/states.md):

- before an enqueued trial was started: a WAITING trial with the name of a dead worker. The next
  worker to ask takes it, and puts its own name on it.
- after a trial was started: a RUNNING trial with this name, which `recovery.fail_lost` fails at
  once, or after the grace since its last heartbeat or, without one, its start.
- between the failing and the enqueuing again: a FAIL that no trial retries; `recovery.requeue`.

All three are repaired by whichever worker next asks for a trial.
"""

from __future__ import annotations

import enum
import warnings
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from hpo_job.spec.combinations import EXHAUSTIVE
from hpo_job.spec.study_toml import Budget, StudySpec
from hpo_job.storage.database import Storage
from hpo_job.study.attempts import retried
from hpo_job.study.grid import Grid
from hpo_job.study.improvements import Improvements
from hpo_job.study.joining import budget
from hpo_job.study.ledger import Ledger
from hpo_job.study.optuna_private import fixed_params, running_trial
from hpo_job.study.promotion import PromotionPruner, place
from hpo_job.study.pruners import make_pruner
from hpo_job.study.recovery import fail_lost, requeue, trial_id
from hpo_job.study.samplers import make_sampler
from hpo_job.study.workers import identity
from hpo_job.trial import attributes
from hpo_job.trial.counting import is_promotion


class Refusal(enum.Enum):
    """Why no trial was started."""

    USED_UP = "the budget is used up"
    TIMEOUT = "the study's time is over"
    EXHAUSTED = "every combination has been tried"
    NO_IMPROVEMENT = "trials no longer improve the metric"
    FULL = "the trials that run now may use up the budget"


def admit(
    study: optuna.Study, spec: StudySpec, storage: Storage, ledger: Ledger | None = None
) -> optuna.Trial | Refusal:
    """Start the next trial of ``study``, or say why there is none to start.

    First it repairs what dead and stopped workers left.

    Args:
        study: the study; its sampler is replaced by one for this trial's draw.
        spec: what it is. The budget is not read from here: the stored one may be newer.
        storage: its storage.
        ledger: what this worker knows of the study already, so that not all trials are read.
    """
    ledger = ledger or Ledger()
    return storage.run_exclusively(study.study_name, lambda: _admit(study, spec, storage, ledger))


def _admit(
    study: optuna.Study, spec: StudySpec, storage: Storage, ledger: Ledger
) -> optuna.Trial | Refusal:
    bound = budget(study)
    trials = _repaired(study, storage, bound, ledger)
    if bound.timeout and ledger.working_time(storage.now()) >= bound.timeout:
        return Refusal.TIMEOUT
    pruner = make_pruner(spec)
    promotes = pruner if isinstance(pruner, PromotionPruner) else None
    over = _is_used_up(ledger, bound) or _is_stalled(spec, trials, ledger, bound)
    last = over and not ledger.running
    promoted = _promoted(study, promotes, trials, ledger, last=last) if promotes else None
    refusal = None if promoted else _refusal(ledger, bound, promotes is not None, over)
    if refusal:
        return refusal
    waiting = promoted or _first_waiting(ledger)
    if waiting is None and spec.sampler.name in EXHAUSTIVE:
        waiting = _enqueue_combination(study, spec, trials, ledger)
        if waiting is None:
            return Refusal.FULL if ledger.running else Refusal.EXHAUSTED
    draw = _draw(waiting, trials, ledger) if waiting else ledger.draws
    study.sampler = make_sampler(spec, draw)
    attrs: dict[str, Any] = {attributes.WORKER: identity(), attributes.DRAW: draw}
    if promotes is not None and promoted is None:
        attrs |= {attributes.RUNG: 0, attributes.BRACKET: draw % promotes.brackets}
    with storage.starting_with(attrs) as in_one_step, warnings.catch_warnings():
        # Optuna warns who asks outside of `optimize` that nothing sends heartbeats: the worker does
        warnings.filterwarnings("ignore", message="Heartbeat of storage is supposed")
        if waiting and not in_one_step:
            _mark(trial_id(study, waiting.number, storage), attrs, storage)
        trial = study.ask() if promoted is None else _start(study, promoted, storage)
    if trial is None:  # a worker of plain Optuna, which takes no lock, was first
        return _admit(study, spec, storage, ledger)
    if attributes.WORKER not in trial.user_attrs:
        # plain Optuna, which takes no lock, has enqueued it since, or was given the marked one
        _mark(trial_id(study, trial.number, storage), attrs, storage)
    elif waiting is None and not in_one_step:
        storage.optuna.record_heartbeat(trial_id(study, trial.number, storage))
    return trial


def _repaired(
    study: optuna.Study, storage: Storage, bound: Budget, ledger: Ledger
) -> list[FrozenTrial]:
    """All trials, after what dead and stopped workers left was repaired.

    They are read again only where that has changed any.
    """
    trials = study.get_trials(deepcopy=False)
    ledger.update(trials)
    if fail_lost(study, storage, trials=ledger.open):  # the finished ones may be 100,000
        trials = study.get_trials(deepcopy=False)
    if requeue(study, bound, ledger, trials):
        trials = study.get_trials(deepcopy=False)
        ledger.update(trials)
    return trials


def _first_waiting(ledger: Ledger) -> FrozenTrial | None:
    return next((trial for trial in ledger.open if trial.state == TrialState.WAITING), None)


def _promoted(
    study: optuna.Study,
    pruner: PromotionPruner,
    trials: list[FrozenTrial],
    ledger: Ledger,
    *,
    last: bool,
) -> FrozenTrial | None:
    """A waiting trial that goes on with paused parameters: one that was left waiting, or a new one.

    It needs no place in the budget, since its parameters have one.
    """
    waiting = (trial for trial in ledger.open if trial.state == TrialState.WAITING)
    if left := next(filter(is_promotion, waiting), None):
        return left
    paused = pruner.next(study, trials, last=last)
    if paused is None:
        return None
    bracket, rung = place(paused)
    study.enqueue_trial(
        {**fixed_params(paused), **paused.params},
        user_attrs={
            attributes.RETRY_OF: paused.number,
            attributes.RUNG: rung + 1,
            attributes.BRACKET: bracket,
        },
    )
    return study.get_trials(deepcopy=False, states=(TrialState.WAITING,))[-1]


def _start(study: optuna.Study, waiting: FrozenTrial, storage: Storage) -> optuna.Trial | None:
    """Start this waiting trial, which need not be the first one that waits; None if it runs."""
    number = trial_id(study, waiting.number, storage)
    if not storage.optuna.set_trial_state_values(number, TrialState.RUNNING):
        return None
    return running_trial(study, number)


def _enqueue_combination(
    study: optuna.Study, spec: StudySpec, trials: list[FrozenTrial], ledger: Ledger
) -> FrozenTrial | None:
    """Enqueue a combination that no trial has; None if all have been tried or are running."""
    if ledger.grid is None:
        ledger.grid = Grid(spec)
        ledger.grid.update(trials)
    combination = ledger.grid.next()
    if combination is None:
        return None
    study.enqueue_trial(combination)
    return study.get_trials(deepcopy=False, states=(TrialState.WAITING,))[0]


def _mark(number: int, attrs: dict[str, Any], storage: Storage) -> None:
    """Put this worker's name, the draw and a heartbeat on the trial with this id.

    On an enqueued trial they are there while it still waits. So whenever this worker dies, the
    trial either waits, and is started by another, or runs with a name and a heartbeat by which its
    loss is noticed.
    """
    for name, value in attrs.items():
        storage.optuna.set_trial_user_attr(number, name, value)
    storage.optuna.record_heartbeat(number)


def _draw(waiting: FrozenTrial, trials: list[FrozenTrial], ledger: Ledger) -> int:
    """Which of the study's draws the next trial is: what its sampler is seeded with.

    A new one is unique, since nobody else starts a trial now. A trial that is run again keeps the
    draw of the attempt before, so that after an interruption a study goes on as if there had been
    none.
    """
    drawn = retried(waiting, trials) or waiting
    return int(drawn.user_attrs.get(attributes.DRAW, ledger.draws))


def _is_used_up(ledger: Ledger, bound: Budget) -> bool:
    return bound.trials is not None and ledger.evaluated >= bound.trials


def _is_stalled(spec: StudySpec, trials: list[FrozenTrial], ledger: Ledger, bound: Budget) -> bool:
    """Whether as many trials as the patience have ended without an improvement."""
    if bound.patience is None:
        return False
    if ledger.improvements is None:
        ledger.improvements = Improvements(spec.directions[0])
        ledger.improvements.update(trials)
    return ledger.improvements.since(bound.min_delta) >= bound.patience


def _refusal(ledger: Ledger, bound: Budget, promotes: bool, over: bool) -> Refusal | None:
    if _is_used_up(ledger, bound):
        # what runs may pause, and then another trial may be among the best of a rung
        return Refusal.FULL if promotes and ledger.running else Refusal.USED_UP
    if over:  # what runs may be an improvement
        return Refusal.FULL if ledger.running else Refusal.NO_IMPROVEMENT
    if bound.trials is not None and ledger.evaluated + ledger.holding >= bound.trials:
        return Refusal.FULL
    return None
