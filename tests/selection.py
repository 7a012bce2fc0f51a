"""Which tests run together, which are quick, and which try Optuna; decided by marks, in one place.

`make test` runs all of them, in parallel processes. `make test-quick` runs those that take no
server, no program, no other process, no torch and no whole study. A test that has none of
these marks and starts a Python process or a web server, or imports torch, fails in every run.
"""

from __future__ import annotations

import multiprocessing.process
import re
import socket
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any, NoReturn

import pytest

from tests import ROOT, needs

NOT_QUICK = ("fastai", "needs", "processes", "slow", "studies", "web")
# What a file says of all its tests, up to the end of that statement
MARKS_OF_FILE = re.compile(r"^pytestmark = (?:\[\n.*?^\]|[^\n]+)$", re.MULTILINE | re.DOTALL)
ON_WEB = ("api", "bucket", "echo", "s3", "server", "serving")  # fixtures that start a web server
ON_TORCH = ("gpu", "objectives")  # folders whose modules import torch
ON_KUBECTL = ("manifests",)  # folders of tests that render manifests
ON_OPTUNA = ("results", "storage", "study", "trial", "worker")  # folders of packages that use it


def mark(item: pytest.Item) -> None:
    """Add the marks that follow from what a test needs and from its folder."""
    needs.mark(item)
    folders = item.path.parts
    if imports_torch(item.path):
        item.add_marker("fastai")
    if any(folder in folders for folder in ON_KUBECTL):
        item.add_marker("processes")
    if any(fixture in ON_WEB for fixture in getattr(item, "fixturenames", ())):
        item.add_marker("web")
    if any(folder in folders for folder in ON_OPTUNA):
        item.add_marker("optuna")


def longest_first(items: list[pytest.Item]) -> list[pytest.Item]:
    """The tests by files: those that wait for servers and processes, then torch, then the others.

    `make test` runs each file in one of two processes, so that its tests share what its fixtures
    make. The quick files come last, and fill up the end. Workers are forked from a process that
    has not imported torch yet, where possible: forking is dear afterwards.
    """
    marks: defaultdict[Path, set[str]] = defaultdict(set)
    for item in items:
        marks[item.path] |= {name for name in NOT_QUICK if item.get_closest_marker(name)}

    def rank(item: pytest.Item) -> int:
        of_file = marks[item.path]
        if "fastai" in of_file:
            return 1
        if of_file & {"needs", "processes", "slow"}:
            return 0
        return 2 if of_file else 3

    return sorted(items, key=rank)


def imports_torch(path: Path) -> bool:
    """Whether this is a folder of tests that import torch, or in one."""
    return any(folder in ON_TORCH for folder in path.relative_to(ROOT / "tests").parts)


def is_never_quick(path: Path) -> bool:
    """Whether no test in this file is quick, so that a quick run need not import it."""
    if imports_torch(path):
        return True
    if not path.name.startswith("test_") or path.suffix != ".py":
        return False
    marks = " ".join(MARKS_OF_FILE.findall(path.read_text(encoding="utf-8")))
    return any(re.search(rf"\bpytest\.mark\.{name}\b", marks) for name in NOT_QUICK)


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


def hold_to_quick(monkeypatch: pytest.MonkeyPatch) -> list[socket.socket]:
    """Fail a test that counts as quick and imports torch or starts a process.

    Returns:
        The sockets that it listens at, to which more are added: see `require_no_server`.
    """
    monkeypatch.setattr(_NoTorch, "holds", True)
    if _NoTorch not in sys.meta_path:
        sys.meta_path.insert(0, _NoTorch)
    popen = subprocess.Popen.__init__

    def start(self: Any, args: Any, *more: Any, **options: Any) -> None:
        program = Path(str(args if isinstance(args, str | Path) else args[0])).name
        if program.startswith(("hpo-job", "kubectl", "python")):
            _refuse(f"starts {program}; mark it processes")
        popen(self, args, *more, **options)

    monkeypatch.setattr(subprocess.Popen, "__init__", start)
    listened: list[socket.socket] = []
    listen = socket.socket.listen

    def note(self: socket.socket, *backlog: int) -> None:
        listened.append(self)  # perhaps in a thread, where an error would be overlooked
        listen(self, *backlog)

    monkeypatch.setattr(socket.socket, "listen", note)
    monkeypatch.setattr(multiprocessing.process.BaseProcess, "start", _start_no_process)
    return listened


def require_no_server(listened: list[socket.socket]) -> None:
    """Fail a test that counts as quick and has started a server."""
    if listened:
        _refuse("starts a server; mark it web")


def _start_no_process(self: object) -> NoReturn:
    _refuse("starts a Python process; mark it processes")


def _refuse(why: str) -> NoReturn:
    pytest.fail(f"not quick: it {why}")
