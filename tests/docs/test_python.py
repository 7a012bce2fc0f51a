"""docs/python.md lists what there is, with the arguments that it has."""

from __future__ import annotations

import dataclasses
import inspect
import re

import pytest

import hpo_job
from hpo_job import errors
from hpo_job.notebook import Results
from hpo_job.objectives.context import Context
from tests import ROOT

PAGE = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
OWN = (ROOT / "docs" / "own-function.md").read_text(encoding="utf-8")


def listed(heading: str, page: str = PAGE) -> dict[str, str | None]:
    """The names in the table below ``heading``, with their arguments; None for an attribute."""
    table = page.partition(f"| `{heading}.` |")[2].partition("\n\n")[0]
    first = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    calls = re.findall(r"`(\w+)(?:\((.*?)\))?`", "\n".join(first))
    texts = "\n".join(first)
    return {name: args if f"`{name}(" in texts else None for name, args in calls}


RESULTS = listed("maps")
CONTEXT = listed("context")


def test_the_tables_are_read() -> None:
    assert RESULTS["study"] is None
    assert RESULTS["best"] == "count"
    assert {"report", "save", "resume", "params"} <= CONTEXT.keys()


@pytest.mark.parametrize(
    ("kind", "names"), [(Results, RESULTS), (Context, CONTEXT)], ids=["load", "context"]
)
def test_what_is_listed_exists_with_these_arguments(
    kind: type, names: dict[str, str | None]
) -> None:
    fields = {"study"}
    if dataclasses.is_dataclass(kind):
        fields = {field.name for field in dataclasses.fields(kind)}
    for name, arguments in names.items():
        if arguments is None or name in fields:
            assert name in fields or hasattr(kind, name), name
            continue
        parameters = list(inspect.signature(getattr(kind, name)).parameters)[1:]
        wanted = [each.partition("=")[0].strip("* ") for each in arguments.split(",") if each]
        assert parameters[: len(wanted)] == wanted, name


def test_all_that_a_notebook_has_is_listed() -> None:
    public = {name for name in vars(Results) if not name.startswith("_")} | {"study"}
    assert public == RESULTS.keys()


def test_what_a_function_is_shown_is_stable() -> None:
    assert listed("context", OWN).keys() <= CONTEXT.keys()


def test_what_the_page_names_besides_exists() -> None:
    for name in re.findall(r"`hpo_job\.([\w.]+)`", PAGE):
        place: object = hpo_job
        for part in name.split("."):
            place = getattr(place, part)
    assert all(
        isinstance(kind.exit_code, int)
        for kind in vars(errors).values()
        if inspect.isclass(kind) and issubclass(kind, errors.HpoJobError)
    )
