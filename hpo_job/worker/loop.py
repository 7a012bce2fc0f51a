"""One worker: takes trials of a study until its budget is used up, and records each."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing.connection import Connection

import optuna
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.trial import TrialState

from hpo_job import objectives
from hpo_job.artifacts.checkpoints import Checkpoints, remove_all
from hpo_job.artifacts.models import Models
from hpo_job.artifacts.stores import writable_store
from hpo_job.artifacts.trial_logs import TrialLogs
from hpo_job.errors import DiskFullError, FailuresError, GoneError, SpecError, StorageError
from hpo_job.objectives.context import Context
from hpo_job.spec import search_space
from hpo_job.storage.database import STORAGE_ERRORS, Storage
from hpo_job.study import promotion
from hpo_job.study.admission import Refusal, admit
from hpo_job.study.attempts import checkpoints, earlier, object_names
from hpo_job.study.checking import Checked
from hpo_job.study.joining import budget
from hpo_job.study.ledger import Ledger
from hpo_job.study.promotion import is_paused
from hpo_job.study.recovery import recover, requeue, trial_id
from hpo_job.trial import attributes
from hpo_job.trial.timings import Timings
from hpo_job.worker import repeats
from hpo_job.worker.callbacks import Callbacks
from hpo_job.worker.disk import end_if_full
from hpo_job.worker.failures import Failure, in_a_row, in_common
from hpo_job.worker.heartbeat import heartbeat
from hpo_job.worker.liveness import Progress
from hpo_job.worker.machine_share import Machine, described_worker
from hpo_job.worker.memory import listed, memory_params
from hpo_job.worker.outcomes import (
    OUT_OF_MEMORY,
    Outcome,
    described,
    of_error,
    of_trained,
    record,
)
from hpo_job.worker.output import STARTED
from hpo_job.worker.saving import Saving
from hpo_job.worker.signals import Stop, Stopped
from hpo_job.worker.trial_log import Capture

POLL = 1.0  # seconds until a worker asks again, when running trials may still use up the budget
RECOVERIES = 20  # a second at most, of all workers together, look for lost trials
log = logging.getLogger(__name__)


def work(
    checked: Checked,
    study: optuna.Study,
    storage: Storage,
    stop: Stop,
    machine: Machine,
    patience: float = math.inf,
    progress: Progress | None = None,
    over: Connection | None = None,
) -> Refusal | None:
    """Run trials until there are none to start.

    Args:
        checked: the spec and what it names.
        study: the study to work on.
        storage: its storage.
        stop: asks for the end; the trial that runs then is broken off.
        machine: what this worker may use.
        patience: seconds to wait while other workers run all that is left. It must be longer
            than the grace: by then each of them has sent a heartbeat, or is lost.
        progress: notes what the trials do; nobody looks at it by default.
        over: is at its end when another worker has ended, which probably found nothing left to
            start: a worker that waits asks at once then.

    Returns:
        Why there is no trial to start, or None if ``stop`` ended it.

    Raises:
        FailuresError: as many trials failed in a row as the budget tolerates.
    """
    worker = Worker(checked, study, storage, stop, machine, progress or Progress(None), over)
    started = {"event": STARTED} if machine.in_pod > 1 else {}
    log.info("%s", described_worker(checked.spec, machine), extra=started)
    with worker.capture.listening():
        return _work(worker, checked, study, patience)


def _work(worker: Worker, checked: Checked, study: optuna.Study, patience: float) -> Refusal | None:
    failures: list[Failure] = []
    while True:
        context = worker.start_trial(patience)
        if not isinstance(context, Context):
            if context in (Refusal.USED_UP, Refusal.NO_IMPROVEMENT):
                worker.forget_paused()
            return context
        outcome = worker.run_trial(context)
        memory = memory_params(checked.spec, context.params)
        failures = in_a_row(failures, context.trial, outcome, memory)
        if failures and len(failures) >= budget(study).failures:
            raise FailuresError(in_common(failures))


class Worker:
    """What the trials of one worker share."""

    def __init__(
        self,
        checked: Checked,
        study: optuna.Study,
        storage: Storage,
        stop: Stop,
        machine: Machine,
        progress: Progress,
        over: Connection | None = None,
    ) -> None:
        self._over = over
        self._checked, self._study, self._storage = checked, study, storage
        self._stop, self._machine, self._progress = stop, machine, progress
        self._objective = objectives.load(checked.spec)
        self._callbacks = Callbacks(checked.spec)
        self._models = kept_models(checked, study, machine)
        self._ledger = Ledger()
        self._recording = 0.0  # seconds that recording the last result took
        self.capture = Capture()
        self._logs = TrialLogs(storage, checked.spec.artifacts.store or machine.artifacts)

    def start_trial(self, patience: float) -> Context | Refusal | None:
        """The next trial, started; or why there is none; or None if asked to stop.

        It waits, up to ``patience`` seconds, while running trials hold all places in the budget.
        """
        begin = time.monotonic()
        while not self._stop.requested:
            end_if_full(self._stop.fault)
            timings, waited = Timings(), self._storage.lock_wait
            with timings.measure(attributes.STORAGE_TIME):
                trial = admit(self._study, self._checked.spec, self._storage, self._ledger)
            timings.add(attributes.LOCK_TIME, self._storage.lock_wait - waited)
            timings.add(attributes.RECORDING_TIME, self._recording)
            if isinstance(trial, optuna.Trial):
                return context_of(trial, self._checked, self._machine, timings)
            if trial is not Refusal.FULL or time.monotonic() - begin > patience:
                return trial
            self._stop.wait(POLL, self._over)
            if self._over is not None and self._over.poll():
                self._over = None  # it has no more to say; what is left to start is asked at once
        return None

    def run_trial(self, context: Context) -> Outcome:
        """Run one trial and record how it ended; its model is kept, or nothing stays of it.

        Raises:
            HpoJobError: its objective's, where no other trial of this worker would fare better.
        """
        trial = context.trial
        with self._heartbeat(trial), self._progress.trial():
            store = self._logs.of(trial)
            with self.capture.of(store, self._logs.pause, lambda: self._stop.requested):
                outcome = self._train(context)
            artifact = self._keep_model(trial, outcome)
            saving = context.checkpoints
            if isinstance(saving, Saving):
                saving.finish()
            ended = described(outcome, context, artifact)
            begin = time.monotonic()
            recorded = record(self._study, self._storage, trial, ended)
            self._recording = time.monotonic() - begin
        if self._models and artifact:
            self._models.sweep() if recorded else self._models.remove(artifact)
        if recorded:
            if isinstance(saving, Saving) and outcome.reason not in attributes.RETRIED:
                saving.keep_newest() if attributes.PAUSED_AT in ended.attrs else saving.remove()
            self._callbacks.call(self._study, trial.number)
            self._react_to_end(outcome)
        return replace(outcome, keep=None)

    def _train(self, context: Context) -> Outcome:
        """Suggest the parameters, call the objective, and say how it ended."""
        number = context.trial.number
        outcome: Outcome | None = None
        try:
            with self._stop.breaking():
                outcome = self._call_objective(context)
        except optuna.TrialPruned:
            outcome = Outcome(TrialState.PRUNED)
        except Stopped:
            outcome = self._broken_off()
        except UpdateFinishedTrialError:
            outcome = Outcome(TrialState.FAIL, reason=attributes.LOST)
        except (StorageInternalError, StorageError):
            raise  # the storage is at fault, and could not record the trial either
        except (Exception, SystemExit, KeyboardInterrupt) as error:
            if isinstance(error, KeyboardInterrupt) and self._stop.requested:
                raise  # the second Ctrl-C; without a first one it is the objective's own
            outcome = of_error(error)
            if outcome.reason == OUT_OF_MEMORY:
                used = listed(memory_params(self._checked.spec, context.params))
                outcome = replace(outcome, error=f"{outcome.error} (with {used})")
            log.error("trial %d failed: %s", number, outcome.error, exc_info=error)
        finally:
            failed = outcome is None or outcome.reason == OUT_OF_MEMORY
            objectives.release_memory(everything=failed)
        if self._stop.broke_off:  # whatever the objective made of Stopped: a result, an error
            outcome = self._broken_off()
        if outcome.fatal and self._stop.fault:
            log.error("trial %d failed: %s", number, outcome.error)
        return outcome

    def _broken_off(self) -> Outcome:
        """FAIL: because of the machine's fault, or else to be run again."""
        if self._stop.fault:
            return of_error(DiskFullError(self._stop.fault))
        return Outcome(TrialState.FAIL, reason=self._stop.reason)

    def _call_objective(self, context: Context) -> Outcome:
        spec, trial = self._checked.spec, context.trial
        with context.timings.measure(attributes.STORAGE_TIME):
            _forget_measurements(trial)
            context.checkpoints = self._saving(trial)
            context.progress = self._progress.note
            with context.timings.measure(attributes.SAMPLING_TIME):
                suggested = search_space.suggest(trial, spec.search_space)
        context.params = {**objectives.defaults(spec), **suggested}
        context.pauses = spec.pruner.name == promotion.NAME
        compared = spec.pruner.name == "WilcoxonPruner"
        trained = repeats.run(self._objective, context, spec.budget.repeats, compared)
        outcome = of_trained(trained, len(self._study.directions))
        if outcome.error:
            log.error("trial %d failed: %s", trial.number, outcome.error)
        return outcome

    def _saving(self, trial: optuna.Trial) -> Saving | None:
        """What saves the states of ``trial``; None if the study switched that off."""
        spec = self._checked.spec
        if not spec.checkpoint.every:
            return None
        store = spec.artifacts.store or self._machine.artifacts
        checkpoints = Checkpoints(self._study, self._storage, trial, store)
        return Saving(checkpoints, spec.checkpoint.every, self._stop)

    def forget_paused(self) -> None:
        """Remove the saved states of paused trials: the budget is used up, nobody promotes them."""
        if self._checked.spec.pruner.name != promotion.NAME:
            return
        trials = self._study.get_trials(deepcopy=False)
        names: list[str] = []
        for trial in filter(is_paused, trials):
            # One that paused as soon as it was run again has its state from an earlier attempt
            attempts = [trial] if checkpoints(trial) else [trial, *earlier(trial, trials)]
            names += [name for attempt in attempts for name in object_names(attempt)]
        remove_all(self._checked.spec.artifacts.store or self._machine.artifacts, names)

    def _keep_model(self, trial: optuna.Trial, outcome: Outcome) -> str | None:
        """Keep the model of a COMPLETE trial, if it is among the study's best; its id."""
        if outcome.keep is None or outcome.values is None:
            return None
        if self._models is None and objectives.is_function(self._checked.spec):
            self._models = self._models_of_function()
        if self._models is None:
            return None
        return self._models.offer(trial, outcome.values, outcome.kept, outcome.keep)

    def _models_of_function(self) -> Models | None:
        """Where a function's models are kept: opened when the first one has been saved.

        The trial is done by then, and is worth more than its model.
        """
        settings = self._checked.spec.artifacts
        if not settings.keep:
            return None
        try:
            store = writable_store(settings.store or self._machine.artifacts)
        except SpecError as error:
            log.warning("no model is kept: %s", error)
            return None
        return Models(self._study, store, settings.keep)

    def _react_to_end(self, outcome: Outcome) -> None:
        """End this worker with an error that no trial is spared; run again what was broken off."""
        if outcome.fatal:
            raise outcome.fatal
        if outcome.reason in attributes.RETRIED:
            bound = budget(self._study)
            self._storage.run_exclusively(
                self._study.study_name, lambda: requeue(self._study, bound, self._ledger)
            )

    @contextmanager
    def _heartbeat(self, trial: optuna.Trial) -> Iterator[None]:
        """Send heartbeats for ``trial``, and now and then look for trials that are lost."""
        study, storage, ledger = self._study, self._storage, self._ledger
        number = trial_id(study, trial.number, storage)
        every = ledger.running / RECOVERIES
        recovered = time.monotonic()

        def beat() -> None:
            nonlocal recovered
            try:
                storage.optuna.record_heartbeat(number)
                if time.monotonic() - recovered >= every:
                    recovered = time.monotonic()
                    recover(study, storage, ledger, trial.number)
            except GoneError:
                pass  # the trial meets it when it next reports, and says so
            except STORAGE_ERRORS as error:
                # one heartbeat that is missing loses no trial: the next one may get through
                log.warning("no heartbeat: %s", storage.error(error))

        with heartbeat("heartbeat", storage.optuna.get_heartbeat_interval() or 1, beat):
            yield


def kept_models(checked: Checked, study: optuna.Study, machine: Machine) -> Models | None:
    """Where the best trials' models are kept; None if the study keeps none, or tunes a function."""
    settings = checked.spec.artifacts
    if not settings.keep or objectives.is_function(checked.spec):
        return None
    return Models(study, writable_store(settings.store or machine.artifacts), settings.keep)


def context_of(
    trial: optuna.Trial, checked: Checked, machine: Machine, timings: Timings
) -> Context:
    """What an objective is called with for ``trial``, its parameters still to be filled in."""
    spec = checked.spec
    return Context(
        trial=trial,
        params={},
        path=spec.data_path,
        seed=spec.seed,
        threads=machine.threads,
        weights=checked.weights,
        cache=machine.cache,
        cache_size=machine.cache_size,
        loader_workers=machine.loader_workers,
        gpu_share=machine.gpu_share,
        data=checked.data,
        metrics=checked.metrics,
        timings=timings,
    )


def _forget_measurements(trial: optuna.Trial) -> None:
    """Clear measurements that were copied into a trial: Optuna's own retries copy them."""
    for name in trial.user_attrs:
        if attributes.is_measured(name):
            trial.set_user_attr(name, None)
