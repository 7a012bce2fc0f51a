"""The combinations of a finite search space, for samplers that try each of them once."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hpo_job.errors import unknown
from hpo_job.spec.search_space import Parameter, Searched, meets_condition, misfit, searched

# Optuna's samplers that try all combinations: the study is over when each has been tried
EXHAUSTIVE = ("BruteForceSampler", "GridSampler")
MOST = 100_000  # combinations that are listed; more take too long to try in any case


def combinations(
    space: Mapping[str, Parameter], lists: Mapping[str, Sequence[Any]] | None = None
) -> Iterator[dict[str, Any]]:
    """Every combination of the searched parameters; those whose condition is not met are missing.

    Args:
        space: the search space.
        lists: for some parameters the values to try, instead of all.

    Raises:
        ValueError: a parameter has infinitely many values, and no list.
    """
    parameters = searched(space)
    lists = lists or {}
    values = {name: _values(name, parameter, lists) for name, parameter in parameters.items()}
    fixed = {name: value for name, value in space.items() if name not in parameters}
    for combination in _extend(list(parameters.items()), values, fixed):
        yield {name: value for name, value in combination.items() if name not in fixed}


def count(space: Mapping[str, Parameter], lists: Mapping[str, Sequence[Any]] | None = None) -> int:
    """How many `combinations` there are, at most `MOST` + 1.

    Raises:
        ValueError: a parameter has infinitely many values, and no list.
    """
    return sum(1 for _ in itertools.islice(combinations(space, lists), MOST + 1))


def _values(name: str, parameter: Searched, lists: Mapping[str, Sequence[Any]]) -> Sequence[Any]:
    try:
        return lists[name] if name in lists else parameter.values()
    except ValueError as error:
        raise ValueError(f"tries every combination, and {name} {error}") from None


def _extend(
    parameters: list[tuple[str, Searched]],
    values: Mapping[str, Sequence[Any]],
    chosen: dict[str, Any],
) -> Iterator[dict[str, Any]]:
    if not parameters:
        yield chosen
        return
    (name, parameter), *rest = parameters
    if not meets_condition(parameter, chosen):
        yield from _extend(rest, values, chosen)
        return
    for value in values[name]:
        yield from _extend(rest, values, {**chosen, name: value})


def problem(space: Mapping[str, Parameter], lists: object) -> tuple[str | None, str] | None:
    """Why not all combinations can be tried; None if they can.

    Args:
        space: the search space.
        lists: the option ``search_space`` of Optuna's GridSampler, as it stands in study.toml.

    Returns:
        The parameter of ``lists`` that is wrong, if it is one of them, and the problem.
    """
    if not searched(space):
        return None, "tries every combination of [search_space], which has nothing to search"
    if not isinstance(lists, Mapping):
        return None, f"search_space should be a table of lists, found {lists!r}"
    for name, values in lists.items():
        if not isinstance(values, list) or not values:
            return name, f"should be a list of values, found {values!r}"
        if not isinstance(space.get(name), Searched):
            return name, unknown("parameter", name, searched(space))
        for value in values:
            if wrong := misfit(space, {name: value}):
                return name, wrong[1]
        if len(set(values)) < len(values):
            return name, "has a value twice"
    try:
        number = count(space, lists)
    except ValueError as error:
        return None, str(error)
    if number > MOST:
        return None, f"tries every combination, and there are more than {MOST:,} of them"
    return None
