"""No constant is written twice: what two modules need stands in one of them, and is imported."""

from __future__ import annotations

import ast
from collections import defaultdict

import pytest

from tests import ROOT
from tests.sources import parsed

# By name: modules that happen to call a different thing so, and why the values may differ one day
ALLOWED = {
    "EVERY": {"worker/disk.py", "worker/liveness.py"},  # each watches something else
    "FEW": {"data/kinds.py", "results/importance.py"},  # values of a category; trials
    "FEWEST": {"data/amounts.py", "objectives/tabular/model.py"},  # words; rows
    "FORMAT": {  # each of its own files
        "data/image_looks.py",
        "objectives/images/cache.py",
        "objectives/tabular/prepared.py",
    },
    "HURRY": {"worker/saving.py", "worker/trial_log.py"},  # each waits for its own upload
    "LONGEST": {"objectives/predictions.py", "results/query.py"},  # a text; an expression
    "LOOK": {"cluster/logs.py", "cluster/server.py"},  # at other pods
    "LOOKED_AT": {"data/english.py", "data/scripts.py"},  # for another share
    "LR_FIND": {"objectives/__init__.py", "trial/attributes.py"},  # a value; an attribute's name
    "NAMED": {  # files; groups of names; places; modules; columns; labels
        "data/folder.py",
        "data/labels.py",
        "data/table_findings.py",
        "results/people.py",
        "spec/label_baselines.py",
        "study/source_files.py",
    },
    "SAMPLED": {"cli/proposal/study.py", "data/image_looks.py"},  # sizes; ranges of values
    "VERSION": {"data/image_file.py", "trial/checkpoint_file.py"},  # of how each is read
}


def constants() -> dict[tuple[str, str], set[str]]:
    """The modules that assign a constant, by its name and the source of its value."""
    places: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for file in (ROOT / "hpo_job").rglob("*.py"):
        for node in parsed(file).body:
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", 0)]
            for target in targets:
                if isinstance(target, ast.Name) and target.id.isupper() and len(target.id) > 1:
                    value = ast.unparse(getattr(node, "value", None) or ast.Constant(None))
                    places[target.id, value].add(str(file.relative_to(ROOT / "hpo_job")))
    return places


TWICE: defaultdict[str, set[str]] = defaultdict(set)
for (_name, _), _places in constants().items():
    if len(_places) > 1:
        TWICE[_name] |= _places


@pytest.mark.parametrize("name", sorted({*TWICE, *ALLOWED}))
def test_a_constant_is_written_once(name: str) -> None:
    assert TWICE.get(name, set()) == ALLOWED.get(name, set()), (
        f"{name}: import it from one module, or say in {__name__} why these are different things"
    )


@pytest.mark.parametrize("value", ["sqlite:///.hpo/studies.db", ".hpo/cache", ".hpo/weights"])
def test_a_default_place_is_written_once(value: str) -> None:
    named = [name for (name, source), places in constants().items() if value in source]
    assert len(named) == 1
