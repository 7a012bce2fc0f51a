"""The CPUs of a container's limit, in a mount namespace with the files that a limit shows up as."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from hpo_job.machine import cpus

LOOK = "from hpo_job.machine import cpus; print(cpus())"
FILES = {
    "version 2": {"cpu.max": "{quota} 100000"},
    "version 1": {"cpu/cpu.cfs_quota_us": "{quota}", "cpu/cpu.cfs_period_us": "100000"},
}


def within(script: str, code: str) -> str:
    """What a Python process prints after ``script``, in a mount namespace of its own."""
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-ec", f'{script}\nexec "$0" -c "$1"', sys.executable, code],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def limited(version: str, quota: str) -> int:
    files = [
        f"mkdir -p $(dirname /sys/fs/cgroup/{name}); "
        f"echo '{text.format(quota=quota)}' > /sys/fs/cgroup/{name}"
        for name, text in FILES[version].items()
    ]
    return int(within("\n".join(["mount -t tmpfs t /sys/fs/cgroup", *files]), LOOK))


@pytest.mark.needs("mount")
@pytest.mark.parametrize("version", FILES)
def test_a_containers_limit(version: str) -> None:
    assert limited(version, "100000") == 1


@pytest.mark.needs("mount")
@pytest.mark.parametrize("version", FILES)
def test_a_limit_below_one_cpu_is_one(version: str) -> None:
    assert limited(version, "20000") == 1


@pytest.mark.needs("mount")
@pytest.mark.needs("two-cpus")
@pytest.mark.parametrize("version", FILES)
def test_a_limit_is_rounded_up(version: str) -> None:
    assert limited(version, "150000") == 2


@pytest.mark.needs("mount")
@pytest.mark.parametrize(("version", "none"), [("version 2", "max"), ("version 1", "-1")])
def test_without_a_limit_they_are_the_machines(version: str, none: str) -> None:
    assert limited(version, none) == len(os.sched_getaffinity(0))


@pytest.mark.processes
def test_those_the_process_is_bound_to() -> None:
    bound = {min(os.sched_getaffinity(0))}
    done = subprocess.run(
        [sys.executable, "-c", f"import os; os.sched_setaffinity(0, {bound}); {LOOK}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "1"


def test_there_is_always_one() -> None:
    assert cpus() >= 1
