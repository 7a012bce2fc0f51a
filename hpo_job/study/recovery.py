"""Trials whose workers died or were stopped: failed, and their parameters enqueued again.

There is no queue of what is to be repaired: it is read off the trials each time. So a worker may
die in here at any point; the next one to start a trial completes what it left. All of this is
called within the study's lock.

- RUNNING, and its worker is gone or sends no heartbeat: failed as ``lost`` by `fail_lost`.
- FAIL as ``lost``, ``preempted`` or ``interrupted``, and no trial names it as its ``retry_of``:
  enqueued again by `requeue`, until its parameters have used up the budget's ``retries``, which
  count anew from each attempt that saved some of its work.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from hpo_job.spec.study_toml import Budget
from hpo_job.storage.database import Storage
from hpo_job.study.attempts import earlier, made_progress
from hpo_job.study.joining import budget
from hpo_job.study.ledger import Ledger
from hpo_job.study.optuna_private import fixed_params
from hpo_job.study.promotion import is_paused
from hpo_job.study.workers import is_gone
from hpo_job.trial import attributes

log = logging.getLogger(__name__)


def recover(study: optuna.Study, storage: Storage, ledger: Ledger, running: int) -> None:
    """Repair what other workers left while this one is in the middle of a trial.

    It takes the study's lock itself, and only where some trial has no heartbeat.

    Args:
        study: the study.
        storage: its storage.
        ledger: what this worker knows of the study already.
        running: the number of the trial that this process runs.
    """
    if not storage.stale_trial_ids(storage.study_id(study.study_name)):
        return

    def repair() -> None:
        fail_lost(study, storage, running)
        requeue(study, budget(study), ledger)

    storage.run_exclusively(study.study_name, repair)


def fail_lost(
    study: optuna.Study,
    storage: Storage,
    running: int | None = None,
    trials: Sequence[FrozenTrial] | None = None,
) -> bool:
    """Record as FAIL the trials that no worker runs any more.

    They are those without a heartbeat for the grace, by the database's clock, and those whose
    worker is known to be gone. A trial that ends in the same moment keeps its result.

    Args:
        study: the study.
        storage: its storage.
        running: the number of the trial that this process runs, if it does.
        trials: those that may be running, where they were read already.

    Returns:
        Whether there were any, so that trials that were read before have changed.
    """
    if trials is None:
        trials = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    changed = False
    stale = set(storage.stale_trial_ids(storage.study_id(study.study_name)))
    for trial in trials:
        if trial.state != TrialState.RUNNING or trial.number == running:
            continue
        number = trial_id(study, trial.number, storage)
        worker = trial.user_attrs.get(attributes.WORKER)
        if not (number in stale or is_gone(worker)):
            continue
        changed = True
        try:
            storage.optuna.set_trial_user_attr(number, attributes.REASON, attributes.LOST)
            storage.optuna.set_trial_state_values(number, TrialState.FAIL)
        except UpdateFinishedTrialError:
            continue
        if worker is None:
            log.warning(
                "trial %d is lost, and is run again: a worker of plain Optuna left it running, "
                "without a heartbeat for the grace (set heartbeat_interval for its storage if it "
                "lives)",
                trial.number,
            )
        else:
            log.info("trial %d is lost: its worker sends no heartbeat", trial.number)
    return changed


def requeue(
    study: optuna.Study,
    bound: Budget,
    ledger: Ledger,
    trials: Sequence[FrozenTrial] | None = None,
) -> bool:
    """Enqueue again the parameters of broken-off trials, each once, up to the budget's retries.

    Args:
        study: the study.
        bound: its budget.
        ledger: what this worker knows of the study already.
        trials: all of the study, where they were read already.

    Returns:
        Whether anything was enqueued.
    """
    if trials is None:
        trials = study.get_trials(deepcopy=False)
    ledger.update(trials)
    enqueued = False
    for trial in ledger.broken_off.values():
        parameters = {**fixed_params(trial), **trial.params}
        if _runs_again(trial, trials, bound.retries):
            rung = {k: v for k, v in trial.user_attrs.items() if k in attributes.OF_PROMOTION}
            study.enqueue_trial(parameters, user_attrs={attributes.RETRY_OF: trial.number, **rung})
            enqueued = True
    return enqueued


def trial_id(study: optuna.Study, number: int, storage: Storage) -> int:
    """The storage's own number of a trial, by which it knows heartbeats."""
    study_id = storage.study_id(study.study_name)
    return storage.optuna.get_trial_id_from_study_id_trial_number(study_id, number)


def continuable(trials: Sequence[FrozenTrial], retries: int) -> set[int]:
    """The numbers of the trials whose saved states may still be continued.

    They are the attempts at parameters that run now, or will run again.

    Args:
        trials: all of the study.
        retries: of its budget.
    """
    again = {trial.user_attrs.get(attributes.RETRY_OF) for trial in trials}
    needed: set[int] = set()
    for trial in trials:
        if trial.number in again:
            continue  # the attempt after it decides
        broken_off = (
            trial.state == TrialState.FAIL
            and trial.user_attrs.get(attributes.REASON) in attributes.RETRIED
        )
        goes_on = not trial.state.is_finished() or is_paused(trial)
        if goes_on or (broken_off and _runs_again(trial, trials, retries)):
            needed |= {attempt.number for attempt in (trial, *earlier(trial, trials))}
    return needed


def _runs_again(trial: FrozenTrial, trials: Sequence[FrozenTrial], retries: int) -> bool:
    """Whether the parameters of a trial that was broken off are run once more."""
    return _attempts(trial, trials) <= retries


def _attempts(trial: FrozenTrial, trials: Sequence[FrozenTrial]) -> int:
    """How often in a row the parameters of ``trial`` were lost or preempted without progress.

    Interruptions are free, and so is an attempt that saved more work than it had begun with: on
    nodes that come and go, a long training ends after many attempts.
    """
    count = 0
    attempts = [trial, *earlier(trial, trials)]
    for position, attempt in enumerate(attempts, 1):
        if is_paused(attempt) or made_progress(attempt, attempts[position:]):
            break
        count += attempt.user_attrs.get(attributes.REASON) != attributes.INTERRUPTED
    return count
