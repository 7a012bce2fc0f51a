"""Which tests run together, which are quick, and which try Optuna; decided by marks, in one place.

`make test` runs all of them, in parallel processes. `make test-quick` runs those that take no
server, no program, no other Python process, no torch and no whole study. A test that has none of
these marks and starts a Python process or imports torch fails, in every run.
"""

from __future__ import annotations

import multiprocessing.process
import subprocess
import sys
from pathlib import Path
from typing import Any, NoReturn

import pytest

from tests import ROOT, needs

NOT_QUICK = ("fastai", "needs", "processes", "slow", "studies")
SERVERS = ("mysql", "mariadb", "postgres")
ON_TORCH = ("gpu", "objectives")  # folders whose modules import torch
ON_OPTUNA = ("results", "storage", "study", "trial", "worker")  # folders of packages that use it


def mark(item: pytest.Item) -> None:
    """Add the marks that follow from what a test needs and from its folder."""
    needs.mark(item)
    folders = item.path.parts
    if imports_torch(item.path):
        item.add_marker("fastai")
    if any(folder in folders for folder in ON_OPTUNA):
        item.add_marker("optuna")
    item.add_marker(pytest.mark.xdist_group(_group(item)))


def _group(item: pytest.Item) -> str:
    """What the test shares with others that is dear, so that they run in one process."""
    if item.get_closest_marker("fastai"):
        return "fastai"
    # One server for all of them. They fork workers too, which is dear once fastai is imported
    if any(need in SERVERS for need in needs.of_item(item)):
        return "servers"
    return item.nodeid.partition("::")[0]


def imports_torch(path: Path) -> bool:
    """Whether this is a folder of tests that import torch, or in one."""
    return any(folder in ON_TORCH for folder in path.relative_to(ROOT / "tests").parts)


def is_quick(item: pytest.Item) -> bool:
    """Whether it takes nothing that takes long."""
    return not any(item.get_closest_marker(name) for name in NOT_QUICK)


class _NoTorch:
    """Refuses to find torch while it ``holds``: first in ``sys.meta_path``.

    It stays there. If the list were replaced for a test, the finders that a package adds when that
    test imports it would be lost for all later tests.
    """

    holds = False

    @classmethod
    def find_spec(cls, name: str, *_: object) -> None:
        if cls.holds and name == "torch":
            _refuse("imports torch; mark it fastai")


def hold_to_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail a test that counts as quick and imports torch or starts a Python process."""
    monkeypatch.setattr(_NoTorch, "holds", True)
    if _NoTorch not in sys.meta_path:
        sys.meta_path.insert(0, _NoTorch)
    popen = subprocess.Popen.__init__

    def start(self: Any, args: Any, *more: Any, **options: Any) -> None:
        program = Path(str(args if isinstance(args, str | Path) else args[0])).name
        if program.startswith(("hpo-job", "python")):
            _refuse("starts a Python process; mark it processes")
        popen(self, args, *more, **options)

    monkeypatch.setattr(subprocess.Popen, "__init__", start)
    monkeypatch.setattr(multiprocessing.process.BaseProcess, "start", _start_no_process)


def _start_no_process(self: object) -> NoReturn:
    _refuse("starts a Python process; mark it processes")


def _refuse(why: str) -> NoReturn:
    pytest.fail(f"not quick: it {why}")
