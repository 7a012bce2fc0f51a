"""One worker: takes trials of a study until its budget is used up, and records each."""

from __future__ import annotations

import gc
import logging
import math
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import optuna
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.trial import TrialState

from hpo_job import objectives
from hpo_job.artifacts import models as artifacts
from hpo_job.errors import FailuresError, StorageError
from hpo_job.machine import ARTIFACTS, CACHE
from hpo_job.objectives import Train
from hpo_job.objectives.context import Context
from hpo_job.spec import search_space
from hpo_job.storage.database import STORAGE_ERRORS, Storage
from hpo_job.study.admission import Refusal, admit, recover, requeue, trial_id
from hpo_job.study.checking import Checked
from hpo_job.study.joining import budget
from hpo_job.study.ledger import Ledger
from hpo_job.trial import attributes
from hpo_job.trial.timings import Timings
from hpo_job.worker import repeats
from hpo_job.worker.failures import Failure, in_a_row, in_common
from hpo_job.worker.heartbeat import heartbeat
from hpo_job.worker.outcomes import Outcome, described, of_error, of_trained, record
from hpo_job.worker.signals import Stop, Stopped

POLL = 1.0  # seconds between two looks at a budget that other workers may still give back
LOOKS = 20  # a second at most, of all workers together, for trials that were lost
MAX_TRACE = 8000  # characters of its traceback that are logged, from the end
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Machine:
    """What this machine gives its workers.

    threads: CPU threads that a trial may use.
    cache: folder of what trials and workers can share.
    artifacts: where kept models go, unless the study names a place: a folder or a bucket's URL.
    """

    threads: int
    cache: Path = CACHE
    artifacts: str = ARTIFACTS


def work(
    checked: Checked,
    study: optuna.Study,
    storage: Storage,
    stop: Stop,
    machine: Machine,
    patience: float = math.inf,
) -> Refusal | None:
    """Run trials until there are none to start, and say why; None where ``stop`` ended it.

    patience: seconds to wait while other workers run all that is left. It must be longer than
        the grace: then each of them has shown that it lives.

    Raises FailuresError after as many failed trials in a row as the budget tolerates.
    """
    train = objectives.load(checked.spec)
    failures: list[Failure] = []
    ledger = Ledger()
    models = kept_models(checked, study, machine)
    full_since: float | None = None
    while not stop.requested:
        timings = Timings()
        with timings.measure(attributes.STORAGE_TIME):
            trial = admit(study, checked.spec, storage, ledger)
        if trial is Refusal.FULL:
            full_since = full_since or time.monotonic()
            if time.monotonic() - full_since > patience:
                return trial
            stop.wait(POLL)
        elif isinstance(trial, Refusal):
            return trial
        else:
            full_since = None
            outcome = run_one_trial(
                train,
                context_of(trial, checked, machine, timings),
                checked,
                study,
                storage,
                stop,
                models,
                ledger,
            )
            failures = in_a_row(failures, trial, outcome)
            if failures and len(failures) >= budget(study).failures:
                raise FailuresError(in_common(failures))
    return None


def run_one_trial(
    train: Train,
    context: Context,
    checked: Checked,
    study: optuna.Study,
    storage: Storage,
    stop: Stop,
    models: artifacts.Models | None,
    ledger: Ledger,
) -> Outcome:
    """Run one trial and record it; nothing of its model stays behind."""
    trial = context.trial
    number = trial_id(study, trial.number, storage)
    look = partial(recover, study, storage, ledger, trial.number)
    with _heartbeat(storage, number, ledger.running / LOOKS, look):
        outcome = _run(train, context, checked, stop)
        if stop.broke_off:  # whatever the objective made of it
            outcome = Outcome(TrialState.FAIL, reason=stop.reason)
        artifact = _offer(models, trial, outcome)
        recorded = record(study, trial, described(outcome, context, artifact))
    if models and artifact:
        models.sweep() if recorded else models.remove(artifact)
    if recorded:
        react_to_end(study, trial, outcome, storage, ledger)
    return replace(outcome, keep=None)


def kept_models(checked: Checked, study: optuna.Study, machine: Machine) -> artifacts.Models | None:
    """Where the best trials' models go; None where the study keeps none."""
    told = checked.spec.artifacts
    if not told.keep or objectives.is_function(checked.spec):
        return None
    store = artifacts.writable_store(told.store or machine.artifacts)
    return artifacts.Models(study, store, told.keep)


def _run(train: Train, context: Context, checked: Checked, stop: Stop) -> Outcome:
    """Suggest the parameters, call the objective, and say how it ended."""
    trial, spec = context.trial, checked.spec
    try:
        with stop.breaking():
            with context.timings.measure(attributes.STORAGE_TIME):
                _reset(trial)
                suggested = search_space.suggest(trial, spec.search_space)
            context.params = {**objectives.defaults(spec), **suggested}
            compared = spec.pruner.name == "WilcoxonPruner"
            trained = repeats.run(train, context, spec.budget.repeats, compared)
        return of_trained(trained, len(trial.study.directions))
    except optuna.TrialPruned:
        return Outcome(TrialState.PRUNED)
    except Stopped:
        return Outcome(TrialState.FAIL, reason=stop.reason)
    except UpdateFinishedTrialError:
        return Outcome(TrialState.FAIL, reason=attributes.LOST)
    except (StorageInternalError, StorageError):
        raise  # the storage is at fault, and could not record the trial either
    except (Exception, SystemExit, KeyboardInterrupt) as error:
        if isinstance(error, KeyboardInterrupt) and stop.requested:
            raise  # the second Ctrl-C; without a first one it is the objective's own
        trace = traceback.format_exc().rstrip()
        log.error("trial %d failed:\n%s", trial.number, trace[-MAX_TRACE:])
        return of_error(error)
    finally:
        gc.collect()  # a model in a reference cycle would hold its memory into the next trial


def _reset(trial: optuna.Trial) -> None:
    """Forget measurements that were copied into a trial: Optuna's own retries copy them."""
    for name in trial.user_attrs:
        if attributes.is_measured(name):
            trial.set_user_attr(name, None)


def context_of(
    trial: optuna.Trial, checked: Checked, machine: Machine, timings: Timings
) -> Context:
    """The surroundings of a trial on this machine, its parameters still to be filled in."""
    spec = checked.spec
    return Context(
        trial=trial,
        params={},
        path=spec.data_path,
        seed=spec.seed,
        threads=machine.threads,
        weights=checked.weights,
        cache=machine.cache,
        data=checked.data,
        metrics=checked.metrics,
        timings=timings,
    )


def _offer(models: artifacts.Models | None, trial: optuna.Trial, outcome: Outcome) -> str | None:
    """Keep the model of a COMPLETE trial, if the study keeps it; its id."""
    if models is None or outcome.keep is None or outcome.values is None:
        return None
    return models.offer(trial, outcome.values, outcome.kept, outcome.keep)


def react_to_end(
    study: optuna.Study, trial: optuna.Trial, outcome: Outcome, storage: Storage, ledger: Ledger
) -> None:
    """What the end of a trial asks of its worker."""
    if outcome.fatal:
        raise outcome.fatal
    if outcome.reason in attributes.RETRIED:
        bound = budget(study)
        storage.run_exclusively(study.study_name, lambda: requeue(study, bound, ledger))


@contextmanager
def _heartbeat(
    storage: Storage, number: int, every: float, look: Callable[[], None]
) -> Iterator[None]:
    """Tell the storage, now and then, that the trial with this id is alive.

    look: called as well, at most ``every`` so many seconds.
    """
    looked = time.monotonic()

    def beat() -> None:
        nonlocal looked
        try:
            storage.optuna.record_heartbeat(number)
            if time.monotonic() - looked >= every:
                looked = time.monotonic()
                look()
        except STORAGE_ERRORS as error:
            # one lost beat is no lost trial: the next one may get through
            log.warning("no heartbeat: %s", storage.error(error))

    with heartbeat("heartbeat", storage.optuna.get_heartbeat_interval() or 1, beat):
        yield
