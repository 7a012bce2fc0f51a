"""The parameters that a study searches, as study.toml describes them with Optuna's words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    PlainValidator,
    Tag,
    model_validator,
)

from hpo_job.errors import unknown
from hpo_job.spec.toml_text import in_toml


def _scalar(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"a parameter cannot be {value}; it must be finite")
    if isinstance(value, bool | int | float | str):
        return value
    raise ValueError(f"should be true, false, a number or a string, found {value!r}")


Scalar = Annotated[bool | int | float | str, PlainValidator(_scalar)]


class _Parameter(BaseModel):
    """A parameter in which trials differ.

    Attributes:
        when: the values that other parameters must have for this one to be suggested. If they
            have others, the objective's default is used.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    when: dict[str, Scalar] = Field(default_factory=dict)


class Categorical(_Parameter):
    """One of a list of values.

    Attributes:
        type: the kind of parameter.
        choices: the values: strings, numbers, true and false.
    """

    type: Literal["categorical"]
    choices: tuple[Scalar, ...] = Field(min_length=1, strict=False)

    @model_validator(mode="after")
    def _no_choice_twice(self) -> Categorical:
        # To Optuna, as to Python, 1, 1.0 and true are equal, so one would be taken for the other
        if len(set(self.choices)) < len(self.choices):
            raise ValueError("choices has a value twice (1, 1.0 and true count as the same)")
        return self

    def distribution(self) -> BaseDistribution:
        return CategoricalDistribution(self.choices)

    def size(self) -> float:
        return len(self.choices)

    def values(self) -> tuple[Scalar, ...]:
        return self.choices

    def extremes(self) -> tuple[Scalar, ...]:
        return self.choices


class Int(_Parameter):
    """An integer from ``low`` to ``high``, both included.

    Attributes:
        type: the kind of parameter.
        low: the smallest value.
        high: the largest value.
        step: the distance between neighbouring values, counted from ``low``.
        log: whether values are drawn on a logarithmic scale.
    """

    type: Literal["int"]
    low: int
    high: int
    step: int = Field(default=1, ge=1)
    log: bool = False

    @model_validator(mode="after")
    def _range(self) -> Int:
        _check_range(self.low, self.high, self.log, self.step if self.step != 1 else None)
        return self

    def distribution(self) -> BaseDistribution:
        return IntDistribution(self.low, self.high, log=self.log, step=self.step)

    def size(self) -> float:
        return (self.high - self.low) // self.step + 1

    def values(self) -> range:
        return range(self.low, self.high + 1, self.step)

    def extremes(self) -> tuple[Scalar, ...]:
        return (self.low, self.high)


class Float(_Parameter):
    """A number from ``low`` to ``high``, both included; with ``step`` evenly spaced.

    Attributes:
        type: the kind of parameter.
        low: the smallest value.
        high: the largest value.
        step: the distance between neighbouring values, counted from ``low``; none: any number.
        log: whether values are drawn on a logarithmic scale.
    """

    type: Literal["float"]
    low: float = Field(allow_inf_nan=False)
    high: float = Field(allow_inf_nan=False)
    step: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    log: bool = False

    @model_validator(mode="after")
    def _range(self) -> Float:
        _check_range(self.low, self.high, self.log, self.step)
        return self

    def distribution(self) -> BaseDistribution:
        return FloatDistribution(self.low, self.high, log=self.log, step=self.step)

    def size(self) -> float:
        if self.low == self.high:
            return 1
        return math.floor((self.high - self.low) / self.step + 1e-9) + 1 if self.step else math.inf

    def values(self) -> list[float]:
        """All values; raises ValueError if there are infinitely many."""
        if math.isinf(self.size()):
            raise ValueError("has infinitely many values; give it a step, or choices")
        step = self.step or 0.0
        steps = (self.low + number * step for number in range(int(self.size())))
        return [min(value, self.high) for value in steps]

    def extremes(self) -> tuple[Scalar, ...]:
        return (self.low, self.high)


Searched = Categorical | Int | Float
KINDS: dict[str, type[Searched]] = {"categorical": Categorical, "int": Int, "float": Float}


def _kind(value: object) -> str | None:
    if isinstance(value, _Parameter):
        return str(value.type)  # type: ignore[attr-defined]
    if isinstance(value, dict):
        return kind if isinstance(kind := value.get("type"), str) and kind in KINDS else None
    return "fixed"


Parameter = Annotated[
    Annotated[Categorical, Tag("categorical")]
    | Annotated[Int, Tag("int")]
    | Annotated[Float, Tag("float")]
    | Annotated[Scalar, Tag("fixed")],
    Discriminator(
        _kind,
        custom_error_type="parameter_kind",
        custom_error_message='a table needs type = "categorical", "int" or "float"',
    ),
]


def _check_range(low: float, high: float, log: bool, step: float | None) -> None:
    if low > high:
        raise ValueError(f"low {low:g} is above high {high:g}")
    if log and low <= 0:
        raise ValueError(f"log needs low > 0, found low = {low:g}")
    if log and step is not None:
        raise ValueError("log and step cannot be combined; remove one of them")
    if step is not None:
        last = low + math.floor((high - low) / step + 1e-9) * step
        if not math.isclose(last, high, rel_tol=1e-9, abs_tol=1e-9 * step):
            raise ValueError(f"high {high:g} is no multiple of step above low; nearest: {last:g}")


def searched(space: Mapping[str, Parameter]) -> dict[str, Searched]:
    """The parameters of ``space`` in which trials differ."""
    return {name: p for name, p in space.items() if isinstance(p, _Parameter)}


def fixed(space: Mapping[str, Parameter]) -> dict[str, Scalar]:
    """The parameters of ``space`` that have the same value in every trial."""
    return {name: p for name, p in space.items() if not isinstance(p, _Parameter)}


def suggest(trial: optuna.Trial, space: Mapping[str, Parameter]) -> dict[str, Any]:
    """The value of every parameter of ``space`` for ``trial``, in the order of study.toml.

    Those whose condition is not met are missing.
    """
    values: dict[str, Any] = {}
    for name, parameter in space.items():
        if not isinstance(parameter, _Parameter) or meets_condition(parameter, values):
            values[name] = _suggest(trial, name, parameter)
    return values


def meets_condition(parameter: _Parameter, values: Mapping[str, Any]) -> bool:
    """Whether ``values``, those suggested so far, meet the condition of ``parameter``."""
    return all(name in values and _same(values[name], to) for name, to in parameter.when.items())


def _same(value: object, other: object) -> bool:
    # to Python 1, 1.0 and true are equal
    return value == other and isinstance(value, bool) == isinstance(other, bool)


def conditions_problem(space: Mapping[str, Parameter]) -> str | None:
    """What is wrong with the first condition that no trial could meet; None if all are met."""
    above: list[str] = []
    for name, parameter in space.items():
        for other, value in parameter.when.items() if isinstance(parameter, _Parameter) else ():
            if other not in above:
                return f"{name}: when: {unknown('parameter above it', other, above)}"
            if not _allows(space[other], value):
                possible = describe(space[other])
                return f"{name}: when: {other} is never {in_toml(value)}; it is {possible}"
        above.append(name)
    return None


def _suggest(trial: optuna.Trial, name: str, parameter: Parameter) -> Any:
    match parameter:
        case Categorical():
            return trial.suggest_categorical(name, parameter.choices)
        case Int(low=low, high=high, step=step, log=log):
            return trial.suggest_int(name, low, high, step=step, log=log)
        case Float(low=low, high=high, step=step, log=log):
            return trial.suggest_float(name, low, high, step=step, log=log)
        case _:
            return parameter


def size(space: Mapping[str, Parameter]) -> float:
    """How many combinations ``space`` allows; infinite with a float that has no step."""
    return _size(list(searched(space).items()), fixed(space))


def _size(parameters: list[tuple[str, Searched]], values: Mapping[str, Any]) -> float:
    """The combinations of ``parameters``, if the others have these ``values``."""
    if not parameters:
        return 1
    (name, parameter), *rest = parameters
    if not meets_condition(parameter, values):
        return _size(rest, values)
    asked = {
        value for _, other in rest for key, value in other.when.items() if key == name
    }  # all other values of this parameter allow the same combinations
    sizes = [_size(rest, {**values, name: value}) for value in asked]
    return sum(sizes) + (parameter.size() - len(asked)) * _size(rest, values)


def misfit(
    space: Mapping[str, Parameter] | None, values: Mapping[str, object]
) -> tuple[str, str] | None:
    """The first of ``values`` that no trial of ``space`` could have, and why; None if all fit.

    Args:
        space: the search space; None if it is not known before a trial runs, so that any scalar
            may fit.
        values: parameters by name.
    """
    for name, value in values.items():
        try:
            _scalar(value)
        except ValueError as error:
            return name, str(error)
        if space is None:
            continue
        if name not in space:
            return name, unknown("parameter", name, space)
        parameter = space[name]
        if not _allows(parameter, value):
            return name, f"{value!r} is not in the search space: {describe(parameter)}"
        for other, to in parameter.when.items() if isinstance(parameter, _Parameter) else ():
            if other in values and not _same(values[other], to):
                return name, f"has no effect with {other} = {in_toml(values[other])}"
    return None


def _allows(parameter: Parameter, value: object) -> bool:
    """Whether a trial of this ``parameter`` could have this ``value``."""
    if not isinstance(parameter, _Parameter):
        return type(parameter) is type(value) and parameter == value
    if isinstance(parameter, Categorical):
        return any(type(c) is type(value) and c == value for c in parameter.choices)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    if isinstance(parameter, Int) and not isinstance(value, int):
        return False
    if not math.isfinite(value) or not parameter.low <= value <= parameter.high:
        return False
    steps = (value - parameter.low) / parameter.step if parameter.step else 0
    return math.isclose(steps, round(steps), abs_tol=1e-8)


def describe(parameter: Parameter) -> str:
    """One line: which values ``parameter`` can have, and under which condition."""
    conditions = parameter.when.items() if isinstance(parameter, _Parameter) else ()
    when = " and ".join(f"{name} = {in_toml(value)}" for name, value in conditions)
    return _described(parameter) + (f", when {when}" if when else "")


def _described(parameter: Parameter) -> str:
    match parameter:
        case Categorical(choices=choices):
            return "one of " + ", ".join(map(in_toml, choices))
        case Int(low=low, high=high, step=step, log=log):
            spacing = f", step {step}" if step != 1 else ""
            return f"int {low} to {high}{spacing}{', log' if log else ''}"
        case Float(low=low, high=high, step=float_step, log=log):
            spacing = f", step {float_step:g}" if float_step else ""
            return f"float {low:g} to {high:g}{spacing}{', log' if log else ''}"
        case _:
            return f"fixed at {in_toml(parameter)}"
