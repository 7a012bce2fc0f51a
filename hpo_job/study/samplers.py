"""The sampler and the pruner of a study, built from Optuna's own class names and arguments."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np
import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler

from hpo_job.errors import unknown
from hpo_job.spec.study_toml import Component, StudySpec
from hpo_job.study.bounded_tpe import BoundedTPESampler

# GridSampler and BruteForceSampler end a study through `Study.stop`, which Optuna allows inside
# `Study.optimize` only; a study here ends with its budget.
SAMPLERS = (
    "CmaEsSampler",
    "GPSampler",
    "NSGAIISampler",
    "NSGAIIISampler",
    "QMCSampler",
    "RandomSampler",
    "TPESampler",
)
PRUNERS = (
    "HyperbandPruner",
    "MedianPruner",
    "NopPruner",
    "PatientPruner",
    "PercentilePruner",
    "SuccessiveHalvingPruner",
    "ThresholdPruner",
    "WilcoxonPruner",
)


def make_sampler(spec: StudySpec, draw: int = 0) -> BaseSampler:
    """The study's sampler, seeded for the ``draw``-th trial that was started.

    Each draw has another seed, so no two workers ever suggest the same by accident, and one
    worker alone repeats the same trials.

    Raises:
        SpecError: Optuna has no such sampler, or not with these options.
    """
    seed = int(np.random.SeedSequence([spec.seed, draw]).generate_state(1)[0])
    seeds: dict[str, Any] = {"seed": seed}
    if spec.sampler.name == "QMCSampler":
        # All workers share one sequence, and count in the storage where they are in it. It has no
        # categorical parameters: those are drawn at random
        seeds = {"seed": spec.seed, "independent_sampler": optuna.samplers.RandomSampler(seed)}
    sampler: BaseSampler = _make(spec, "sampler", spec.sampler, SAMPLERS, seeds)
    return sampler


def make_pruner(spec: StudySpec) -> BasePruner:
    """The study's pruner.

    Raises:
        SpecError: Optuna has no such pruner, or not with these options.
    """
    pruner: BasePruner = _make(spec, "pruner", spec.pruner, PRUNERS, {})
    return pruner


def _make(
    spec: StudySpec, key: str, component: Component, known: Iterable[str], seeds: dict[str, Any]
) -> Any:
    """An instance of Optuna's class of that name; ``seeds`` are arguments beyond the user's."""
    if component.name not in known:
        raise spec.error(f"{key}.name", unknown(key.partition(".")[0], component.name, known))
    kind = getattr(getattr(optuna, "samplers" if key == "sampler" else "pruners"), component.name)
    if kind is optuna.samplers.TPESampler:
        kind = BoundedTPESampler  # the same suggestions, in a third of the time in a long study
    accepted = inspect.signature(kind).parameters
    options = component.options
    for option, value in options.items():
        where = f"{key}.{option}"
        if option == "seed":
            raise spec.error(where, "belongs at the top of study.toml")
        if option not in accepted:
            raise spec.error(where, unknown("option", option, set(accepted) - {"seed"}))
        if option == "wrapped_pruner":
            options[option] = _make(spec, where, _component(spec, where, value), PRUNERS, {})
        elif problem := _misfit(accepted[option].annotation, value):
            raise spec.error(where, problem)
    try:
        with warnings.catch_warnings():
            # who names an experimental sampler has chosen it
            warnings.simplefilter("ignore", ExperimentalWarning)
            return kind(**options, **{k: v for k, v in seeds.items() if k in accepted})
    except (TypeError, ValueError, ImportError) as error:
        raise spec.error(key, f"{component.name}: {' '.join(str(error).split())}") from error


def _component(spec: StudySpec, where: str, value: object) -> Component:
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        raise spec.error(where, f"should be a table with a name, found {value!r}")
    return Component.model_validate(value)


def _misfit(annotation: str | type, value: object) -> str | None:
    """Why ``value`` does not fit an argument's annotation; None if it does."""
    written = annotation if isinstance(annotation, str) else annotation.__name__
    members = set(written.split(" | ")) - {"None"}
    if not members <= _TYPES.keys():
        return "cannot be written in a study.toml"
    # to Python a bool is an int; an int is accepted for a float
    if type(value).__name__ in members or (type(value) is int and "float" in members):
        return None
    return f"should be {' or '.join(_TYPES[member] for member in sorted(members))}, found {value!r}"


_TYPES = {"bool": "true or false", "int": "an integer", "float": "a number", "str": "a string"}
