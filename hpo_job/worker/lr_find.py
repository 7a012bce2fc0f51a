"""The learning-rate finder: run once for a study, by one worker, while the others wait for it.

A worker claims it within the study's lock, and keeps the claim with heartbeats. If it dies or is
stopped, another worker takes the claim over and runs the finder from the start; what it finds is
stored, and the entries that waited for it are enqueued, in one step within the lock.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
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
from hpo_job.study.checking import Checked
from hpo_job.study.workers import identity, is_gone
from hpo_job.trial import attributes
from hpo_job.trial.timings import Timings
from hpo_job.worker.disk import end_if_full
from hpo_job.worker.heartbeat import heartbeat
from hpo_job.worker.loop import POLL, context_of
from hpo_job.worker.machine_share import Machine
from hpo_job.worker.memory import is_out_of_memory, listed, memory_params
from hpo_job.worker.signals import Stop, Stopped

CLAIM = "lr_find_claim"  # study attribute: who runs the finder, and a count of its heartbeats
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
    """Run the finder if an enqueued entry asks for it and it has not run in this study.

    Returns when its result is stored, whichever worker ran it, or when ``stop`` is requested.

    Args:
        checked: the spec and what it names.
        study: the study.
        storage: its storage.
        stop: breaks the finder off.
        machine: what this worker may use.
        grace: seconds without a heartbeat after which another worker takes over.
        always: if no entry asks for a learning rate, run it for all of the objective.

    Raises:
        DiskFullError: the disk of this worker's pod is full.
    """
    entries = [entry for entry in checked.spec.enqueue if objectives.asks_lr_find(entry)]
    names = _asked(entries) or (objectives.learning_rates(checked.spec) if always else ())
    if not names:
        return
    claim = _Claim(study, grace)
    while not stop.requested and attributes.LR_FIND not in study.user_attrs:
        end_if_full(stop.fault)
        if storage.run_exclusively(study.study_name, claim.take):
            # If it is broken off, the next worker to come runs it
            with suppress(Stopped), claim.kept(), stop.breaking():
                rates = _find(checked, names, entries[0] if entries else {}, machine)
                storage.run_exclusively(
                    study.study_name, partial(_store, study, checked.spec, rates)
                )
        else:
            claim.wait(stop)


def require_learning_rates(spec: StudySpec) -> None:
    """Refuse a study whose learning rates the finder cannot know.

    Raises:
        SpecError: its objective is a function.
    """
    objectives.require_known(spec)
    if not objectives.learning_rates(spec):
        raise spec.error(
            "objective",
            "the learning-rate finder knows the learning rates of shipped objectives only, "
            f"found {spec.objective}",
        )


def _asked(entries: list[dict[str, Any]]) -> tuple[str, ...]:
    """The learning rates for which enqueued entries ask the finder, each once."""
    asked = (
        name for entry in entries for name, value in entry.items() if value == objectives.LR_FIND
    )
    return tuple(dict.fromkeys(asked))


class _Claim:
    """One worker's hold on the finder.

    Another worker may take it if the holder is gone, or if its heartbeat has not changed for the
    grace by the other worker's own clock: the clocks of two machines are never compared.
    """

    def __init__(self, study: optuna.Study, grace: float) -> None:
        self._study, self._grace = study, grace
        self._last: tuple[Any, float] = (None, monotonic())
        self._waiting = False

    def take(self) -> bool:
        """Whether this worker has it now; call within the study's lock."""
        attrs = self._study.user_attrs
        if attributes.LR_FIND in attrs:
            return False
        claim = attrs.get(CLAIM)
        if claim != self._last[0]:
            self._last = (claim, monotonic())
        silent = monotonic() - self._last[1] >= self._grace
        if claim is not None and not is_gone(claim.get("worker")) and not silent:
            return False
        self._write(0)
        return True

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Keep the claim with heartbeats."""
        counts = itertools.count(1)

        def beat() -> None:
            try:
                self._write(next(counts))
            except STORAGE_ERRORS as error:
                log.warning("no heartbeat: %s", type(error).__name__)

        with heartbeat("lr-find", max(0.5, self._grace / 6), beat):
            yield

    def wait(self, stop: Stop) -> None:
        """Sleep until the next try; log once why."""
        if not self._waiting:
            self._waiting = True
            log.info("another worker runs the learning-rate finder; waiting for it")
        stop.wait(POLL)

    def _write(self, count: int) -> None:
        self._study.set_user_attr(CLAIM, {"worker": identity(), "count": count})


def _find(
    checked: Checked,
    names: tuple[str, ...],
    entry: Mapping[str, Any],
    machine: Machine,
) -> dict[str, dict[str, Any]]:
    """What the finder says of each learning rate: plain values, as they are stored.

    Returns:
        By learning rate: ``suggestion``, and the curve it was read from; or the ``error`` if there
        is none. Also ``used``, what is tried, and ``seconds``, its share of the finder's time.
    """
    spec = checked.spec
    started, exhausted = perf_counter(), False
    study = optuna.create_study(directions=list(spec.directions))  # in memory: no trial of ours
    context = replace(
        context_of(study.ask(), checked, machine, Timings()),
        params=parameters(spec, entry),
        quiet=True,
    )
    try:
        curves = objectives.shipped(spec.objective).lr_find(context, names)
        rates = {name: curve.stored() for name, curve in curves.items()}
    except (IndexError, ValueError, RuntimeError, MemoryError) as error:  # goes on without a rate
        exhausted = is_out_of_memory(error)
        reason = " ".join(str(error).split())[:300] or "out of memory"  # Python's says nothing
        if exhausted:
            reason += f" (with {listed(memory_params(spec, context.params))})"
        log.warning(
            "the learning-rate finder failed, so the sampler suggests its rates: %s", reason
        )
        rates = {name: {"error": f"{type(error).__name__}: {reason}"} for name in names}
    finally:
        objectives.release_memory(everything=exhausted)
    for name, rate in rates.items():
        rate["used"] = _within(spec, name, rate.get("suggestion"))
        rate["seconds"] = (perf_counter() - started) / len(rates)
    return rates


def parameters(spec: StudySpec, entry: Mapping[str, Any]) -> dict[str, Any]:
    """What the finder trains with: the entry's values, the study's fixed ones, the defaults.

    Where the study's search space lacks the default, the first value of the space is taken.
    """
    chosen = {**objectives.defaults(spec), **fixed(spec.search_space)}
    for name, parameter in searched(spec.search_space).items():
        if name not in chosen or misfit({name: parameter}, {name: chosen[name]}):
            chosen[name] = parameter.extremes()[0]
    enqueued = {name: value for name, value in entry.items() if value != objectives.LR_FIND}
    return {**chosen, **enqueued}


def _within(spec: StudySpec, name: str, suggestion: float | None) -> float | None:
    """The suggestion, or the end of the range that the study searches if it is outside."""
    parameter = spec.search_space.get(name)
    if suggestion is None or not isinstance(parameter, Float):
        return suggestion
    return min(max(suggestion, parameter.low), parameter.high)


def _store(study: optuna.Study, spec: StudySpec, rates: dict[str, dict[str, Any]]) -> None:
    """Enqueue the entries that waited, and store the rates; call within the study's lock."""
    if attributes.LR_FIND in study.user_attrs:
        return
    for entry in filter(objectives.asks_lr_find, spec.enqueue):
        values = {
            name: rates[name]["used"] if value == objectives.LR_FIND else value
            for name, value in entry.items()
        }
        seconds = sum(
            rates[name]["seconds"] for name, value in entry.items() if value == objectives.LR_FIND
        )
        study.enqueue_trial(
            {name: value for name, value in values.items() if value is not None},
            user_attrs={attributes.LR_FIND_TIME: seconds},
            skip_if_exists=True,
        )
    for name, rate in rates.items():
        if rate["used"] != rate.get("suggestion"):
            log.warning(
                "lr_find suggests %s = %.3g, outside of what the study searches; %.3g is tried",
                name,
                rate["suggestion"],
                rate["used"],
            )
    study.set_user_attr(attributes.LR_FIND, rates)


def stored(study: optuna.Study) -> dict[str, dict[str, Any]]:
    """What the finder said, by parameter.

    Raises:
        SpecError: it has not run.
    """
    rates: dict[str, dict[str, Any]] | None = study.user_attrs.get(attributes.LR_FIND)
    if rates is None:
        raise SpecError(f"study {study.study_name!r}: the learning-rate finder has not run")
    return rates


def described(rate: Mapping[str, Any]) -> str:
    """What the finder said of one learning rate, in a line."""
    if "error" in rate:
        return f"nothing: {rate['error']}"
    used, suggestion = rate["used"], rate["suggestion"]
    tried = "" if used == suggestion else f"; {used:.3g} is tried, the end of what is searched"
    return f"{suggestion:.3g}{tried} ({rate['seconds']:.1f} s)"
