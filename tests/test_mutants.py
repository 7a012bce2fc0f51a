"""Each mutant of `make test-mutants` still breaks a line of the code, and names tests."""

from __future__ import annotations

import pytest

from tests import ROOT
from tests.mutants import MUTANTS, Mutant


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.guarantee)
def test_it_breaks_a_line_that_is_there_once(mutant: Mutant) -> None:
    """Otherwise it would be found only by whoever next tries all of them, which takes long."""
    broken = mutant.apply((ROOT / "hpo_job" / mutant.file).read_text(encoding="utf-8"))
    compile(broken, mutant.file, "exec")
    assert [name for name in mutant.tests.split() if not (ROOT / name).exists()] == []


def test_none_is_there_twice() -> None:
    assert len({mutant.guarantee for mutant in MUTANTS}) == len(MUTANTS)


def test_a_line_that_is_gone_is_an_error() -> None:
    mutant = Mutant("it works", "errors.py", "this line is gone", "", "tests")
    with pytest.raises(LookupError, match=r"it works: errors\.py no longer has its line once"):
        mutant.apply("pass\n")
