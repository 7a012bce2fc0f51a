"""``--set budget.trials=20``: keys of study.toml that have another value for one command."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Sequence
from typing import Any

from hpo_job.errors import SpecError


def assign(table: dict[str, Any], assignments: Sequence[str]) -> None:
    """Set keys of the table of a study.toml, as lines of TOML such as ``budget.trials=20``.

    A plain word needs no quotes: ``metric=accuracy``. A table or a list is replaced whole.

    Raises:
        SpecError: one of them is not of this form, or sets a key below one that is not a table.
    """
    for text in assignments:
        path, value = parsed(text)
        below = table
        for position, key in enumerate(path[:-1], start=1):
            below = below.setdefault(key, {})
            if not isinstance(below, dict):
                parent = ".".join(path[:position])
                raise SpecError(f"--set {text}: {parent} is not a table in study.toml")
        below[path[-1]] = value


def parsed(text: str) -> tuple[list[str], Any]:
    """The keys that lead to a value, and the value.

    Raises:
        SpecError: ``text`` is not of the form KEY=VALUE.
    """
    key, equals, value = text.partition("=")
    path = list(_path(_toml(f"{key} = 0") or {}))
    if not (equals and value.strip() and path):
        raise SpecError(f"--set {text}: should be KEY=VALUE, such as budget.trials=20")
    read = _toml(f"value = {value}")
    if read is None and value.strip()[0] not in "{[\"'":
        read = {"value": value.strip()}
    if read is None or read.keys() != {"value"} or "\n" in text:
        raise SpecError(f"--set {text}: {value.strip()} is not a value of TOML")
    return path, read["value"]


def sets(text: str, key: str) -> bool:
    """Whether an assignment sets a dotted key, a table above it or a key below it."""
    path = ".".join(parsed(text)[0])
    return path == key or path.startswith(f"{key}.") or key.startswith(f"{path}.")


def _toml(text: str) -> dict[str, Any] | None:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return None


def _path(table: dict[str, Any]) -> Iterator[str]:
    """The keys of nested tables that have one key each."""
    below: Any = table
    while isinstance(below, dict) and len(below) == 1:
        ((key, below),) = below.items()
        yield key
