"""Reading study.toml: found, parsed, checked once; every problem is one line with its key."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from hpo_job.errors import SpecError, problem, unknown
from hpo_job.machine import read_text
from hpo_job.spec import combinations
from hpo_job.spec.assignments import assign, sets
from hpo_job.spec.search_space import KINDS
from hpo_job.spec.study_toml import (
    SPEC_FILE,
    UNWRITTEN,
    Artifacts,
    Budget,
    Checkpoint,
    Data,
    StudySpec,
)

# pydantic's messages that name Python's types, in TOML's words
_PLAIN = {
    "model_type": "should be a table",
    "dict_type": "should be a table",
    "tuple_type": "should be a list",
    "too_short": "should not be empty",
}


def read_spec(job: str | Path, assignments: Sequence[str] = ()) -> StudySpec:
    """Read the study.toml of a job folder.

    Only the file itself is checked: whether the objective, the data and the names in it exist is
    checked by `hpo_job.study.checking.check`.

    Args:
        job: the folder, or its name under jobs/.
        assignments: keys with another value than the file has, such as ``budget.trials=20``.

    Raises:
        SpecError: it names the file, or --set, and the key.
    """
    folder = job_folder(job)
    file = folder / SPEC_FILE
    try:
        text = read_text(file)
    except (OSError, ValueError) as error:
        raise SpecError(f"{file}: cannot be read: {problem(error)}") from error
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SpecError(f"{file}: not valid TOML: {error}") from error
    assign(table, assignments)
    for key in UNWRITTEN & table.keys():
        raise SpecError(f"{file}: {key}: {unknown('key', key, _keys(StudySpec))}")
    unwritten = {"folder": folder, "assignments": tuple(assignments)}
    try:
        spec = StudySpec.model_validate({**table, **unwritten})
    except ValidationError as error:
        line = _one_line(error, table)
        key = line.partition(":")[0]
        at_fault = [f"--set {each}" for each in assignments if sets(each, key)] or [str(file)]
        raise SpecError(f"{at_fault[-1]}: {line}") from error
    if spec.metric is not None and len(spec.metrics) != len(spec.directions):
        raise spec.error(
            "direction",
            f"{len(spec.directions)} for {len(spec.metrics)} metrics; give one for each",
        )
    spec = _with_all_combinations(spec)
    _require_end(spec)
    return spec


def job_folder(job: str | Path) -> Path:
    """The folder of ``job``: itself, or under jobs/.

    Raises:
        SpecError: there is none with a study.toml.
    """
    if folder := find_job(job):
        return folder
    also = "" if Path(job).is_absolute() else f", nor in jobs/{job}"
    raise SpecError(f"{job}: no {SPEC_FILE} in it{also}; name a job folder")


def find_job(job: str | Path) -> Path | None:
    """Like `job_folder`, but None if there is none."""
    folders = (Path(job), Path("jobs") / job)
    return next((folder for folder in folders if (folder / SPEC_FILE).is_file()), None)


def _with_all_combinations(spec: StudySpec) -> StudySpec:
    """With a sampler that tries every combination, the budget need not say how many there are."""
    sampler = spec.sampler
    if sampler.name not in combinations.EXHAUSTIVE:
        return spec
    lists = sampler.options.get("search_space", {})
    if problem := combinations.problem(spec.search_space, lists):
        parameter, text = problem
        if parameter is not None:
            raise spec.error(f"sampler.search_space.{parameter}", text)
        raise spec.error("sampler.name", f"{sampler.name} {text}")
    if spec.budget.trials is not None:
        return spec
    trials = combinations.count(spec.search_space, lists)
    return spec.model_copy(update={"budget": spec.budget.model_copy(update={"trials": trials})})


def _require_end(spec: StudySpec) -> None:
    budget = spec.budget
    if budget.trials is None and budget.timeout is None and budget.patience is None:
        text = "set trials, timeout or patience; without any the study never ends"
        raise spec.error("budget", text)
    if budget.patience is not None and len(spec.directions) > 1:
        text = (
            f"an improvement is defined for one metric, and this study has {len(spec.directions)}; "
            "remove patience, and set trials or timeout"
        )
        raise spec.error("budget.patience", text)
    if budget.min_delta and budget.patience is None:
        raise spec.error("budget.min_delta", "it belongs to patience, which is missing; set it too")


def _one_line(error: ValidationError, table: Mapping[str, Any]) -> str:
    """The most telling of pydantic's problems, as ``key: problem``."""
    # an unknown key explains why another is missing, and both explain the rest
    order = {"extra_forbidden": 0, "missing": 1}
    first = min(error.errors(), key=lambda problem: order.get(problem["type"], 2))
    keys = _path(first["loc"], table)
    if first["type"] == "missing":
        return f"{'.'.join((*keys, str(first['loc'][-1])))}: missing"
    where = ".".join(keys)
    if first["type"] == "extra_forbidden":
        return f"{where}: {unknown('key', keys[-1], _keys_at(keys[:-1], table))}"
    message = _PLAIN.get(first["type"], first["msg"].removeprefix("Value error, "))
    message = message[0].lower() + message[1:]
    if first["type"] in ("value_error", "parameter_kind"):
        return f"{where}: {message}"
    return f"{where}: {message}, found {first['input']!r}"


def _path(location: tuple[int | str, ...], table: Any) -> tuple[str, ...]:
    """``location`` as keys of study.toml: without the members of unions that pydantic inserts."""
    keys: list[str] = []
    for step in location:
        if isinstance(table, Mapping | list) and (step in table or isinstance(step, int)):
            table = table[step]  # type: ignore[index]
            keys.append(str(step))
    return tuple(keys)


def _keys_at(parents: tuple[str, ...], table: Mapping[str, Any]) -> list[str]:
    """The keys that the table at ``parents`` may have."""
    match parents:
        case ():
            return _keys(StudySpec)
        case ("budget",):
            return _keys(Budget)
        case ("data",):
            return _keys(Data)
        case ("artifacts",):
            return _keys(Artifacts)
        case ("checkpoint",):
            return _keys(Checkpoint)
        case ("search_space", name):
            return _keys(KINDS[table["search_space"][name]["type"]])
        case _:
            return []


def _keys(model: type[BaseModel]) -> list[str]:
    return [name for name in model.model_fields if name not in UNWRITTEN]
