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
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from hpo_job import attributes
from hpo_job.components import make_sampler
from hpo_job.ledger import Ledger
from hpo_job.spec import Budget, StudySpec
from hpo_job.storage import Storage
from hpo_job.study import budget


class Refusal(enum.Enum):
    """Why no trial was started."""

    FINISHED = "the budget is used up"
    TIMEOUT = "the study's time is over"
    FULL = "the trials that run now may use the budget up"


def admit(
    study: optuna.Study, spec: StudySpec, storage: Storage, ledger: Ledger | None = None
) -> optuna.Trial | Refusal:
    """Start the next trial of ``study``, or say why there is none to start.

    First fails the trials whose workers died, and enqueues again what was broken off.

    ledger: what this worker knows of the study already; spares it a look at all trials.
    """
    known = ledger or Ledger()
    return storage.alone(study.study_name, lambda: _admit(study, spec, storage, known))


def _admit(
    study: optuna.Study, spec: StudySpec, storage: Storage, ledger: Ledger
) -> optuna.Trial | Refusal:
    bound = budget(study)
    _fail_lost(study, storage)
    requeue(study, bound, ledger)
    trials = study.get_trials(deepcopy=False)
    ledger.update(trials)
    refusal = _refusal(ledger, bound)
    if refusal:
        return refusal
    draw = _prepare(study, trials, storage, ledger)
    study.sampler = make_sampler(spec, draw)
    with warnings.catch_warnings():
        # Optuna reminds whoever asks outside `optimize` of the heartbeat: the worker beats it
        warnings.filterwarnings("ignore", message="Heartbeat of storage is supposed")
        trial = study.ask()
    if attributes.WORKER not in trial.user_attrs:
        # a worker of plain Optuna, which knows no lock, took what was prepared
        _mark(trial_id(study, trial.number, storage), draw, storage)
    return trial


def _prepare(
    study: optuna.Study, trials: list[FrozenTrial], storage: Storage, ledger: Ledger
) -> int:
    """Put this worker's name and heartbeat on the trial that is to be asked for; its draw.

    They are on it while it still waits: a worker that dies before it asked leaves a trial that
    waits, one that dies after it a trial that can be told to be lost.
    """
    waiting = next((trial for trial in ledger.open if trial.state == TrialState.WAITING), None)
    if waiting:
        draw = _draw(waiting, trials, ledger)
        _mark(trial_id(study, waiting.number, storage), draw, storage)
        return draw
    attrs = {attributes.WORKER: identity(), attributes.DRAW: ledger.draws}
    study.enqueue_trial({}, user_attrs=attrs)
    waiting = study.get_trials(deepcopy=False, states=(TrialState.WAITING,))[0]
    storage.optuna.record_heartbeat(trial_id(study, waiting.number, storage))
    return ledger.draws


def _mark(number: int, draw: int, storage: Storage) -> None:
    """Put this worker's name, the draw and a heartbeat on the trial with this id."""
    storage.optuna.set_trial_user_attr(number, attributes.DRAW, draw)
    storage.optuna.set_trial_user_attr(number, attributes.WORKER, identity())
    storage.optuna.record_heartbeat(number)


def _draw(waiting: FrozenTrial, trials: list[FrozenTrial], ledger: Ledger) -> int:
    """Which of the study's draws the next trial is: what its sampler is seeded with.

    Unique, since nobody else starts a trial now; but what is run again is drawn again, so that
    a study goes on after an interruption as if there had been none.
    """
    again = _earlier(waiting, trials) or waiting
    return int(again.user_attrs.get(attributes.DRAW, ledger.draws))


def requeue(study: optuna.Study, bound: Budget, ledger: Ledger) -> None:
    """Enqueue again the parameters of broken-off trials, each once, up to the budget's retries.

    What is still to do is read off the trials themselves, so a worker that dies in here leaves
    nothing undone: the next one to come finds it. Call it within the study's lock.
    """
    trials = study.get_trials(deepcopy=False)
    ledger.update(trials)
    for trial in ledger.broken_off.values():
        parameters = {**fixed_params(trial), **trial.params}
        if _lives(trial, trials) <= bound.retries:
            study.enqueue_trial(parameters, user_attrs={attributes.RETRY_OF: trial.number})


def identity() -> dict[str, str | int]:
    """How this worker is named in its trials."""
    return {"host": _host(), "pid": os.getpid()}


def trial_id(study: optuna.Study, number: int, storage: Storage) -> int:
    """The storage's own number of a trial, which the heartbeat goes by."""
    study_id = storage.study_id(study.study_name)
    return storage.optuna.get_trial_id_from_study_id_trial_number(study_id, number)


def fixed_params(trial: FrozenTrial) -> dict[str, object]:
    """The parameters a trial was enqueued with; Optuna keeps them under a name of its own."""
    return dict(trial.system_attrs.get("fixed_params", {}))


def worked(trials: Sequence[FrozenTrial], now: datetime) -> timedelta:
    """How long a study has been worked on; see `Ledger.worked`."""
    ledger = Ledger()
    ledger.update(trials)
    return ledger.worked(now)


def _refusal(ledger: Ledger, bound: Budget) -> Refusal | None:
    if bound.trials is not None and ledger.finished >= bound.trials:
        return Refusal.FINISHED
    if bound.timeout and ledger.worked(datetime.now()).total_seconds() >= bound.timeout:
        return Refusal.TIMEOUT
    if bound.trials is not None and ledger.finished + ledger.running >= bound.trials:
        return Refusal.FULL
    return None


def _fail_lost(study: optuna.Study, storage: Storage) -> None:
    """Record as FAIL what runs no more: no heartbeat for the grace, or its process is gone."""
    stale = set(storage.stale_trial_ids(storage.study_id(study.study_name)))
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        number = trial_id(study, trial.number, storage)
        if number not in stale and not is_gone(trial.user_attrs.get(attributes.WORKER)):
            continue
        try:
            storage.optuna.set_trial_user_attr(number, attributes.REASON, attributes.LOST)
            storage.optuna.set_trial_state_values(number, TrialState.FAIL)
        except UpdateFinishedTrialError:
            continue  # it came back in the very last moment, and counts


def is_gone(worker: object) -> bool:
    """Whether a worker, named as in `identity`, ran on this machine and runs no more.

    Then there is no need to wait the grace out. This very process's name was left by an earlier
    process of the same number, since a worker that asks for a trial has none.
    """
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


def _reason(trial: FrozenTrial) -> str | None:
    return trial.user_attrs.get(attributes.REASON)


def _lives(trial: FrozenTrial, trials: list[FrozenTrial]) -> int:
    """How often the parameters of ``trial`` were lost or preempted; an interruption is free."""
    count = int(_reason(trial) != attributes.INTERRUPTED)
    while earlier := _earlier(trial, trials):
        trial = earlier
        count += _reason(trial) != attributes.INTERRUPTED
    return count


def _earlier(trial: FrozenTrial, trials: list[FrozenTrial]) -> FrozenTrial | None:
    """The trial that ``trial`` runs again; one copied in from another study names what is not."""
    number = trial.user_attrs.get(attributes.RETRY_OF)
    return trials[number] if isinstance(number, int) and 0 <= number < trial.number else None
