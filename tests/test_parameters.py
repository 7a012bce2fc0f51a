"""A parameter of a shipped objective is used, and a test tries it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hpo_job.objectives import SHIPPED
from hpo_job.objectives.parameters import Parameters
from tests import ROOT


def _words(folder: Path) -> set[str]:
    """The names in the Python files of a folder, but for the file that declares parameters."""
    files = (file for file in folder.rglob("*.py") if file.name != "parameters.py")
    return set(re.findall(r"\w+", "".join(file.read_text(encoding="utf-8") for file in files)))


@pytest.mark.parametrize("parameters", SHIPPED.values(), ids=SHIPPED)
def test_none_is_without_use_or_test(parameters: type[Parameters]) -> None:
    for folder in ("hpo_job/objectives", "tests/objectives"):
        words = _words(ROOT / folder)
        assert [name for name in parameters.model_fields if name not in words] == [], folder
