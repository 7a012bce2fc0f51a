"""Several workers in one pod, through the real command: `[cluster] workers_per_gpu`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hpo_job.machine import VISIBLE
from hpo_job.trial import attributes
from hpo_job.worker.liveness import FOLDER, forget
from tests.quick import Quick, command, wait_until
from tests.worker.test_gpus import REPORTS
from tests.worker.test_processes import HELD, descendants

pytestmark = pytest.mark.processes
TWO = "[cluster]\nworkers_per_gpu = 2\n"


@pytest.fixture
def start(tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    """Runs the worker command of a job, as the pod of an Indexed Job does."""

    def run(quick: Quick, *options: str, **variables: str) -> subprocess.Popen[str]:
        pod = {
            "HPO_JOB_OWNER": "uid-1",
            "HPO_JOB_INDEX": "3",
            "HPO_JOB_POD": "quick-worker-3-abcde",
            "HPO_JOB_THREADS": "5",
            FOLDER: str(tmp_path / "progress"),
            VISIBLE: "",
            **variables,
        }
        place = ("--no-wait", "--storage", quick.url)
        return command("worker", quick.job, *place, *options, env=pod)

    return run


def waits_or_listens(process: int) -> bool:
    """Whether a SIGTERM would not end a process at once, nor be lost."""
    text = Path(f"/proc/{process}/status").read_text()
    lines = dict(line.split(":\t") for line in text.splitlines() if ":\t" in line)
    number = 1 << (signal.SIGTERM - 1)
    return any(int(lines[name], 16) & number for name in ("SigBlk", "SigCgt"))


def held(quick: Quick, *numbers: int) -> list[int]:
    """The processes of these trials, once all of them run."""
    files = [quick.job / f"running-{number}" for number in numbers]
    wait_until(lambda: all(file.exists() and file.read_text() for file in files))
    return [int(file.read_text()) for file in files]


def noting(source: str, name: str, value: str) -> str:
    """A function whose trials store what ``value`` is in the worker, as an attribute."""
    return source.replace("    return", f'    trial.set_user_attr("{name}", {value})\n    return')


def test_they_share_the_pod_and_end_with_the_budget(
    tmp_path: Path, start: Callable[..., subprocess.Popen[str]]
) -> None:
    source = noting(HELD, "threads", "context.threads")
    quick = Quick(tmp_path, source, budget="trials = 4", more=TWO)
    pod = start(quick)
    first, second = held(quick, 0, 1)
    assert first != second
    assert pod.pid not in (first, second)
    files = {file.name for file in (tmp_path / "progress").iterdir()}
    assert files == {str(first), str(second)}  # what the liveness probe looks at
    (quick.job / "go").touch()
    output, errors = pod.communicate(timeout=120)
    assert (pod.returncode, output) == (0, "")
    (first_line,) = [line for line in errors.splitlines() if "of study quick" in line]
    assert first_line.startswith("hpo-job: 2 workers of study quick: ")
    assert ", 2 threads each, index 3 on node" in first_line
    assert "index 3 on node" in errors
    assert quick.states() == {"COMPLETE": 4}
    for trial in quick.study.trials:
        worker = trial.user_attrs[attributes.WORKER]
        assert (worker["owner"], worker["index"]) == ("uid-1", "3")
        assert worker["pod"] == trial.user_attrs[attributes.POD] == "quick-worker-3-abcde"
        assert trial.user_attrs["threads"] == 2  # of the pod's five
    assert not list((tmp_path / "progress").iterdir())


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_sigterm_to_the_pod_ends_them_all(
    tmp_path: Path, start: Callable[..., subprocess.Popen[str]], method: str
) -> None:
    quick = Quick(tmp_path, HELD, budget="trials = 9", more=TWO)
    pod = start(quick, HPO_JOB_WORKER_START=method)
    held(quick, 0, 1)
    pod.terminate()
    _, errors = pod.communicate(timeout=60)
    assert pod.returncode == 143
    assert "Traceback" not in errors
    assert quick.states() == {"FAIL": 2, "WAITING": 2}
    reasons = {trial.user_attrs.get(attributes.REASON) for trial in quick.study.trials[:2]}
    assert reasons == {"preempted"}


def test_sigterm_while_the_data_is_read_ends_the_pod_too(
    tmp_path: Path, start: Callable[..., subprocess.Popen[str]]
) -> None:
    quick = Quick(tmp_path, more=TWO)
    checking = quick.job / "checking"
    (quick.job / "objective.py").write_text(
        f"import time\nfrom pathlib import Path\nPath({str(checking)!r}).touch()\ntime.sleep(600)\n"
    )
    pod = start(quick)
    wait_until(checking.exists)
    assert list((tmp_path / "progress").iterdir())  # it may take longer than the probe waits
    pod.terminate()
    _, errors = pod.communicate(timeout=60)
    assert (pod.returncode, "Traceback" in errors) == (143, False)
    assert quick.states() == {}


def test_a_killed_one_is_replaced_and_leaves_the_other_alone(
    tmp_path: Path, start: Callable[..., subprocess.Popen[str]]
) -> None:
    """Its trial runs again at once, whatever the grace; the other one's is not taken for lost."""
    quick = Quick(tmp_path, HELD, budget="trials = 3", more=TWO, grace=3600)
    pod = start(quick, "--grace", "3600")
    killed, _ = held(quick, 0, 1)
    os.kill(killed, signal.SIGKILL)
    held(quick, 2)
    files = {file.name for file in (tmp_path / "progress").iterdir()}
    assert len(files) == 2
    assert str(killed) not in files
    (quick.job / "go").touch()
    _, errors = pod.communicate(timeout=120)
    assert pod.returncode == 0
    assert f"worker {killed} was killed (SIGKILL); another takes its place" in errors
    assert quick.states() == {"COMPLETE": 3, "FAIL": 1}
    assert quick.study.trials[2].user_attrs[attributes.RETRY_OF] == 0


def test_the_next_pod_of_the_index_takes_back_all_their_trials(
    tmp_path: Path, start: Callable[..., subprocess.Popen[str]]
) -> None:
    quick = Quick(tmp_path, HELD, budget="trials = 2", more=TWO, grace=3600)
    pod = start(quick, "--grace", "3600")
    held(quick, 0, 1)
    below = descendants(pod.pid)
    pod.kill()  # out of memory: the kernel kills all processes of the container
    for process in below:
        os.kill(process, signal.SIGKILL)
    pod.communicate(timeout=60)
    assert quick.states() == {"RUNNING": 2}
    (quick.job / "go").touch()
    after = start(quick, "--grace", "3600", HPO_JOB_POD="quick-worker-3-fghij")
    after.communicate(timeout=120)
    assert after.returncode == 0
    assert quick.states() == {"COMPLETE": 2, "FAIL": 2}
    assert {trial.user_attrs.get(attributes.RETRY_OF) for trial in quick.study.trials[2:]} == {0, 1}


def test_the_exit_code_says_whether_a_retry_can_help(
    tmp_path: Path, start: Callable[..., subprocess.Popen[str]]
) -> None:
    fails = "def train(trial, context):\n    raise OSError('disk is on fire')"
    quick = Quick(tmp_path / "fails", fails, budget="trials = 9\nfailures = 2", more=TWO)
    pod = start(quick)
    assert "2 trials in a row failed" in pod.communicate(timeout=120)[1]
    assert pod.returncode == 1
    wrong = Quick(tmp_path / "wrong", more=TWO)
    (wrong.job / "objective.py").write_text("def train(trial):\n    return 0\n")
    pod = start(wrong)
    (line,) = pod.communicate(timeout=120)[1].splitlines()
    assert "train cannot be called as train(trial, context)" in line
    assert pod.returncode == 2


def test_an_eviction_of_a_full_disk_counts_as_a_failure(
    tmp_path: Path, start: Callable[..., subprocess.Popen[str]]
) -> None:
    quick = Quick(tmp_path, HELD, more=TWO)
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "large").write_bytes(b"x" * 8192)
    pod = start(quick, HPO_JOB_DISK=f"{tmp_path / 'cache'}=4Ki")
    held(quick, 0, 1)
    pod.terminate()
    _, errors = pod.communicate(timeout=60)
    assert pod.returncode == 1
    assert "the disk of this pod is full: " in errors.splitlines()[-1]


def test_each_gpu_of_the_pod_has_as_many(
    tmp_path: Path, start: Callable[..., subprocess.Popen[str]]
) -> None:
    """Simulated: what CUDA_VISIBLE_DEVICES of each worker says, and its part of the memory."""
    source = noting(REPORTS, "share", "context.gpu_share")
    quick = Quick(tmp_path, source, budget="trials = 4", more=TWO)
    (quick.job / "workers").write_text("4")
    pod = start(quick, **{VISIBLE: "0,GPU-1a2b"})
    _, errors = pod.communicate(timeout=120)
    assert pod.returncode == 0, errors
    seen = sorted(trial.user_attrs["seen"] for trial in quick.study.trials)
    assert seen == sorted([[gpu, "PCI_BUS_ID"] for gpu in ("0", "GPU-1a2b") for _ in range(2)])
    assert {trial.user_attrs["share"] for trial in quick.study.trials} == {0.5}


@pytest.mark.parametrize(("more", "owner"), [(TWO, ""), ("", "uid-1")])
def test_elsewhere_or_without_the_key_it_is_one(
    tmp_path: Path, start: Callable[..., subprocess.Popen[str]], more: str, owner: str
) -> None:
    """In the process itself, with all threads and GPUs."""
    quick = Quick(tmp_path, HELD, budget="trials = 1", more=more)
    (quick.job / "go").touch()
    worker = start(quick, HPO_JOB_OWNER=owner, **{VISIBLE: "0,1"})
    worker.communicate(timeout=120)
    assert worker.returncode == 0
    assert (quick.job / "running-0").read_text() == str(worker.pid)


def test_a_signal_before_a_worker_listens_is_not_lost(
    tmp_path: Path, start: Callable[..., subprocess.Popen[str]]
) -> None:
    """As the first process of a container, it would ignore one that it has no handler for."""
    quick = Quick(tmp_path, HELD, budget="trials = 1")
    worker = start(quick)
    wait_until(lambda: waits_or_listens(worker.pid))
    worker.terminate()
    _, errors = worker.communicate(timeout=60)
    assert (worker.returncode, "Traceback" in errors) == (143, False)
    assert "COMPLETE" not in quick.states()


def test_the_file_of_a_worker_that_nobody_replaces_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would get old, and the probe would kill the others with it."""
    forget(7)  # nobody looks
    monkeypatch.setenv(FOLDER, str(tmp_path))
    forget(7)
    (tmp_path / "7").touch()
    forget(7)
    assert not list(tmp_path.iterdir())


@pytest.mark.needs("mount")
@pytest.mark.parametrize("more", ["", TWO])
def test_the_first_process_of_a_container_hears_a_signal_from_its_start_on(
    tmp_path: Path, more: str
) -> None:
    """The kernel drops what such a process has no handler for; it comes while the URL is read."""
    quick = Quick(tmp_path, HELD, budget="trials = 9", more=more)
    program, url = Path(sys.executable).with_name("hpo-job"), tmp_path / "url"
    os.mkfifo(url)
    pod = {"HPO_JOB_OWNER": "u", "HPO_JOB_INDEX": "0", "HPO_JOB_POD": "p", VISIBLE: ""}
    unshare: list[str | Path] = [
        "unshare",
        "--pid",
        "--fork",
        "--mount-proc",
        "--kill-child",
        program,
    ]
    container = subprocess.Popen(
        [*unshare, "worker", quick.job, "--storage-file", url],
        env={**os.environ, **pod},
        stderr=subprocess.PIPE,
        text=True,
    )
    with url.open("w") as writer:  # once it reads
        (first, *_) = descendants(container.pid)
        os.kill(first, signal.SIGTERM)
        writer.write(quick.url)
    try:
        _, errors = container.communicate(timeout=60)
    finally:
        container.kill()
    assert (container.returncode, "Traceback" in errors) == (143, False)
    assert "COMPLETE" not in quick.states()
