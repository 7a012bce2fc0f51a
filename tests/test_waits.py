"""No test sleeps and hopes: each call of sleep in the tests is listed here, and says what it is."""

from __future__ import annotations

import functools
import re

import pytest

from tests import ROOT

# By file below tests/: how many, and what they are. What a test waits for is an event: `wait_until`
ALLOWED = {
    "cluster/conftest.py": (1, "asyncio.sleep(0), which lets other tasks run"),
    "cluster/test_errors.py": (1, "how long an API server takes to answer"),
    "live_cluster/test_cluster.py": (2, "a trial that lasts; asks a cluster again, with a bound"),
    "quick.py": (1, "wait_until, which asks again, with a bound"),
    "release/begun/objective.py": (1, "a trial that lasts until it is killed"),
    "storage/mysql/fleet.py": (1, "a trial that lasts"),
    "storage/mysql/proxy.py": (1, "the delay of a slow network"),
    "storage/mysql/server.py": (1, "asks the server again, with a bound"),
    "storage/mysql/test_exclusive.py": (1, "time inside of a lock, for others to come in"),
    "storage/mysql/test_faults.py": (1, "how long a server is away"),
    "storage/mysql/test_fleet.py": (1, "how long a server is away"),
    "storage/pods.py": (2, "trials that last, one of them until a file is there"),
    "storage/postgres.py": (1, "asks the server again, with a bound"),
    "storage/test_database.py": (1, "time inside of a lock, for others to come in"),
    "storage/test_faults.py": (1, "how long a server is away"),
    "storage/test_upgrade.py": (1, "a trial that lasts"),
    "study/test_successor.py": (1, "a trial that lasts"),
    "worker/test_disk.py": (2, "a trial that goes on until its disk is full; one that lasts"),
    "worker/test_fork_server.py": (2, "trials that last, one of them until a file is there"),
    "worker/test_gpus.py": (1, "a trial that lasts until a file is there"),
    "worker/test_pod.py": (1, "an import that lasts until it is killed"),
    "worker/test_lr_find.py": (1, "the pace of another machine's heartbeats"),
    "worker/test_processes.py": (1, "a trial that lasts until a file is there"),
    "worker/test_saving.py": (2, "a random moment in a save; a trial that lasts"),
    "worker/test_signals.py": (9, "trials and a forked loader that last until a signal ends them"),
    "worker/test_trial_log.py": (1, "a trial that lasts until it is killed"),
}
SLEEP = re.compile(r"(?<!def )\bsleep\(")  # not where a test replaces it by a function


@functools.cache
def calls() -> dict[str, int]:
    """How often each file of the tests calls sleep, in the source of objectives too."""
    tests = ROOT / "tests"
    counts = {
        str(file.relative_to(tests)): len(SLEEP.findall(file.read_text(encoding="utf-8")))
        for file in tests.rglob("*.py")
    }
    return {name: count for name, count in counts.items() if count}


@pytest.mark.parametrize("name", sorted({*ALLOWED, *calls()} - {"test_waits.py"}))
def test_nothing_sleeps_and_hopes(name: str) -> None:
    allowed, _ = ALLOWED.get(name, (0, ""))
    assert calls().get(name, 0) == allowed, (
        f"tests/{name}: wait for an event with tests.quick.wait_until; a sleep that is the work "
        "itself is listed in tests/test_waits.py"
    )
