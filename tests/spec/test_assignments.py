"""--set: keys of study.toml with another value for one command."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hpo_job.errors import SpecError
from hpo_job.spec.assignments import assign, parsed
from hpo_job.spec.reading import read_spec

Job = Callable[..., Path]


@pytest.mark.parametrize(
    ("text", "path", "value"),
    [
        ("budget.trials=20", ["budget", "trials"], 20),
        ("budget.trials = 20", ["budget", "trials"], 20),
        ("metric=accuracy", ["metric"], "accuracy"),
        ("metric='accuracy'", ["metric"], "accuracy"),
        ("budget.timeout=8h", ["budget", "timeout"], "8h"),
        ("data.path=https://x.org/a=b", ["data", "path"], "https://x.org/a=b"),
        ("search_space.lr={low=1e-3, high=1.0}", ["search_space", "lr"], {"low": 1e-3, "high": 1}),
        ('metric=["a","b"]', ["metric"], ["a", "b"]),
        ("search_space.flag=true", ["search_space", "flag"], True),
        ('search_space."odd.name"=1', ["search_space", "odd.name"], 1),
    ],
)
def test_a_line_of_toml(text: str, path: list[str], value: Any) -> None:
    assert parsed(text) == (path, value)


@pytest.mark.parametrize(
    "text", ["", "=", "x", "x=", "=3", "a b=3", "x=3\ny=4", "[x]=3", "x.=3", "a={b=1}=2"]
)
def test_anything_else_is_one_line(text: str) -> None:
    with pytest.raises(SpecError, match="--set") as caught:
        assign({}, [text])
    assert str(caught.value).startswith("--set ")


def test_the_spec_is_the_result(job: Job) -> None:
    spec = read_spec(job(), ["budget.trials=3", "search_space.x.high=7.5", "seed=1", "seed=2"])
    assert spec.budget.trials == 3
    assert spec.stored()["search_space"]["x"]["high"] == 7.5
    assert spec.seed == 2
    assert spec.assignments[0] == "budget.trials=3"
    assert "assignments" not in spec.stored()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("budget.trials=many", "budget.trials: input should be a valid integer, found 'many'"),
        ("budget.trails=3", "budget.trails: unknown key 'trails'; did you mean 'trials'?"),
        ("budget=3", "budget: should be a table, found 3"),
        ("name.x=3", "name is not a table in study.toml"),
        ("search_space.x.low=9.0", "search_space.x"),
    ],
)
def test_a_mistake_names_the_option(job: Job, text: str, problem: str) -> None:
    with pytest.raises(SpecError) as caught:
        read_spec(job(), ["seed=1", text])
    assert str(caught.value).startswith(f"--set {text}: {problem}")


def test_a_mistake_of_the_file_names_the_file(job: Job) -> None:
    folder = job(budget={"trails": 3})
    with pytest.raises(SpecError) as caught:
        read_spec(folder, ["seed=1"])
    assert str(caught.value).startswith(f"{folder}/study.toml: budget.trails: ")


def test_keys_that_are_no_keys_of_the_file_stay_unknown(job: Job) -> None:
    for key in ("folder", "place", "assignments"):
        with pytest.raises(SpecError, match=f"unknown key '{key}'"):
            read_spec(job(), [f"{key}=/tmp"])
