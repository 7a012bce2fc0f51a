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
from hpo_job.spec import Component, StudySpec

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

    Every trial of a study has a draw of its own, so no two workers ever share a seed, and one
    worker alone repeats the same trials. Raises SpecError for what Optuna does not know.
    """
    seed = int(np.random.SeedSequence([spec.seed, draw]).generate_state(1)[0])
    sampler: BaseSampler = _make(spec, "sampler", spec.sampler, SAMPLERS, {"seed": seed})
    return sampler


def make_pruner(spec: StudySpec) -> BasePruner:
    """The study's pruner. Raises SpecError for what Optuna does not know."""
    pruner: BasePruner = _make(spec, "pruner", spec.pruner, PRUNERS, {})
    return pruner


def _make(
    spec: StudySpec, key: str, component: Component, known: Iterable[str], given: dict[str, Any]
) -> Any:
    if component.name not in known:
        raise spec.error(f"{key}.name", unknown(key, component.name, known))
    kind = getattr(getattr(optuna, f"{key}s"), component.name)
    accepted = set(inspect.signature(kind).parameters)
    options = component.options
    for option in options:
        if option in given:
            raise spec.error(f"{key}.{option}", "belongs at the top of study.toml")
        if option not in accepted:
            raise spec.error(f"{key}.{option}", unknown("option", option, accepted - set(given)))
    if isinstance(options.get("wrapped_pruner"), dict):
        wrapped = Component.model_validate(options["wrapped_pruner"])
        options["wrapped_pruner"] = _make(spec, "pruner", wrapped, known, {})
    try:
        with warnings.catch_warnings():
            # whoever names an experimental sampler in a study has chosen it
            warnings.simplefilter("ignore", ExperimentalWarning)
            return kind(**options, **{k: v for k, v in given.items() if k in accepted})
    except (TypeError, ValueError, ImportError) as error:
        raise spec.error(key, f"{component.name}: {' '.join(str(error).split())}") from error
