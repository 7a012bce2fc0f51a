"""One worker: takes trials of a study until its budget is used up, and records each."""

from __future__ import annotations

import gc
import logging
import math
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from hpo_job import artifacts, attributes, objectives, repeats, search_space
from hpo_job.admission import Refusal, admit, recover, requeue, trial_id
from hpo_job.beating import beating
from hpo_job.checking import Checked
from hpo_job.errors import FailuresError, HpoJobError, StorageError
from hpo_job.ledger import Ledger
from hpo_job.objectives import Train
from hpo_job.objectives.context import Context
from hpo_job.phases import measured_value
from hpo_job.stopping import Stop, Stopped
from hpo_job.storage import STORAGE_ERRORS, Storage
from hpo_job.study import budget
from hpo_job.timings import Timings, surroundings

POLL = 1.0  # seconds between two looks at a budget that other workers may still give back
LOOKS = 20  # a second at most, of all workers together, for trials that were lost
MAX_ERROR = 500  # characters of an error that are stored with its trial
MAX_TRACE = 8000  # characters of its traceback that are logged, from the end
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """How a trial ended, before it is recorded.

    ``attrs`` are stored with it, ``keep`` writes its model, which scored ``kept``.
    ``fatal`` is an error that no other trial of this worker would be spared.
    """

    state: TrialState
    values: tuple[float, ...] | None = None
    attrs: dict[str, Any] = field(default_factory=dict)
    keep: Callable[[Path], None] | None = None
    kept: tuple[float, ...] = ()
    reason: str | None = None
    error: str | None = None
    fatal: Exception | None = None


@dataclass(frozen=True)
class Machine:
    """What this machine gives its workers.

    threads: CPU threads that a trial may use.
    cache: folder of what trials and workers can share.
    artifacts: where kept models go, unless the study names a place: a folder or a bucket's URL.
    """

    threads: int
    cache: Path = Path(".hpo/cache")
    artifacts: str = ".hpo/artifacts"


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
            outcome = _one(train, context_of(trial, checked, machine, timings), checked, study,
                            storage, stop, models, ledger)  # fmt: skip
            failures = _in_a_row(failures, trial, outcome)
            if failures and len(failures) >= budget(study).failures:
                raise FailuresError(in_common(failures))
    return None


def _one(
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
        recorded = _record(study, trial, _described(outcome, context, artifact))
    if models and artifact:
        models.sweep() if recorded else models.remove(artifact)
    if recorded:
        _after(study, trial, outcome, storage, ledger)
    return replace(outcome, keep=None)


def kept_models(checked: Checked, study: optuna.Study, machine: Machine) -> artifacts.Models | None:
    """Where the best trials' models go; None where the study keeps none."""
    told = checked.spec.artifacts
    if not told.keep or objectives.is_function(checked.spec):
        return None
    store = artifacts.writable_store(told.store or machine.artifacts)
    return artifacts.Models(study, store, told.keep)


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
        return _of_trained(trained, len(trial.study.directions))
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


def _of_trained(trained: repeats.Trained, objectives: int) -> Outcome:
    """COMPLETE with values that can be compared; FAIL with anything else."""
    values, kept = (_floats(value, objectives) for value in (trained.value, trained.kept))
    if values is None or kept is None:
        wanted = "a number" if objectives == 1 else f"{objectives} numbers"
        error = f"the objective returned {trained.value!r}, not {wanted}"
        return Outcome(TrialState.FAIL, reason="error", error=error[:MAX_ERROR])
    return Outcome(TrialState.COMPLETE, values, trained.attrs, trained.keep, kept)


def _floats(value: Any, count: int) -> tuple[float, ...] | None:
    """``value`` as so many numbers; None where it is anything else, or one is NaN."""
    try:
        numbers = tuple(map(float, value if count > 1 else [value]))
    except (TypeError, ValueError):
        return None
    return None if len(numbers) != count or any(map(math.isnan, numbers)) else numbers


def _offer(models: artifacts.Models | None, trial: optuna.Trial, outcome: Outcome) -> str | None:
    """Keep the model of a COMPLETE trial, if the study keeps it; its id."""
    if models is None or outcome.keep is None or outcome.values is None:
        return None
    return models.offer(trial, outcome.values, outcome.kept, outcome.keep)


def _described(outcome: Outcome, context: Context, artifact: str | None) -> Outcome:
    """``outcome`` with all that is stored with its trial."""
    attrs: dict[str, Any] = {
        attributes.REASON: outcome.reason,
        attributes.ERROR: outcome.error,
        attributes.ARTIFACT: artifact,
        **outcome.attrs,
        **surroundings(),
        attributes.DEVICE_NAME: context.device_name,
        **context.timings.values(),
    }
    present = {name: value for name, value in attrs.items() if value is not None}
    return replace(outcome, attrs=present)


def _record(study: optuna.Study, trial: optuna.Trial, outcome: Outcome) -> bool:
    """Write how ``trial`` ended, unless it was given away meanwhile: then its end is not ours."""
    try:
        for name, value in outcome.attrs.items():
            trial.set_user_attr(name, value)
        values: Sequence[float] | None = outcome.values
        told = study.tell(trial, values, outcome.state, skip_if_finished=True)
    except UpdateFinishedTrialError:
        told = None
    if told is None or told.state != outcome.state or outcome.reason == attributes.LOST:
        log.warning(
            "trial %d: result refused: no heartbeat for too long, so it was given away",
            trial.number,
        )
        return False
    log.info("trial %d %s %s", trial.number, told.state.name, _shown(told, outcome))
    return True


def _shown(told: FrozenTrial, outcome: Outcome) -> str:
    """What a line says of a trial that ended: its values, or why it has none."""
    if told.state == TrialState.COMPLETE:
        return " ".join(f"{value:.6g}" for value in told.values)
    if told.state == TrialState.FAIL:
        return outcome.error or outcome.reason or ""
    value, steps = measured_value(told), len(told.intermediate_values)
    after = f"after step {steps}" if steps else ""
    return after if value is None else f"{value:.6g} {after}"


def _after(
    study: optuna.Study, trial: optuna.Trial, outcome: Outcome, storage: Storage, ledger: Ledger
) -> None:
    """What the end of a trial asks of its worker."""
    if outcome.fatal:
        raise outcome.fatal
    if outcome.reason in attributes.RETRIED:
        bound = budget(study)
        storage.alone(study.study_name, lambda: requeue(study, bound, ledger))


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

    with beating("heartbeat", storage.optuna.get_heartbeat_interval() or 1, beat):
        yield
