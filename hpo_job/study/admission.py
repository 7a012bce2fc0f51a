"""Who may start the next trial: the one place where a study's budget is counted.

Optuna's MaxTrialsCallback counts after a trial, so a budget overshoots by the number of workers.
Here a worker counts and starts its trial while no other worker can: a trial that runs holds a
place in the budget, one that fails gives it back.
"""

from __future__ import annotations

import enum
import logging
import os
import socket
import warnings
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from hpo_job.spec.study_toml import Budget, StudySpec
from hpo_job.storage.database import Storage
from hpo_job.study.joining import budget
from hpo_job.study.ledger import Ledger, fixed_params
from hpo_job.study.samplers import make_sampler
from hpo_job.trial import attributes

log = logging.getLogger(__name__)
# Set in a pod of an Indexed Job: which Job (its uid), and which of its indexes
OWNER, INDEX = "HPO_JOB_OWNER", "HPO_JOB_INDEX"


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
    return storage.run_exclusively(study.study_name, lambda: _admit(study, spec, storage, known))


def _admit(
    study: optuna.Study, spec: StudySpec, storage: Storage, ledger: Ledger
) -> optuna.Trial | Refusal:
    _fail_lost(study, storage)
    bound = budget(study)
    requeue(study, bound, ledger)
    trials = study.get_trials(deepcopy=False)
    ledger.update(trials)
    refusal = _refusal(ledger, bound, storage)
    if refusal:
        return refusal
    waiting = next((trial for trial in ledger.open if trial.state == TrialState.WAITING), None)
    draw = _draw(waiting, trials, ledger) if waiting else ledger.draws
    study.sampler = make_sampler(spec, draw)
    attrs = {attributes.WORKER: identity(), attributes.DRAW: draw}
    with storage.starting_with(attrs) as marked, warnings.catch_warnings():
        # Optuna reminds whoever asks outside `optimize` of the heartbeat: the worker beats it
        warnings.filterwarnings("ignore", message="Heartbeat of storage is supposed")
        if not marked:
            _prepare(study, waiting, attrs, storage)
        trial = study.ask()
    if attributes.WORKER not in trial.user_attrs:
        # a worker of plain Optuna, which knows no lock, took what was prepared
        _mark(trial_id(study, trial.number, storage), attrs, storage)
    return trial


def _prepare(
    study: optuna.Study, waiting: FrozenTrial | None, attrs: dict[str, Any], storage: Storage
) -> None:
    """Put this worker's name and heartbeat on the trial that is to be asked for.

    They are on it while it still waits: a worker that dies before it asked leaves a trial that
    waits, one that dies after it a trial that can be told to be lost.
    """
    if waiting:
        _mark(trial_id(study, waiting.number, storage), attrs, storage)
        return
    study.enqueue_trial({}, user_attrs=attrs)
    waiting = study.get_trials(deepcopy=False, states=(TrialState.WAITING,))[0]
    storage.optuna.record_heartbeat(trial_id(study, waiting.number, storage))


def _mark(number: int, attrs: dict[str, Any], storage: Storage) -> None:
    """Put this worker's name, the draw and a heartbeat on the trial with this id."""
    for name, value in attrs.items():
        storage.optuna.set_trial_user_attr(number, name, value)
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


def recover(study: optuna.Study, storage: Storage, ledger: Ledger, mine: int) -> None:
    """Fail and enqueue again what was lost, if anything was, though no trial is to be started.

    For a worker in the middle of a long trial: lost ones are noticed while it is at it.

    mine: the number of that trial.
    """
    if not storage.stale_trial_ids(storage.study_id(study.study_name)):
        return

    def take_back() -> None:
        _fail_lost(study, storage, mine)
        requeue(study, budget(study), ledger)

    storage.run_exclusively(study.study_name, take_back)


def identity() -> dict[str, str | int]:
    """How this worker is named in its trials; in a pod also by its Job and its index there."""
    named: dict[str, str | int] = {"host": _host(), "pid": os.getpid()}
    owner, index = os.environ.get(OWNER), os.environ.get(INDEX)
    return {**named, "owner": owner, "index": index} if owner and index else named


def trial_id(study: optuna.Study, number: int, storage: Storage) -> int:
    """The storage's own number of a trial, which the heartbeat goes by."""
    study_id = storage.study_id(study.study_name)
    return storage.optuna.get_trial_id_from_study_id_trial_number(study_id, number)


def _refusal(ledger: Ledger, bound: Budget, storage: Storage) -> Refusal | None:
    if bound.trials is not None and ledger.evaluated >= bound.trials:
        return Refusal.FINISHED
    if bound.timeout and ledger.working_time(storage.now()) >= bound.timeout:
        return Refusal.TIMEOUT
    if bound.trials is not None and ledger.evaluated + ledger.running >= bound.trials:
        return Refusal.FULL
    return None


def _fail_lost(study: optuna.Study, storage: Storage, mine: int | None = None) -> None:
    """Record as FAIL what runs no more: no heartbeat for the grace, or its process is gone.

    mine: the number of the trial that this process runs, if it does.
    """
    stale = set(storage.stale_trial_ids(storage.study_id(study.study_name)))
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        number = trial_id(study, trial.number, storage)
        gone = number in stale or is_gone(trial.user_attrs.get(attributes.WORKER))
        if trial.number == mine or not gone:
            continue
        try:
            storage.optuna.set_trial_user_attr(number, attributes.REASON, attributes.LOST)
            storage.optuna.set_trial_state_values(number, TrialState.FAIL)
        except UpdateFinishedTrialError:
            continue  # it came back in the very last moment, and counts
        log.info("trial %d is lost: no sign of life from its worker", trial.number)


def is_gone(worker: object) -> bool:
    """Whether a worker, named as in `identity`, is known to run no more: no grace to wait out.

    It ran on this machine; or it was the pod before this one, of the same index of the same Job,
    of which there is never more than one at a time. This very process's name was left by an
    earlier process of the same number, since a worker that asks for a trial has none.
    """
    if not isinstance(worker, dict):
        return False
    mine = identity()
    if "owner" in mine and all(worker.get(key) == mine[key] for key in ("owner", "index")):
        return True
    if worker.get("host") != mine["host"]:
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
