"""Who may start the next trial: the one place where a study's budget is counted.

Optuna's MaxTrialsCallback counts after a trial, so a budget overshoots by the number of workers.
Here a worker counts and starts its trial while no other worker can: a trial that runs holds a
place in the budget, one that fails gives it back.
"""

from __future__ import annotations

import enum
import os
import socket
import warnings
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from hpo_job import attributes
from hpo_job.components import make_sampler
from hpo_job.spec import Budget, StudySpec
from hpo_job.stopping import INTERRUPTED, PREEMPTED
from hpo_job.storage import Storage
from hpo_job.study import budget

LOST = "lost"
# Why a trial failed, where the objective is not to blame: its parameters are run again
RETRIED = frozenset({LOST, INTERRUPTED, PREEMPTED})
FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)


class Refusal(enum.Enum):
    """Why no trial was started."""

    FINISHED = "the budget is used up"
    TIMEOUT = "the study's time is over"
    FULL = "the trials that run now may use the budget up"


def admit(study: optuna.Study, spec: StudySpec, storage: Storage) -> optuna.Trial | Refusal:
    """Start the next trial of ``study``, or say why there is none to start.

    First fails the trials whose workers died, and enqueues again what was broken off.
    """
    with storage.exclusive(study.study_name):
        _fail_lost(study, storage)
        requeue(study)
        trials = study.get_trials(deepcopy=False)
        refusal = _refusal(trials, budget(study))
        if refusal:
            return refusal
        draw = _prepare(study, trials, storage)
        study.sampler = make_sampler(spec, draw)
        with warnings.catch_warnings():
            # Optuna reminds whoever asks outside `optimize` of the heartbeat: the worker beats it
            warnings.filterwarnings("ignore", message="Heartbeat of storage is supposed")
            trial = study.ask()
        if attributes.WORKER not in trial.user_attrs:
            # a worker of plain Optuna, which knows no lock, took what was prepared
            _mark(trial_id(study, trial.number, storage), draw, storage)
        return trial


def _prepare(study: optuna.Study, trials: list[FrozenTrial], storage: Storage) -> int:
    """Put this worker's name and heartbeat on the trial that is to be asked for; its draw.

    They are on it while it still waits: a worker that dies before it asked leaves a trial that
    waits, one that dies after it a trial that can be told to be lost.
    """
    waiting = next((trial for trial in trials if trial.state == TrialState.WAITING), None)
    draw = _draw(waiting, trials)
    if waiting is None:
        attrs = {attributes.WORKER: identity(), attributes.DRAW: draw}
        study.enqueue_trial({}, user_attrs=attrs)
        waiting = study.get_trials(deepcopy=False, states=(TrialState.WAITING,))[0]
        number = trial_id(study, waiting.number, storage)
    else:
        number = trial_id(study, waiting.number, storage)
        _mark(number, draw, storage)
        return draw
    storage.optuna.record_heartbeat(number)
    return draw


def _mark(number: int, draw: int, storage: Storage) -> None:
    """Put this worker's name, the draw and a heartbeat on the trial with this id."""
    storage.optuna.set_trial_user_attr(number, attributes.DRAW, draw)
    storage.optuna.set_trial_user_attr(number, attributes.WORKER, identity())
    storage.optuna.record_heartbeat(number)


def _draw(waiting: FrozenTrial | None, trials: list[FrozenTrial]) -> int:
    """Which of the study's draws the next trial is: what its sampler is seeded with.

    Unique, since nobody else starts a trial now; but what is run again is drawn again, so that
    a study goes on after an interruption as if there had been none.
    """
    again = waiting and (_earlier(waiting, trials) or waiting)
    if again and attributes.DRAW in again.user_attrs:
        return int(again.user_attrs[attributes.DRAW])
    return 1 + max((int(trial.user_attrs.get(attributes.DRAW, -1)) for trial in trials), default=-1)


def requeue(study: optuna.Study) -> None:
    """Enqueue again the parameters of broken-off trials, each once, up to the budget's retries.

    What is still to do is read off the trials themselves, so a worker that dies in here leaves
    nothing undone: the next one to come finds it. Call it within the study's lock.
    """
    trials = study.get_trials(deepcopy=False)
    retried = {trial.user_attrs.get(attributes.RETRY_OF) for trial in trials}
    for trial in trials:
        if not _is_broken_off(trial) or trial.number in retried:
            continue
        parameters = {**fixed_params(trial), **trial.params}
        if _lives(trial, trials) <= budget(study).retries:
            study.enqueue_trial(parameters, user_attrs={attributes.RETRY_OF: trial.number})


def identity() -> dict[str, str | int]:
    """How this worker is named in its trials."""
    return {"host": _host(), "pid": os.getpid()}


def trial_id(study: optuna.Study, number: int, storage: Storage) -> int:
    """The storage's own number of a trial, which the heartbeat goes by."""
    study_id = storage.optuna.get_study_id_from_name(study.study_name)
    return storage.optuna.get_trial_id_from_study_id_trial_number(study_id, number)


def fixed_params(trial: FrozenTrial) -> dict[str, object]:
    """The parameters a trial was enqueued with; Optuna keeps them under a name of its own."""
    return dict(trial.system_attrs.get("fixed_params", {}))


def worked(trials: Iterable[FrozenTrial], now: datetime) -> timedelta:
    """How long a study has been worked on: the time in which at least one trial was running.

    Nights in which no worker ran do not count, nor do lost trials, whose end nobody saw.
    """
    spans = sorted(
        (trial.datetime_start, trial.datetime_complete or now)
        for trial in trials
        if trial.datetime_start and not (_is_broken_off(trial) and _reason(trial) == LOST)
    )
    total, until = timedelta(), datetime.min
    for start, end in spans:
        total += max(end - max(start, until), timedelta())
        until = max(until, end)
    return total


def _refusal(trials: list[FrozenTrial], budget: Budget) -> Refusal | None:
    finished = sum(trial.state in FINISHED for trial in trials)
    running = sum(trial.state == TrialState.RUNNING for trial in trials)
    if budget.trials is not None and finished >= budget.trials:
        return Refusal.FINISHED
    if budget.timeout and worked(trials, datetime.now()).total_seconds() >= budget.timeout:
        return Refusal.TIMEOUT
    if budget.trials is not None and finished + running >= budget.trials:
        return Refusal.FULL
    return None


def _fail_lost(study: optuna.Study, storage: Storage) -> None:
    """Record as FAIL what runs no more: no heartbeat for the grace, or its process is gone."""
    study_id = storage.optuna.get_study_id_from_name(study.study_name)
    stale = set(storage.stale_trial_ids(study_id))
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        number = trial_id(study, trial.number, storage)
        if number not in stale and not _died_here(trial):
            continue
        try:
            storage.optuna.set_trial_user_attr(number, attributes.REASON, LOST)
            storage.optuna.set_trial_state_values(number, TrialState.FAIL)
        except UpdateFinishedTrialError:
            continue  # it came back in the very last moment, and counts


def _died_here(trial: FrozenTrial) -> bool:
    """Whether the trial's worker ran on this machine and is gone: no need to wait the grace out.

    A trial under this very process's name was left by an earlier process of the same number,
    since a worker that asks for a trial has none.
    """
    worker = trial.user_attrs.get(attributes.WORKER)
    if not isinstance(worker, dict) or worker.get("host") != _host():
        return False
    return worker.get("pid") == os.getpid() or not _alive(int(worker.get("pid", 0)))


def _host() -> str:
    """The machine or container: what process numbers are counted in."""
    try:
        namespace = Path("/proc/self/ns/pid").readlink().name
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:  # not Linux: no containers that share a host's name
        return socket.gethostname()
    return f"{socket.gethostname()}/{boot}/{namespace}"


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _is_broken_off(trial: FrozenTrial) -> bool:
    return trial.state == TrialState.FAIL and _reason(trial) in RETRIED


def _reason(trial: FrozenTrial) -> str | None:
    return trial.user_attrs.get(attributes.REASON)


def _lives(trial: FrozenTrial, trials: list[FrozenTrial]) -> int:
    """How often the parameters of ``trial`` were lost or preempted; an interruption is free."""
    count = int(_reason(trial) != INTERRUPTED)
    while earlier := _earlier(trial, trials):
        trial = earlier
        count += _reason(trial) != INTERRUPTED
    return count


def _earlier(trial: FrozenTrial, trials: list[FrozenTrial]) -> FrozenTrial | None:
    """The trial that ``trial`` runs again; one copied in from another study names what is not."""
    number = trial.user_attrs.get(attributes.RETRY_OF)
    return trials[number] if isinstance(number, int) and 0 <= number < trial.number else None
