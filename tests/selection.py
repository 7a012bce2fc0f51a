"""Which tests run together, which are quick, and which try Optuna; decided by marks, in one place.

`make test` runs all of them, in parallel processes. `make test-quick` runs those that take no
server, no program, no other Python process and no torch; ``pytest --quick`` holds them to it.
"""

from __future__ import annotations

import multiprocessing.process
import subprocess
import sys
from pathlib import Path
from typing import Any, NoReturn

import pytest

from tests import needs

NOT_QUICK = ("fastai", "needs", "processes", "slow")
SERVERS = ("mysql", "postgres")  # one of each for all the tests of a process
ON_OPTUNA = ("results", "storage", "study", "trial", "worker")  # folders of packages that use it


def mark(item: pytest.Item) -> None:
    """Add the marks that follow from what a test needs and from its folder."""
    needs.mark(item)
    folders = item.path.parts
    if "objectives" in folders:
        item.add_marker("fastai")
    if any(folder in folders for folder in ON_OPTUNA):
        item.add_marker("optuna")
    item.add_marker(pytest.mark.xdist_group(_group(item)))


def _group(item: pytest.Item) -> str:
    """What the test shares with others that is dear, so that they run in one process."""
    if item.get_closest_marker("fastai"):
        return "fastai"
    shared = [need for need in needs.of_item(item) if need in SERVERS]
    return shared[0] if shared else item.nodeid.partition("::")[0]


def is_quick(item: pytest.Item) -> bool:
    """Whether it takes nothing that takes long."""
    return not any(item.get_closest_marker(name) for name in NOT_QUICK)


def hold_to_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail a test of ``--quick`` that starts a Python process."""
    popen = subprocess.Popen.__init__

    def start(self: Any, args: Any, *more: Any, **options: Any) -> None:
        program = Path(str(args if isinstance(args, str | Path) else args[0])).name
        if program.startswith(("hpo-job", "python")):
            _refuse()
        popen(self, args, *more, **options)

    monkeypatch.setattr(subprocess.Popen, "__init__", start)
    monkeypatch.setattr(multiprocessing.process.BaseProcess, "start", lambda self: _refuse())


def check_quick() -> None:
    """Fail a test of ``--quick`` that has imported torch."""
    if "torch" in sys.modules:
        pytest.fail("not quick: it imports torch; mark it fastai, or import what needs torch later")


def _refuse() -> NoReturn:
    pytest.fail("not quick: it starts a Python process; mark it processes")
