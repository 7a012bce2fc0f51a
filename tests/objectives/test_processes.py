"""How many processes read batches, where the shared memory is large, small or missing."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from hpo_job.objectives import processes
from hpo_job.objectives.processes import loader_processes
from tests.test_cpus import within

MIB = 2**20


@pytest.fixture(autouse=True)
def nothing_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_logged", set())


def test_on_a_cpu_the_trial_reads_its_batches_itself(tmp_path: Path) -> None:
    assert loader_processes(8, "cpu", MIB, tmp_path) == 0
    assert loader_processes(8, "mps", MIB, tmp_path) == 0


@pytest.mark.parametrize(("threads", "workers"), [(1, 1), (4, 4), (64, 8)])
def test_on_a_gpu_a_process_per_thread(tmp_path: Path, threads: int, workers: int) -> None:
    assert loader_processes(threads, "cuda", 1000, tmp_path) == workers


def test_without_shared_memory(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert loader_processes(4, "cuda", MIB, tmp_path / "nothere") == 0
    assert "nothere has 0 MiB free, and 4 loader processes need 18" in caplog.text


def test_it_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert loader_processes(4, "cuda", MIB, tmp_path / "nothere") == 0
    assert len(caplog.records) == 1


@pytest.mark.needs("mount")
def test_a_pods_64_mib() -> None:
    """The real /dev/shm, in a mount namespace where it is as small as a pod's."""
    code = (
        "import logging; logging.basicConfig(format='%(message)s', stream=__import__('sys').stdout)"
        "; from hpo_job.objectives.processes import loader_processes as workers"
        "; print(workers(4, 'cuda', 3 * 2**20), workers(4, 'cuda', 4 * 2**20))"
    )
    said, counts = within("mount -t tmpfs -o size=64m t /dev/shm", code).splitlines()
    assert counts == "4 0"
    assert said == (
        "/dev/shm has 64 MiB free, and 4 loader processes need 72: each trial reads its batches "
        "itself, which is slower; mount a memory-backed volume at /dev/shm (in a pod an "
        "emptyDir with medium: Memory)"
    )
