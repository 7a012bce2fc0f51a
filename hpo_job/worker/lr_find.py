"""The learning-rate finder: run once for a study, by one worker, while the others wait for it."""

from __future__ import annotations

import gc
import itertools
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from time import monotonic, perf_counter
from typing import Any

import optuna

from hpo_job import objectives
from hpo_job.errors import SpecError
from hpo_job.spec.search_space import Float, fixed, misfit, searched
from hpo_job.spec.study_toml import StudySpec
from hpo_job.storage.database import STORAGE_ERRORS, Storage
from hpo_job.study.admission import identity, is_gone
from hpo_job.study.checking import Checked
from hpo_job.trial import attributes
from hpo_job.trial.timings import Timings
from hpo_job.worker.heartbeat import heartbeat
from hpo_job.worker.loop import Machine, context_of
from hpo_job.worker.signals import Stop, Stopped

CLAIM = "lr_find_claim"  # study attribute: who runs the finder, and a count of its signs of life
POLL = 1.0  # seconds between two looks at what another worker finds
log = logging.getLogger(__name__)


def ensure(
    checked: Checked,
    study: optuna.Study,
    storage: Storage,
    stop: Stop,
    machine: Machine,
    grace: float,
    *,
    always: bool = False,
) -> None:
    """Have the finder run, where an enqueued entry asks for it and nobody ran it before.

    grace: seconds without a sign of life after which another worker takes over.
    always: run it for all learning rates of the objective where no entry asks for one.
    """
    entries = [entry for entry in checked.spec.enqueue if objectives.asks_lr_find(entry)]
    names = _asked(entries) or (objectives.learning_rates(checked.spec) if always else ())
    if not names:
        return
    claim = _Claim(study, grace)
    while not stop.requested and attributes.LR_FIND not in study.user_attrs:
        if storage.run_exclusively(study.study_name, claim.take):
            with claim.kept(), _stoppable(stop):
                told = _find(checked, names, entries[0] if entries else {}, machine)
                storage.run_exclusively(
                    study.study_name, partial(_store, study, checked.spec, told)
                )
        else:
            claim.wait(stop)


def require_learning_rates(spec: StudySpec) -> None:
    """Raise SpecError where the finder cannot know what it should look for."""
    objectives.require_known(spec)
    if not objectives.learning_rates(spec):
        raise spec.error(
            "objective",
            "the learning-rate finder knows the learning rates of shipped objectives only, "
            f"found {spec.objective}",
        )


def _asked(entries: list[dict[str, Any]]) -> tuple[str, ...]:
    """The learning rates that enqueued entries leave to the finder, each once."""
    asked = (
        name for entry in entries for name, value in entry.items() if value == objectives.LR_FIND
    )
    return tuple(dict.fromkeys(asked))


@contextmanager
def _stoppable(stop: Stop) -> Iterator[None]:
    """Let a signal break the finder off; whoever comes next runs it."""
    try:
        with stop.breaking():
            yield
    except Stopped:
        pass


class _Claim:
    """One worker's hold on the finder.

    It is lost where its holder is gone, or has given no sign of life for the grace by this
    worker's own clock: clocks of two machines are never compared.
    """

    def __init__(self, study: optuna.Study, grace: float) -> None:
        self._study, self._grace = study, grace
        self._seen: tuple[Any, float] = (None, monotonic())
        self._waiting = False

    def take(self) -> bool:
        """Whether this worker has it now; call within the study's lock."""
        attrs = self._study.user_attrs
        if attributes.LR_FIND in attrs:
            return False
        held = attrs.get(CLAIM)
        if held != self._seen[0]:
            self._seen = (held, monotonic())
        silent = monotonic() - self._seen[1] >= self._grace
        if held is not None and not is_gone(held.get("worker")) and not silent:
            return False
        self._say(0)
        return True

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Give signs of life from a thread."""
        counts = itertools.count(1)

        def beat() -> None:
            try:
                self._say(next(counts))
            except STORAGE_ERRORS as error:
                log.warning("no sign of life: %s", type(error).__name__)

        with heartbeat("lr-find", max(0.5, self._grace / 6), beat):
            yield

    def wait(self, stop: Stop) -> None:
        """Look again a moment later; say so once."""
        if not self._waiting:
            self._waiting = True
            log.info("another worker runs the learning-rate finder; waiting for it")
        stop.wait(POLL)

    def _say(self, count: int) -> None:
        self._study.set_user_attr(CLAIM, {"worker": identity(), "count": count})


def _find(
    checked: Checked,
    names: tuple[str, ...],
    entry: Mapping[str, Any],
    machine: Machine,
) -> dict[str, dict[str, Any]]:
    """What the finder says of each learning rate: plain values, as they are stored."""
    spec = checked.spec
    started = perf_counter()
    study = optuna.create_study(directions=list(spec.directions))  # nothing is reported from here
    context = replace(
        context_of(study.ask(), checked, machine, Timings()),
        params=parameters(spec, entry),
        quiet=True,
    )
    try:
        curves = objectives.shipped(spec.objective).lr_find(context, names)
        found = {name: curve.stored() for name, curve in curves.items()}
    except (ValueError, RuntimeError, MemoryError) as error:  # no rate, but no reason to stop
        reason = " ".join(str(error).split())[:300]
        log.warning(
            "the learning-rate finder failed, so its rates are left to the sampler: %s", reason
        )
        found = {name: {"error": f"{type(error).__name__}: {reason}"} for name in names}
    finally:
        gc.collect()
    for name, told in found.items():
        told["used"] = _within(spec, name, told.get("suggestion"))
        told["seconds"] = (perf_counter() - started) / len(found)
    return found


def parameters(spec: StudySpec, entry: Mapping[str, Any]) -> dict[str, Any]:
    """What the finder trains with: the entry's values, the study's fixed ones, the defaults.

    A default that the study does not search gives way to the first value that it does.
    """
    given = {name: value for name, value in entry.items() if value != objectives.LR_FIND}
    chosen = {**objectives.defaults(spec), **fixed(spec.search_space)}
    for name, parameter in searched(spec.search_space).items():
        if name not in chosen or misfit({name: parameter}, {name: chosen[name]}):
            chosen[name] = parameter.extremes()[0]
    return {**chosen, **given}


def _within(spec: StudySpec, name: str, suggestion: float | None) -> float | None:
    """The suggestion, brought into the range that the study searches."""
    parameter = spec.search_space.get(name)
    if suggestion is None or not isinstance(parameter, Float):
        return suggestion
    return min(max(suggestion, parameter.low), parameter.high)


def _store(study: optuna.Study, spec: StudySpec, found: dict[str, dict[str, Any]]) -> None:
    """Enqueue the entries that waited, and say that it is done; call within the study's lock."""
    if attributes.LR_FIND in study.user_attrs:
        return
    for entry in filter(objectives.asks_lr_find, spec.enqueue):
        values = {
            name: found[name]["used"] if value == objectives.LR_FIND else value
            for name, value in entry.items()
        }
        seconds = sum(
            found[name]["seconds"] for name, value in entry.items() if value == objectives.LR_FIND
        )
        study.enqueue_trial(
            {name: value for name, value in values.items() if value is not None},
            user_attrs={attributes.LR_FIND_TIME: seconds},
            skip_if_exists=True,
        )
    for name, told in found.items():
        if told["used"] != told.get("suggestion"):
            log.warning(
                "lr_find suggests %s = %.3g, outside of what the study searches; %.3g is tried",
                name,
                told["suggestion"],
                told["used"],
            )
    study.set_user_attr(attributes.LR_FIND, found)


def stored(study: optuna.Study) -> dict[str, dict[str, Any]]:
    """What the finder said, by parameter. Raises SpecError where it has not run."""
    told: dict[str, dict[str, Any]] | None = study.user_attrs.get(attributes.LR_FIND)
    if told is None:
        raise SpecError(f"study {study.study_name!r}: the learning-rate finder has not run")
    return told


def described(told: Mapping[str, Any]) -> str:
    """What the finder said of one learning rate, in a line."""
    if "error" in told:
        return f"nothing: {told['error']}"
    used, suggestion = told["used"], told["suggestion"]
    tried = "" if used == suggestion else f"; {used:.3g} is tried, the end of what is searched"
    return f"{suggestion:.3g}{tried} ({told['seconds']:.1f} s)"
