"""The sampler and the pruner of a study, built from Optuna's own class names and arguments."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler, RandomSampler, TPESampler

from hpo_job import objectives
from hpo_job.errors import unknown
from hpo_job.spec.combinations import EXHAUSTIVE
from hpo_job.spec.study_toml import Component, StudySpec
from hpo_job.study.bounded_tpe import BoundedTPESampler
from hpo_job.study.promotion import NAME, PromotionPruner

SAMPLERS = (
    "BruteForceSampler",
    "CmaEsSampler",
    "GPSampler",
    "GridSampler",
    "NSGAIISampler",
    "NSGAIIISampler",
    "PartialFixedSampler",
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
    "PromotionPruner",
    "SuccessiveHalvingPruner",
    "ThresholdPruner",
    "WilcoxonPruner",
)
# Samplers that are an option of another one: those that suggest a parameter at a time
INNER_PRUNERS = tuple(name for name in PRUNERS if name != NAME)
INNER_SAMPLERS = tuple(name for name in SAMPLERS if name not in EXHAUSTIVE)


def make_sampler(spec: StudySpec, draw: int = 0) -> BaseSampler:
    """The study's sampler, seeded for the ``draw``-th trial that was started.

    Each draw has another seed, so no two workers ever suggest the same by accident, and one
    worker alone repeats the same trials. Of a sampler that tries all combinations, this one only
    completes what was enqueued in part: see `study.grid`.

    Raises:
        SpecError: Optuna has no such sampler, or not with these options.
    """
    seed = int(np.random.SeedSequence([spec.seed, draw]).generate_state(1)[0])
    factory = _Factory(spec, "sampler", seed)
    if spec.sampler.name in EXHAUSTIVE:
        factory.options_of("sampler", spec.sampler, SAMPLERS)
        return RandomSampler(seed)
    sampler: BaseSampler = factory.make("sampler", spec.sampler, SAMPLERS)
    return sampler


def make_pruner(spec: StudySpec) -> BasePruner:
    """The study's pruner.

    Raises:
        SpecError: Optuna has no such pruner, or not with these options.
    """
    pruner: BasePruner = _Factory(spec, "pruner", 0).make("pruner", spec.pruner, PRUNERS)
    if spec.pruner.name == NAME and len(spec.directions) > 1:
        raise spec.error("pruner.name", f"{NAME} ranks trials by one value; use one metric")
    if spec.pruner.name == NAME and not spec.checkpoint.every:
        raise spec.error(
            "checkpoint.every", f"{NAME} goes on from saved states; set it above 0 or use another"
        )
    return pruner


@dataclass(frozen=True)
class _Factory:
    """Makes Optuna's samplers or pruners, those that are options of others included.

    Attributes:
        spec: the study's.
        what: "sampler" or "pruner".
        seed: of this draw.
    """

    spec: StudySpec
    what: str
    seed: int

    def make(self, where: str, component: Component, names: Collection[str]) -> Any:
        """An instance of the class that ``component`` names; ``where`` is its key in study.toml."""
        options = self.options_of(where, component, names)
        kind = self._class(component.name)
        accepted = inspect.signature(kind).parameters
        for name, parameter in accepted.items():
            if parameter.default is parameter.empty and name not in options:
                raise self.spec.error(where, f"{component.name} needs {name}")
        ours = {key: value for key, value in self._arguments(kind).items() if key in accepted}
        try:
            with warnings.catch_warnings():
                # who names an experimental sampler has chosen it
                warnings.simplefilter("ignore", ExperimentalWarning)
                return kind(**{**ours, **options})
        except (TypeError, ValueError, ImportError) as error:
            text = " ".join(str(error).split())
            raise self.spec.error(where, f"{component.name}: {text}") from error

    def options_of(
        self, where: str, component: Component, names: Collection[str]
    ) -> dict[str, Any]:
        """The user's options as arguments of Optuna's class."""
        if component.name not in names:
            raise self.spec.error(f"{where}.name", unknown(self.what, component.name, names))
        accepted = inspect.signature(self._class(component.name)).parameters
        options = component.options
        for option, value in options.items():
            key = f"{where}.{option}"
            if option == "seed":
                raise self.spec.error(key, "belongs at the top of study.toml")
            if option not in accepted:
                raise self.spec.error(key, unknown("option", option, set(accepted) - {"seed"}))
            annotation = accepted[option].annotation  # a string, or a type
            text = str(getattr(annotation, "__name__", annotation))
            options[option] = self._option(key, text, value)
        return options

    def _option(self, key: str, annotation: str, value: object) -> Any:
        if "BaseSampler" in annotation:
            return self.make(key, self._component(key, value), INNER_SAMPLERS)
        if "BasePruner" in annotation:
            return self.make(key, self._component(key, value), INNER_PRUNERS)
        if key.endswith(".fixed_params"):
            return self._fixed_params(key, value)
        if key == "sampler.search_space":
            return value  # GridSampler's; see `spec.combinations.problem`
        if problem := _misfit(annotation, value):
            raise self.spec.error(key, problem)
        return value

    def _fixed_params(self, key: str, value: object) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise self.spec.error(key, f"should be a table of parameters, found {value!r}")
        if wrong := objectives.misfit(self.spec, value):
            raise self.spec.error(f"{key}.{wrong[0]}", wrong[1])
        return value

    def _component(self, key: str, value: object) -> Component:
        if not isinstance(value, dict) or not isinstance(value.get("name"), str):
            raise self.spec.error(key, f"should be a table with a name, found {value!r}")
        return Component.model_validate(value)

    def _class(self, name: str) -> Callable[..., Any]:
        if name == NAME:
            return PromotionPruner
        kind: Callable[..., Any] = getattr(getattr(optuna, f"{self.what}s"), name)
        if kind is TPESampler:
            return BoundedTPESampler  # the same suggestions, in a third of the time
        return kind

    def _arguments(self, kind: Callable[..., Any]) -> dict[str, Any]:
        """Arguments that are not the user's; only those that ``kind`` accepts are used."""
        # `check` says once what these sample independently; they would say it for each trial
        quiet = {"warn_independent_sampling": False} if _warns(kind) else {}
        if kind is optuna.samplers.QMCSampler:
            # All workers share one sequence, and count in the storage where they are in it. What
            # the study's first trial did not have is not in it, and is drawn at random
            independent = RandomSampler(self.seed)
            quiet["warn_asynchronous_seeding"] = False
            return {**quiet, "seed": self.spec.seed, "independent_sampler": independent}
        return {**quiet, "seed": self.seed}


def _warns(kind: Callable[..., Any]) -> bool:
    return kind in (
        optuna.samplers.CmaEsSampler,
        optuna.samplers.GPSampler,
        optuna.samplers.QMCSampler,
    )


def _misfit(annotation: str, value: object) -> str | None:
    """Why ``value`` does not fit an argument's annotation; None if it does."""
    members = set(annotation.split(" | ")) - {"None"}
    if not members <= _TYPES.keys():
        return "cannot be written in a study.toml"
    # to Python a bool is an int; an int is accepted for a float
    if type(value).__name__ in members or (type(value) is int and "float" in members):
        return None
    return f"should be {' or '.join(_TYPES[member] for member in sorted(members))}, found {value!r}"


_TYPES = {"bool": "true or false", "int": "an integer", "float": "a number", "str": "a string"}
