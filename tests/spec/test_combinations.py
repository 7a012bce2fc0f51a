"""The combinations of a finite search space, and studies that cannot list theirs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hpo_job.spec import combinations
from hpo_job.spec.reading import read_spec
from hpo_job.spec.search_space import Categorical, Float, Int, Parameter, size

Job = Callable[..., Path]
SPACE: dict[str, Parameter] = {
    "kind": Categorical(type="categorical", choices=("a", "b")),
    "fixed": 3,
    "x": Float(type="float", low=0, high=1, step=0.5, when={"kind": "a"}),
    "n": Int(type="int", low=1, high=5, step=2),
    "same": Float(type="float", low=2, high=2),
}


def test_each_is_listed_once_without_what_its_condition_excludes() -> None:
    listed = list(combinations.combinations(SPACE))
    assert len(listed) == combinations.count(SPACE) == size(SPACE) == 12
    assert {"kind": "b", "n": 3, "same": 2.0} in listed
    assert {"kind": "a", "x": 0.5, "n": 5, "same": 2.0} in listed
    assert len({frozenset(each.items()) for each in listed}) == 12


def test_steps_that_binary_fractions_do_not_meet_stay_within_the_range() -> None:
    tenths = Float(type="float", low=0, high=0.3, step=0.1)
    values = [each["x"] for each in combinations.combinations({"x": tenths})]
    assert values == pytest.approx([0, 0.1, 0.2, 0.3])
    assert max(values) <= 0.3


def test_lists_stand_for_all_values() -> None:
    space: dict[str, Parameter] = {"x": Float(type="float", low=0, high=1)}
    lists = {"x": [0.1, 0.7]}
    assert list(combinations.combinations(space, lists)) == [{"x": 0.1}, {"x": 0.7}]


def test_counting_stops_at_what_is_too_many() -> None:
    space: dict[str, Parameter] = {f"x{i}": Int(type="int", low=1, high=1000) for i in range(10)}
    assert combinations.count(space) == combinations.MOST + 1


GRID = {"x": {"type": "int", "low": 0, "high": 3}, "y": {"type": "categorical", "choices": [1, 2]}}


@pytest.mark.parametrize("name", combinations.EXHAUSTIVE)
def test_the_budget_may_leave_out_how_many_there_are(job: Job, name: str) -> None:
    spec = read_spec(job(sampler={"name": name}, search_space=GRID, budget={}))
    assert spec.budget.trials == 8
    fewer = read_spec(job(sampler={"name": name}, search_space=GRID, budget={"trials": 3}))
    assert fewer.budget.trials == 3


@pytest.mark.parametrize(
    ("sampler", "space", "line"),
    [
        (
            {},
            {"x": {"type": "float", "low": 0.0, "high": 1.0}},
            "sampler.name: GridSampler tries "
            "every combination, and x has infinitely many values; give it a step, or choices",
        ),
        ({}, None, "sampler.name: GridSampler tries every combination of [search_space], which"),
        (
            {},
            {"x": {"type": "int", "low": 0, "high": 10**6}},
            "there are more than 100,000",
        ),
        ({"search_space": 3}, GRID, "search_space should be a table of lists, found 3"),
        ({"search_space": {"x": []}}, GRID, "sampler.search_space.x: should be a list of values"),
        ({"search_space": {"z": [1]}}, GRID, "sampler.search_space.z: unknown parameter 'z'"),
        ({"search_space": {"x": [9]}}, GRID, "sampler.search_space.x: 9 is not in the search"),
        ({"search_space": {"x": [1, 1]}}, GRID, "sampler.search_space.x: has a value twice"),
    ],
)
def test_what_cannot_be_listed_is_refused(
    job: Job, refused: Callable[..., str], sampler: dict[str, Any], space: object, line: str
) -> None:
    folder = job(sampler={"name": "GridSampler", **sampler}, search_space=space)
    assert line in refused("check", folder)
