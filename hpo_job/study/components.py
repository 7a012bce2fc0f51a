"""Optuna's classes as study.toml names them, with the user's options as their arguments."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning

from hpo_job import objectives
from hpo_job.errors import unknown
from hpo_job.spec.study_toml import Component, StudySpec


@dataclass(frozen=True)
class Factory:
    """Makes Optuna's samplers or pruners, those that are options of others included.

    Attributes:
        spec: the study's.
        what: "sampler" or "pruner".
        names: the classes that study.toml may name.
        inner_names: those of them that may be an option of another one.
        own_classes: our classes, by the name that study.toml has for them.
        arguments: arguments of a class that are not the user's; only those that it accepts are
            used.
    """

    spec: StudySpec
    what: str
    names: Collection[str]
    inner_names: Collection[str]
    own_classes: Mapping[str, Callable[..., Any]]
    arguments: Callable[[Callable[..., Any]], dict[str, Any]] = lambda _: {}

    def make(self, component: Component) -> Any:
        """An instance of the class that the study's [sampler] or [pruner] names.

        Raises:
            SpecError: Optuna has no such class, or not with these options.
        """
        return self._make(self.what, component, self.names)

    def check(self, component: Component) -> None:
        """Check name and options as `make` does, for a class that is not used itself.

        Raises:
            SpecError: Optuna has no such class, or not with these options.
        """
        self._options(self.what, component, self.names)

    def _make(self, where: str, component: Component, names: Collection[str]) -> Any:
        options = self._options(where, component, names)
        kind = self._class(component.name)
        accepted = _parameters(kind)
        for name, parameter in accepted.items():
            if parameter.default is parameter.empty and name not in options:
                raise self.spec.error(where, f"{component.name} needs {name}")
        ours = {key: value for key, value in self.arguments(kind).items() if key in accepted}
        try:
            with warnings.catch_warnings():
                # who names an experimental sampler has chosen it
                warnings.simplefilter("ignore", ExperimentalWarning)
                return kind(**{**ours, **options})
        except (TypeError, ValueError, ImportError) as error:
            text = " ".join(str(error).split())
            raise self.spec.error(where, f"{component.name}: {text}") from error

    def _options(self, where: str, component: Component, names: Collection[str]) -> dict[str, Any]:
        """The user's options as arguments of Optuna's class."""
        if component.name not in names:
            raise self.spec.error(f"{where}.name", unknown(self.what, component.name, names))
        accepted = _parameters(self._class(component.name))
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
        if f"Base{self.what.title()}" in annotation:
            return self._make(key, self._component(key, value), self.inner_names)
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
        if name in self.own_classes:
            return self.own_classes[name]
        kind: Callable[..., Any] = getattr(getattr(optuna, f"{self.what}s"), name)
        return kind


@cache
def _parameters(kind: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    """What a class's constructor accepts: looked up once, since each trial makes a sampler."""
    return inspect.signature(kind).parameters


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
