"""What holds for every study.toml, valid or not: tried on random ones."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import optuna
import pytest
import tomli_w
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.samplers import RandomSampler

from hpo_job.data.fetch import redacted
from hpo_job.errors import SpecError
from hpo_job.spec import search_space
from hpo_job.spec.reading import read_spec
from hpo_job.spec.study_toml import StudySpec, restore
from hpo_job.spec.urls import ambiguity, store_problem, without_password

EXAMPLES = settings(max_examples=60, derandomize=True, deadline=None)

TEXTS = st.text("abc-'\"\\\n\t é=#", max_size=6)
SCALARS = st.booleans() | st.integers(-9, 9) | st.floats(-9, 9).map(lambda x: x + 0.0) | TEXTS
STEPS = st.sampled_from([0.1, 0.25, 0.5, 1.0, 3.0])


@st.composite
def ints(draw: st.DrawFn) -> dict[str, Any]:
    log = draw(st.booleans())
    low, step = draw(st.integers(1 if log else -50, 50)), 1 if log else draw(st.integers(1, 5))
    high = low + step * draw(st.integers(0, 20))
    return {"type": "int", "low": low, "high": high, "step": step, "log": log}


@st.composite
def floats(draw: st.DrawFn) -> dict[str, Any]:
    kind = draw(st.sampled_from(["plain", "log", "step"]))
    low = draw(st.floats(1e-6, 10) if kind == "log" else st.floats(-10, 10))
    if kind == "step":  # in decimals, as people write them
        low, step = round(low, 3), draw(STEPS)
        high = round(low + step * draw(st.integers(0, 20)), 3)
        return {"type": "float", "low": low, "high": high, "step": step}
    high = low + draw(st.floats(0, 10))
    return {"type": "float", "low": low, "high": high, "log": kind == "log"}


def categoricals() -> st.SearchStrategy[dict[str, Any]]:
    choices = st.lists(SCALARS, min_size=1, max_size=4, unique_by=hash)
    return choices.map(lambda values: {"type": "categorical", "choices": values})


@st.composite
def spaces(draw: st.DrawFn) -> dict[str, Any]:
    """Parameters, fixed ones among them, some with a condition on one above."""
    space: dict[str, Any] = {}
    for number in range(draw(st.integers(1, 6))):
        parameter = draw(ints() | floats() | categoricals() | SCALARS)
        above = [name for name in space if isinstance(space[name], dict)]
        if isinstance(parameter, dict) and above and draw(st.booleans()):
            name = draw(st.sampled_from(above))
            values = space[name].get("choices") or [space[name]["low"], space[name]["high"]]
            parameter["when"] = {name: draw(st.sampled_from(values))}
        space[f"p{number}"] = parameter
    return space


def write(folder: Path, table: dict[str, Any]) -> Path:
    (folder / "study.toml").write_text(tomli_w.dumps(table), encoding="utf-8")
    return folder


def study(space: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": "random",
        "objective": "objective.py:train",
        "direction": "minimize",
        "budget": {"trials": 3},
        "search_space": space,
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("random")


@EXAMPLES
@given(spaces(), st.integers(0, 2**31))
def test_what_is_suggested_is_in_the_search_space(
    folder: Path, space: dict[str, Any], seed: int
) -> None:
    """From TOML to Optuna's distributions and back: bounds, steps and conditions are kept."""
    spec = read_spec(write(folder, study(space)))
    trial = optuna.create_study(sampler=RandomSampler(seed=seed)).ask()
    values = search_space.suggest(trial, spec.search_space)
    assert search_space.misfit(spec.search_space, values) is None
    for name, parameter in space.items():
        if not isinstance(parameter, dict):
            assert (values[name], type(values[name])) == (parameter, type(parameter))
            continue
        met = all(
            other in values and (values[other], type(values[other])) == (to, type(to))
            for other, to in parameter.get("when", {}).items()
        )
        assert (name in values) == met
        if met and parameter["type"] == "categorical":
            assert any(values[name] is c or values[name] == c for c in parameter["choices"])
        elif met:
            assert parameter["low"] <= values[name] <= parameter["high"]
            steps = (values[name] - parameter["low"]) / parameter.get("step", 1)
            assert "step" not in parameter or math.isclose(steps, round(steps), abs_tol=1e-6)
        if met:
            assert trial.distributions[name] == spec.search_space[name].distribution()  # type: ignore[union-attr]


@EXAMPLES
@given(spaces())
def test_a_stored_spec_is_restored_as_it_was(folder: Path, space: dict[str, Any]) -> None:
    """As Optuna stores it, which is JSON."""
    spec = read_spec(write(folder, study(space)))
    restored = restore(json.loads(json.dumps(spec.stored())))
    assert restored.stored() == spec.stored()
    assert restored.search_space == spec.search_space
    for name, value in search_space.fixed(spec.search_space).items():
        assert type(restored.search_space[name]) is type(value)


# study.toml with anything in the place of anything

KEYS = [
    *(name for name in StudySpec.model_fields if name != "folder"),
    *("trials", "timeout", "type", "low", "high", "step", "log", "choices", "when", "path"),
    *("valid_pct", "sha256", "keep", "store", "x", "é", "a.b"),
]
VALUES = st.recursive(
    SCALARS
    | st.integers()
    | st.floats()
    | st.datetimes()
    | st.sampled_from(["10m", "1e-3", "categorical", "lr_find", "https://x/y.zip", "s3://b"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4)
    ),
    max_leaves=8,
)


def paths(table: Any, above: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The places of all values in a table."""
    items = table.items() if isinstance(table, dict) else ()
    return [
        place for key, value in items for place in ((*above, key), *paths(value, (*above, key)))
    ]


@settings(EXAMPLES, max_examples=200)
@given(spaces(), st.lists(st.tuples(st.integers(0, 10**6), VALUES), max_size=3), VALUES)
def test_a_wrong_study_is_one_line(
    folder: Path, space: dict[str, Any], changes: list[tuple[int, Any]], more: Any
) -> None:
    table = json.loads(json.dumps(study(space)))
    for position, value in changes:
        places = paths(table)
        *parents, key = places[position % len(places)]
        inner = table
        for parent in parents:
            inner = inner[parent]
        inner[key] = value
    if isinstance(more, dict):
        table |= more
    write(folder, table)
    try:
        spec = read_spec(folder)
    except SpecError as error:
        line = str(error)
        assert line.startswith(str(folder / "study.toml"))
        assert len(line.splitlines()) == 1
    else:
        assert restore(json.loads(json.dumps(spec.stored()))).stored() == spec.stored()


# URLs: a password is Qs and what has a meaning in URLs

SCHEMES = st.sampled_from(["https", "http", "s3", "gs", "ftp", "github", "a+b"])
USERS = st.text("u/:%4@", max_size=4)
PASSWORDS = st.text("Q@/:?#%4[] \\\n", min_size=1, max_size=8).filter(lambda text: "Q" in text)
ENDS = st.sampled_from(["host/file.zip", "bucket", "host:80/a/b.csv?X-Sig=Q", "[::1]/x#Q", ""])
SHA256 = "0" * 64


def refusal(folder: Path) -> str:
    """Why its study.toml is refused; nothing if it is not."""
    try:
        read_spec(folder)
    except SpecError as error:
        return str(error)
    return ""


@settings(EXAMPLES, max_examples=200)
@given(SCHEMES, USERS, PASSWORDS, ENDS)
def test_no_password_of_a_data_url_is_shown(
    folder: Path, scheme: str, user: str, password: str, end: str
) -> None:
    """It is either refused without it, or shown without it."""
    url = f"{scheme}://{user}:{password}@{end}"
    problem = ambiguity(url)
    assert "Q" not in (redacted(url) if problem is None else problem)
    for keys in ({"path": url, "sha256": SHA256}, {"path": url}, {"path": url, "sha256": "0"}):
        assert "Q" not in refusal(write(folder, study({}) | {"data": keys}))


@settings(EXAMPLES, max_examples=200)
@given(SCHEMES, USERS, PASSWORDS, st.sampled_from(["bucket", "bucket/", "bucket/folder", ""]))
def test_a_store_with_a_password_is_refused_and_not_shown(
    folder: Path, scheme: str, user: str, password: str, end: str
) -> None:
    problem = store_problem(f"{scheme}://{user}:{password}@{end}")
    assert problem is not None
    assert "Q" not in problem
    table = study({}) | {"artifacts": {"store": f"{scheme}://{user}:{password}@{end}"}}
    with pytest.raises(SpecError) as error:
        read_spec(write(folder, table))
    assert "Q" not in str(error.value)
    assert len(str(error.value).splitlines()) == 1


@EXAMPLES
@given(SCHEMES, st.text("uQ.-_~", min_size=1), st.text("pQ.-_~:", min_size=1))
def test_a_plain_password_is_left_out_and_the_rest_stays(
    scheme: str, user: str, password: str
) -> None:
    url = f"{scheme}://{user}:{password}@host/a/b.zip"
    assert ambiguity(url) is None
    assert redacted(url) == f"{scheme}://host/a/b.zip"
    assert without_password(url) == f"{scheme}://***@host/a/b.zip"
