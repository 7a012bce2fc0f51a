"""One worker: takes trials of a study until its budget is used up, and records each."""

from __future__ import annotations

import gc
import logging
import math
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.trial import TrialState

from hpo_job import attributes, objectives, search_space
from hpo_job.admission import Refusal, admit, requeue, trial_id
from hpo_job.errors import FailuresError, HpoJobError, StorageError
from hpo_job.ledger import Ledger
from hpo_job.objectives import Train
from hpo_job.objectives.context import Context
from hpo_job.stopping import Stop, Stopped
from hpo_job.storage import STORAGE_ERRORS, Storage
from hpo_job.study import Checked, budget

POLL = 1.0  # seconds between two looks at a budget that other workers may still give back
MAX_ERROR = 500  # characters of an error that are stored with its trial
MAX_TRACE = 8000  # characters of its traceback that are logged, from the end
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """How a trial ended, before it is recorded.

    ``fatal`` is an error that no other trial of this worker would be spared.
    """

    state: TrialState
    value: float | None = None
    reason: str | None = None
    error: str | None = None
    fatal: Exception | None = None


@dataclass(frozen=True)
class Failure:
    """A trial whose objective raised."""

    number: int
    error: str
    params: dict[str, Any]


def work(
    checked: Checked,
    study: optuna.Study,
    storage: Storage,
    stop: Stop,
    threads: int,
    patience: float = math.inf,
) -> Refusal | None:
    """Run trials until there are none to start, and say why; None where ``stop`` ended it.

    threads: CPU threads that a trial may use.
    patience: seconds to wait while other workers run all that is left. It must be longer than
        the grace: then each of them has shown that it lives.

    Raises FailuresError after as many failed trials in a row as the budget tolerates.
    """
    train = objectives.load(checked.spec)
    failures: list[Failure] = []
    ledger = Ledger()
    full_since: float | None = None
    while not stop.requested:
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
            number = trial_id(study, trial.number, storage)
            with _heartbeat(storage, number):
                outcome = _run(train, trial, checked, stop, threads)
                if stop.broke_off:  # whatever the objective made of it
                    outcome = Outcome(TrialState.FAIL, reason=stop.reason)
                _record(study, trial, outcome, storage, ledger)
            failures = _in_a_row(failures, trial, outcome)
            if failures and len(failures) >= budget(study).failures:
                raise FailuresError(in_common(failures))
    return None


def in_common(failures: list[Failure]) -> str:
    """One line about failed trials: what their errors and their parameters share."""
    numbers = ", ".join(f"#{failure.number}" for failure in failures)
    errors = {failure.error for failure in failures}
    kinds = {error.partition(":")[0] for error in errors}
    if len(errors) == 1:
        shared = f"all with {errors.pop()}"
    elif len(kinds) == 1:
        shared = f"all with {kinds.pop()}, the last: {failures[-1].error}"
    else:
        shared = f"with {', '.join(sorted(kinds))}, the last: {failures[-1].error}"
    params = [
        f"{name} = {value}"
        for name, value in failures[0].params.items()
        if all(failure.params.get(name) == value for failure in failures)
    ]
    same = f"; all with {', '.join(params)}" if params and len(failures) > 1 else ""
    times = f"{len(failures)} trials in a row" if len(failures) > 1 else "1 trial"
    return f"{times} failed ({numbers}), {shared}{same}"


def _run(train: Train, trial: optuna.Trial, checked: Checked, stop: Stop, threads: int) -> Outcome:
    """Suggest the parameters, call the objective, and say how it ended."""
    try:
        with stop.breaking():
            value = train(trial, _context(trial, checked, threads))
        return _of_value(value)
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
        return Outcome(
            TrialState.FAIL,
            reason="out_of_memory" if _is_out_of_memory(error) else "error",
            error=_one_line(error),
            fatal=error if isinstance(error, HpoJobError) else None,
        )
    finally:
        gc.collect()  # a model in a reference cycle would hold its memory into the next trial


def _context(trial: optuna.Trial, checked: Checked, threads: int) -> Context:
    spec = checked.spec
    return Context(
        trial=trial,
        params={**objectives.defaults(spec), **search_space.suggest(trial, spec.search_space)},
        path=spec.data_path,
        seed=spec.seed,
        threads=threads,
        weights=checked.weights,
        data=checked.data,
        metric=checked.metric,
    )


def _of_value(value: object) -> Outcome:
    """COMPLETE with a value that can be compared; FAIL with anything else."""
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        number = math.nan
    if math.isnan(number):
        error = f"the objective returned {value!r}, not a number"
        return Outcome(TrialState.FAIL, reason="error", error=error[:MAX_ERROR])
    return Outcome(TrialState.COMPLETE, value=number)


def _record(
    study: optuna.Study,
    trial: optuna.Trial,
    outcome: Outcome,
    storage: Storage,
    ledger: Ledger,
) -> None:
    """Write how ``trial`` ended, unless it was given away meanwhile: then its end is not ours."""
    try:
        if outcome.reason:
            trial.set_user_attr(attributes.REASON, outcome.reason)
        if outcome.error:
            trial.set_user_attr(attributes.ERROR, outcome.error)
        told = study.tell(trial, outcome.value, outcome.state, skip_if_finished=True)
    except UpdateFinishedTrialError:
        told = None
    if told is None or told.state != outcome.state or outcome.reason == attributes.LOST:
        log.warning(
            "trial %d: result refused: no heartbeat for too long, so it was given away",
            trial.number,
        )
        return
    if outcome.fatal:
        raise outcome.fatal
    if outcome.reason in attributes.RETRIED:
        bound = budget(study)
        storage.alone(study.study_name, lambda: requeue(study, bound, ledger))
    log.info(
        "trial %d %s %s",
        trial.number,
        told.state.name,
        outcome.error or outcome.reason or told.value or "",
    )


def _in_a_row(failures: list[Failure], trial: optuna.Trial, outcome: Outcome) -> list[Failure]:
    """The failures since the last trial that went well; a broken-off trial is neither."""
    if outcome.error:
        return [*failures, Failure(trial.number, outcome.error, trial.params)]
    return failures if outcome.state == TrialState.FAIL else []


def _is_out_of_memory(error: BaseException) -> bool:
    """Whether the device or the machine ran out of memory; torch is not imported to know it."""
    return isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"


def _one_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:MAX_ERROR]


@contextmanager
def _heartbeat(storage: Storage, number: int) -> Iterator[None]:
    """Tell the storage, now and then, that the trial with this id is alive."""
    done = threading.Event()

    def beat() -> None:
        interval = storage.optuna.get_heartbeat_interval() or 1
        while not done.wait(interval):
            try:
                storage.optuna.record_heartbeat(number)
            except STORAGE_ERRORS as error:
                # one lost beat is no lost trial: the next one may get through
                log.warning("no heartbeat: %s", storage.error(error))

    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
