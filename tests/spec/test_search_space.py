"""The search space: every kind of parameter as Optuna's distribution, its size, and what fits."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from hpo_job.spec import search_space
from hpo_job.spec.reading import read_spec
from hpo_job.spec.search_space import Parameter, Searched

Job = Callable[..., Path]


@pytest.fixture
def space(job: Job) -> Callable[[str], dict[str, Parameter]]:
    """The search space of a study.toml whose [search_space] holds these lines."""

    def read(lines: str) -> dict[str, Parameter]:
        head = 'name = "a"\nobjective = "o.py:f"\ndirection = "minimize"\nbudget.trials = 1\n'
        return read_spec(job(f"{head}[search_space]\n{lines}")).search_space

    return read


Space = Callable[[str], dict[str, Parameter]]
KINDS: list[tuple[str, BaseDistribution, float]] = [
    ('{ type = "float", low = -1.5, high = 2 }', FloatDistribution(-1.5, 2.0), math.inf),
    (
        '{ type = "float", low = 1e-5, high = 1e-1, log = true }',
        FloatDistribution(1e-5, 1e-1, log=True),
        math.inf,
    ),
    (
        '{ type = "float", low = 0, high = 1, step = 0.1 }',
        FloatDistribution(0.0, 1.0, step=0.1),
        11,
    ),
    ('{ type = "float", low = 0.5, high = 0.5 }', FloatDistribution(0.5, 0.5), 1),
    ('{ type = "int", low = 1, high = 10 }', IntDistribution(1, 10), 10),
    ('{ type = "int", low = -3, high = -3 }', IntDistribution(-3, -3), 1),
    ('{ type = "int", low = 16, high = 64, step = 16 }', IntDistribution(16, 64, step=16), 4),
    ('{ type = "int", low = 1, high = 64, log = true }', IntDistribution(1, 64, log=True), 64),
    (
        '{ type = "categorical", choices = [true, false] }',
        CategoricalDistribution((True, False)),
        2,
    ),
    (
        '{ type = "categorical", choices = [8, 16, 32] }',
        CategoricalDistribution((8, 16, 32)),
        3,
    ),
    ('{ type = "categorical", choices = [0.5] }', CategoricalDistribution((0.5,)), 1),
    (
        '{ type = "categorical", choices = ["resnet18", "xresnet50"] }',
        CategoricalDistribution(("resnet18", "xresnet50")),
        2,
    ),
    (
        '{ type = "categorical", choices = ["none", 2, 0.5, false] }',
        CategoricalDistribution(("none", 2, 0.5, False)),
        4,
    ),
]


@pytest.mark.parametrize(("line", "distribution", "size"), KINDS)
def test_kind(space: Space, line: str, distribution: BaseDistribution, size: float) -> None:
    parsed = space(f"x = {line}")
    parameter = parsed["x"]
    assert isinstance(parameter, Searched)
    assert parameter.distribution() == distribution
    assert search_space.size(parsed) == size
    # what Optuna stores for a trial is that distribution, and the value handed out is the same
    trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0)).ask()
    value = search_space.suggest(trial, parsed)["x"]
    assert trial.distributions == {"x": distribution}
    assert trial.params == {"x": value}
    assert type(trial.params["x"]) is type(value)


@pytest.mark.parametrize(
    ("written", "value"),
    [("true", True), ("1", 1), ("1.0", 1.0), ('"resnet18"', "resnet18"), ("1e-3", 0.001)],
)
def test_plain_value_fixes_a_parameter(space: Space, written: str, value: Any) -> None:
    parsed = space(f"x = {written}")
    trial = optuna.create_study().ask()
    suggested = search_space.suggest(trial, parsed)["x"]
    assert (suggested, type(suggested)) == (value, type(value))
    assert trial.params == {}
    assert search_space.fixed(parsed) == {"x": value}
    assert search_space.searched(parsed) == {}
    assert search_space.size(parsed) == 1


def test_parameters_are_suggested_in_the_order_they_are_written(space: Space) -> None:
    parsed = space(
        'z = { type = "int", low = 1, high = 2 }\n'
        "m = 3\n"
        'a = { type = "categorical", choices = [1, 2] }\n'
        'k = { type = "float", low = 1, high = 2 }\n'
    )
    trial = optuna.create_study().ask()
    assert list(search_space.suggest(trial, parsed)) == ["z", "m", "a", "k"]
    assert list(trial.params) == ["z", "a", "k"]


def test_size_is_the_product(space: Space) -> None:
    parsed = space(
        'a = { type = "int", low = 1, high = 5 }\n'
        'b = { type = "categorical", choices = ["x", "y", "z"] }\n'
        "c = 7\n"
        'd = { type = "float", low = 0, high = 0.3, step = 0.1 }\n'
    )
    assert search_space.size(parsed) == 5 * 3 * 4
    assert search_space.size({}) == 1


@pytest.mark.parametrize("choices", ["[1, true]", "[false, 0]", "[1, 1.0]"])
def test_choices_that_python_holds_equal_are_refused_or_kept_apart(
    job: Job, refused: Callable[..., str], choices: str
) -> None:
    """Optuna finds a choice by ==, so a trial that ran with true would be recorded with 1."""
    folder = job(
        'name = "a"\nobjective = "objective.py:train"\ndirection = "minimize"\n'
        f'budget.trials = 1\nsearch_space.x = {{ type = "categorical", choices = {choices} }}'
    )
    assert "search_space.x: " in refused("check", folder)


LINES = """
f = { type = "float", low = 0, high = 1 }
s = { type = "float", low = 0, high = 1, step = 0.25 }
l = { type = "float", low = 1e-5, high = 1e-1, log = true }
i = { type = "int", low = 2, high = 8, step = 2 }
c = { type = "categorical", choices = ["a", 1, 2.5] }
b = { type = "categorical", choices = [true, false] }
p = "fixed"
q = 1
"""


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("f", 0.0),
        ("f", 1),
        ("f", 0.3),
        ("s", 0.5),
        ("l", 1e-5),
        ("l", 1e-1),
        ("i", 2),
        ("i", 8),
        ("c", "a"),
        ("c", 1),
        ("c", 2.5),
        ("b", True),
        ("b", False),
        ("p", "fixed"),
        ("q", 1),
    ],
)
def test_a_value_of_the_space_fits(space: Space, name: str, value: object) -> None:
    assert search_space.misfit(space(LINES), {name: value}) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("f", 1.1),
        ("f", -0.1),
        ("f", True),
        ("f", "0.5"),
        ("f", math.nan),
        ("f", math.inf),
        ("s", 0.3),
        ("l", 0.0),
        ("l", 1),
        ("i", 3),
        ("i", 2.0),
        ("i", True),
        ("i", 10),
        ("i", "2"),
        ("c", True),
        ("c", "1"),
        ("c", "b"),
        ("b", 1),
        ("b", 0),
        ("b", "true"),
        ("p", "other"),
        ("q", True),
        ("q", 1.0),
        ("q", 2),
        ("f", [0.5]),
        ("c", ["a"]),
        ("f", {"a": 1}),
    ],
)
def test_a_value_outside_does_not(space: Space, name: str, value: object) -> None:
    reason = search_space.misfit(space(LINES), {name: value})
    assert reason is not None
    assert reason[0] == name
    assert repr(value) in reason[1]


def test_an_unknown_name_is_answered_with_the_nearest(space: Space) -> None:
    parsed = space('learning_rate = { type = "float", low = 0, high = 1 }\nepochs = 3')
    reason = search_space.misfit(parsed, {"learning_rat": 0.5})
    assert reason is not None
    assert "did you mean 'learning_rate'?" in reason[1]
    assert "known: epochs, learning_rate" in reason[1]


def test_the_first_misfit_is_told(space: Space) -> None:
    reason = search_space.misfit(space(LINES), {"f": 0.5, "i": 3, "nothere": 1})
    assert reason is not None
    assert reason[0] == "i"


@pytest.mark.parametrize("line", [line for line, _, _ in KINDS])
def test_extremes_lie_in_the_space(space: Space, line: str) -> None:
    parsed = space(f"x = {line}")
    parameter = parsed["x"]
    assert isinstance(parameter, Searched)
    for value in parameter.extremes():
        assert search_space.misfit(parsed, {"x": value}) is None


def test_describe_says_which_values(space: Space) -> None:
    parsed = space(LINES)
    described = {name: search_space.describe(parameter) for name, parameter in parsed.items()}
    assert described["f"] == "float 0 to 1"
    assert described["s"] == "float 0 to 1, step 0.25"
    assert described["l"] == "float 1e-05 to 0.1, log"
    assert described["i"] == "int 2 to 8, step 2"
    assert described["c"] == "one of a, 1, 2.5"
    assert described["p"] == "fixed at fixed"


@pytest.mark.parametrize(
    ("parameter", "nearest"),
    [
        ({"type": "int", "low": 1, "high": 10, "step": 4}, "9"),
        ({"type": "float", "low": 0.0, "high": 1.0, "step": 0.3}, "0.9"),
    ],
)
def test_a_range_that_its_step_does_not_end_at_is_refused(
    job: Callable[..., Path], refused: Callable[..., str], parameter: object, nearest: str
) -> None:
    line = refused("check", job(search_space={"x": parameter}))
    assert line.endswith(f"is no multiple of step above low; nearest: {nearest}")
