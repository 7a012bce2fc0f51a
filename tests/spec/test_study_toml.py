"""study.toml: what it may hold, what it means, and what each mistake is answered with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydantic
import pytest

from hpo_job.errors import SpecError
from hpo_job.spec.reading import job_folder, read_spec
from hpo_job.spec.study_toml import duration, restore

Job = Callable[..., Path]
Refused = Callable[..., str]

FULL = """
name = "full"
objective = "objective.py:train"
metric = "loss"
direction = "minimize"
seed = 7

[budget]
trials = 20
timeout = "1h30m"
failures = 5
retries = 1
repeats = 2
patience = 9
min_delta = 0.01

[data]
path = "data"
valid_pct = 0.4
seed = 3

[sampler]
name = "CmaEsSampler"
n_startup_trials = 4

[pruner]
name = "MedianPruner"
n_warmup_steps = 2

[search_space]
rate = { type = "float", low = 1e-4, high = 1e-1, log = true }
fixed = 3

[[enqueue]]
rate = 0.01
"""


def test_every_key_is_read(job: Job) -> None:
    spec = read_spec(job(FULL))
    assert (spec.name, spec.objective, spec.metric) == ("full", "objective.py:train", "loss")
    assert (spec.direction, spec.seed) == ("minimize", 7)
    assert spec.budget.model_dump() == {
        "trials": 20,
        "patience": 9,
        "min_delta": 0.01,
        "timeout": 5400.0,
        "failures": 5,
        "retries": 1,
        "repeats": 2,
    }
    assert spec.data is not None
    assert spec.data.model_dump(exclude_none=True) == {"path": "data", "valid_pct": 0.4, "seed": 3}
    assert (spec.sampler.name, spec.sampler.options) == ("CmaEsSampler", {"n_startup_trials": 4})
    assert (spec.pruner.name, spec.pruner.options) == ("MedianPruner", {"n_warmup_steps": 2})
    assert list(spec.search_space) == ["rate", "fixed"]
    assert spec.enqueue == ({"rate": 0.01},)


def test_defaults(job: Job) -> None:
    spec = read_spec(job(search_space=None))
    assert (spec.metric, spec.data, spec.seed, spec.search_space) == (None, None, 0, {})
    assert (spec.sampler.name, spec.pruner.name) == ("TPESampler", "NopPruner")
    assert (spec.budget.timeout, spec.budget.failures, spec.budget.retries) == (None, 3, 2)
    assert spec.enqueue == ()


def test_data_path_is_relative_to_the_job_folder(job: Job, tmp_path: Path) -> None:
    assert read_spec(job(data={"path": "pictures"})).data_path == tmp_path / "job" / "pictures"
    assert read_spec(job(data={"path": "/elsewhere"})).data_path == Path("/elsewhere")


def test_a_spec_cannot_be_changed(job: Job) -> None:
    spec = read_spec(job())
    with pytest.raises(pydantic.ValidationError):
        spec.name = "other"  # type: ignore[misc]


def test_stored_and_restored_is_the_same_spec(job: Job) -> None:
    spec = read_spec(job(FULL))
    assert restore(spec.stored()).stored() == spec.stored()
    assert "folder" not in spec.stored()
    assert restore(spec.stored()).search_space == spec.search_space


def test_a_job_is_a_folder_or_a_name_under_jobs(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "jobs").mkdir()
    folder = job(folder="jobs/mine")
    monkeypatch.chdir(tmp_path)
    assert job_folder("mine").resolve() == folder
    assert job_folder(folder) == folder
    with pytest.raises(SpecError, match=r"nothere.*study\.toml"):
        job_folder("nothere")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30m", 1800), ("1h30m", 5400), ("90s", 90), ("1h", 3600), ("2h0m5s", 7205), ("1m1s", 61)],
)
def test_duration(text: str, seconds: float) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "30", "m", "30 m", "30m1h", "-5m", "1.5h", "30min", "1d"])
def test_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="should be a duration like"):
        duration(text)


def test_timeout_in_seconds(job: Job) -> None:
    assert read_spec(job(budget={"timeout": 90})).budget.timeout == 90


def test_a_budget_may_be_a_timeout_alone(job: Job) -> None:
    budget = read_spec(job(budget={"timeout": "5m"})).budget
    assert (budget.trials, budget.timeout) == (None, 300)


@pytest.mark.parametrize("name", ["a", "0", "people-vs-animals", "x" * 63])
def test_name(job: Job, name: str) -> None:
    assert read_spec(job(name=name)).name == name


@pytest.mark.parametrize(
    "name", ["", "Upper", "under_score", "a b", "-a", "a-", "x" * 64, "é", "a.b", "a\n"]
)
def test_bad_name(job: Job, refused: Refused, name: str) -> None:
    assert "study.toml: name: " in refused("check", job(name=name))


FLOAT = {"type": "float", "low": 0.1, "high": 1.0}
INT = {"type": "int", "low": 1, "high": 9}
BAD: list[tuple[dict[str, Any], str, str]] = [
    # unknown keys, with the nearest name
    ({"pruners": {"name": "NopPruner"}}, "pruners", "did you mean 'pruner'?"),
    ({"budget": {"trails": 3}}, "budget.trails", "did you mean 'trials'?"),
    ({"data": {"path": ".", "valid": 0.2}}, "data.valid", "did you mean 'valid_pct'?"),
    ({"search_space": {"x": FLOAT | {"lo": 1}}}, "search_space.x.lo", "did you mean 'low'?"),
    ({"search_space": {"x": INT | {"choices": [1]}}}, "search_space.x.choices", "unknown key"),
    # missing keys
    ({"name": None}, "name", "missing"),
    ({"objective": None}, "objective", "missing"),
    ({"direction": None}, "direction", "missing"),
    ({"budget": None}, "budget", "set trials, timeout or patience"),
    ({"budget": {}}, "budget", "set trials, timeout or patience"),
    ({"budget": {"failures": 2}}, "budget", "set trials, timeout or patience"),
    ({"data": {"seed": 1}}, "data.path", "missing"),
    ({"sampler": {"seed": 1}}, "sampler.name", "missing"),
    ({"search_space": {"x": {"type": "float", "low": 1.0}}}, "search_space.x.high", "missing"),
    ({"search_space": {"x": {"type": "categorical"}}}, "search_space.x.choices", "missing"),
    ({"search_space": {"x": {"low": 1, "high": 2}}}, "search_space.x", "needs type ="),
    # wrong types and values
    ({"name": 3}, "name", "string, found 3"),
    ({"metric": True}, "metric", "found True"),
    ({"direction": "max"}, "direction", "found 'max'"),
    ({"seed": "1"}, "seed", "found '1'"),
    ({"seed": True}, "seed", "found True"),
    ({"seed": -1}, "seed", "found -1"),
    ({"artifacts": {"store": "gcs://b"}}, "artifacts.store", "gcs://b: should be a folder, s3:"),
    ({"artifacts": {"store": "s3://b/c"}}, "artifacts.store", "s3://b/c: should be a bucket only"),
    ({"budget": 3}, "budget", "should be a table, found 3"),
    ({"budget": {"trials": "3"}}, "budget.trials", "found '3'"),
    ({"budget": {"trials": 2.0}}, "budget.trials", "found 2.0"),
    ({"budget": {"trials": True}}, "budget.trials", "found True"),
    ({"budget": {"trials": 0}}, "budget.trials", "found 0"),
    ({"budget": {"trials": 1, "failures": 0}}, "budget.failures", "found 0"),
    ({"budget": {"trials": 1, "retries": -1}}, "budget.retries", "found -1"),
    ({"budget": {"timeout": "soon"}}, "budget.timeout", "'90s', found 'soon'"),
    ({"budget": {"timeout": "0s"}}, "budget.timeout", "greater than 0"),
    ({"budget": {"timeout": True}}, "budget.timeout", "found True"),
    ({"budget": {"timeout": float("inf")}}, "budget.timeout", "inf"),
    ({"data": "data"}, "data", "should be a table, found 'data'"),
    ({"data": {"path": ""}}, "data.path", "found ''"),
    ({"data": {"path": ".", "valid_pct": 1}}, "data.valid_pct", "found 1"),
    ({"data": {"path": ".", "valid_pct": 0.0}}, "data.valid_pct", "found 0"),
    ({"sampler": "TPESampler"}, "sampler", "table"),
    ({"search_space": 3}, "search_space", "should be a table, found 3"),
    ({"search_space": {"x": INT | {"type": "integer"}}}, "search_space.x", "needs type ="),
    ({"search_space": {"x": INT | {"type": ["int"]}}}, "search_space.x", "needs type ="),
    ({"search_space": {"x": [1, 2]}}, "search_space.x", "[1, 2]"),
    ({"search_space": {"x": float("nan")}}, "search_space.x", "nan"),
    ({"search_space": {"x": INT | {"low": 1.5}}}, "search_space.x.low", "found 1.5"),
    ({"search_space": {"x": INT | {"low": "1"}}}, "search_space.x.low", "found '1'"),
    ({"search_space": {"x": INT | {"step": 0}}}, "search_space.x.step", "found 0"),
    ({"search_space": {"x": FLOAT | {"low": "1e-3"}}}, "search_space.x.low", "found '1e-3'"),
    ({"search_space": {"x": FLOAT | {"high": float("inf")}}}, "search_space.x.high", "finite"),
    ({"search_space": {"x": FLOAT | {"step": 0.0}}}, "search_space.x.step", "found 0"),
    ({"search_space": {"x": FLOAT | {"log": "yes"}}}, "search_space.x.log", "found 'yes'"),
    ({"enqueue": {"x": 1}}, "enqueue", "should be a list"),
    ({"enqueue": [{"x": [1]}]}, "enqueue.0.x", "[1]"),
    # ranges
    ({"search_space": {"x": FLOAT | {"low": 2.0}}}, "search_space.x", "low 2 is above high 1"),
    ({"search_space": {"x": INT | {"low": 10}}}, "search_space.x", "low 10 is above high 9"),
    ({"search_space": {"x": FLOAT | {"low": 0.0, "log": True}}}, "search_space.x", "log needs"),
    ({"search_space": {"x": INT | {"low": -1, "log": True}}}, "search_space.x", "log needs"),
    ({"search_space": {"x": FLOAT | {"log": True, "step": 0.1}}}, "search_space.x", "log and step"),
    ({"search_space": {"x": INT | {"log": True, "step": 2}}}, "search_space.x", "log and step"),
    (
        {"search_space": {"x": {"type": "categorical", "choices": []}}},
        "search_space.x.choices",
        "should not be empty",
    ),
    (
        {"search_space": {"x": {"type": "categorical", "choices": "ab"}}},
        "search_space.x.choices",
        "should be a list",
    ),
    (
        {"search_space": {"x": {"type": "categorical", "choices": ["a", "a"]}}},
        "search_space.x",
        "twice",
    ),
    (
        {"search_space": {"x": {"type": "categorical", "choices": [[1]]}}},
        "search_space.x.choices",
        "[1]",
    ),
]


@pytest.mark.parametrize(("keys", "key", "problem"), BAD)
def test_bad_key(job: Job, refused: Refused, keys: dict[str, Any], key: str, problem: str) -> None:
    folder = job(**keys)
    line = refused("check", folder)
    assert line.startswith(f"hpo-job: {folder / 'study.toml'}: {key}")
    assert line.removeprefix(f"hpo-job: {folder / 'study.toml'}: {key}")[0] in ":."
    assert problem in line


def test_folder_is_no_key_of_the_file(job: Job, refused: Refused) -> None:
    folder = job(f'folder = "x"\n{FULL}')
    assert "study.toml: folder: unknown key 'folder'" in refused("check", folder)


@pytest.mark.parametrize("command", ["check", "create", "run", "worker"])
def test_every_command_refuses_a_bad_spec(job: Job, refused: Refused, command: str) -> None:
    assert "did you mean 'trials'?" in refused(command, job(budget={"trails": 3}))


@pytest.mark.parametrize(
    "text", ["name = ", "name = 'a'\nname = 'b'", "[budget", "name = learn\n", "x = 1e\n"]
)
def test_bad_toml_names_file_and_line(job: Job, refused: Refused, text: str) -> None:
    line = refused("check", job(text))
    assert "study.toml: not valid TOML: " in line
    assert "line" in line or "end of document" in line


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "latin-1", "utf-32"])
def test_a_study_toml_that_is_not_utf8(job: Job, refused: Refused, encoding: str) -> None:
    folder = job()
    text = "# größe\n" + (folder / "study.toml").read_text()
    (folder / "study.toml").write_bytes(text.encode(encoding))
    line = refused("check", folder)
    assert "study.toml: cannot be read: " in line and "as UTF-8" in line
    assert "codec" not in line


@pytest.mark.parametrize("command", ["check", "create", "run", "worker"])
def test_no_such_job(refused: Refused, command: str) -> None:
    line = refused(command, "nothere")
    assert "nothere" in line
    assert "study.toml" in line


def test_a_folder_without_a_study(refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "no study.toml" in refused("check", "empty")
