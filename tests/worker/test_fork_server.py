"""The process that workers are forked from: what they share, and what they must not."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hpo_job.errors import HpoJobError, SpecError
from hpo_job.machine import ONE_THREAD
from hpo_job.trial import attributes
from hpo_job.worker import job as job_module
from hpo_job.worker.job import prepare, run_worker
from hpo_job.worker.signals import Stop
from hpo_job.worker.start_methods import START_METHODS, START_VARIABLE, unforkable
from tests.quick import Quick, command, run_workers, wait_until
from tests.worker.test_processes import HELD, nothing, when

pytestmark = pytest.mark.processes
# Each trial stores what its process has; two run at the same time
PROBE = """
import logging
import multiprocessing
import os
import random
import signal
import sys
import time
from pathlib import Path

import numpy
import torch

FOLDER = Path(__file__).parent
with (FOLDER / "imported").open("a") as file:
    print(os.getpid(), file=file)

def opened():
    return [os.readlink(f"/proc/self/fd/{each}") for each in os.listdir("/proc/self/fd")
            if os.path.exists(f"/proc/self/fd/{each}")]

def train(trial, context):
    found = {
        "pid": os.getpid(),
        "parent": os.getppid(),
        "python": random.random(),
        "numpy": numpy.random.rand(),
        "torch": torch.rand(1).item(),
        "handlers": len(logging.getLogger().handlers),
        "start_method": multiprocessing.get_start_method(allow_none=True),
        "blocked": [int(each) for each in signal.pthread_sigmask(signal.SIG_BLOCK, [])],
        "output": os.readlink("/proc/self/fd/1"),
        "opened": opened(),
        "session": os.getsid(0),
        "openblas": os.environ.get("OPENBLAS_NUM_THREADS"),
    }
    (FOLDER / f"trial-{trial.number}.json").write_text(__import__("json").dumps(found))
    while len(list(FOLDER.glob("trial-*.json"))) < 2:
        time.sleep(0.02)
    return 0.0
"""


def test_what_a_fork_carries_over_and_what_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    quick = Quick(tmp_path, PROBE, budget="trials = 2")
    imported = quick.job / "imported"
    imported.unlink()  # by this process
    assert run_workers(quick.worker_job(), 2, Stop(), nothing) == 0
    first, second = (_read(quick.job / f"trial-{number}.json") for number in (0, 1))
    assert first["parent"] == second["parent"] != os.getpid()
    for generator in ("python", "numpy", "torch"):
        assert first[generator] != second[generator]
    for state in (first, second):
        assert state["handlers"] == 2  # into the pipe, and into the log of the trial
        assert state["start_method"] is None
        assert not {signal.SIGINT, signal.SIGTERM} & set(state["blocked"])
        assert state["session"] == state["pid"]
        assert state["openblas"] is None
        assert not [name for name in state["opened"] if name.startswith("socket:")]
    assert first["output"] not in second["opened"]
    assert second["output"] not in first["opened"]
    # the check, and each worker; never the process that they are forked from
    processes = imported.read_text().split()
    assert len(processes) == len(set(processes)) == 3
    assert str(first["parent"]) not in processes


def _read(file: Path) -> dict[str, Any]:
    state: dict[str, Any] = json.loads(file.read_text())
    return state


def test_a_worker_does_not_check_what_was_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = Quick(tmp_path)
    checked = prepare(quick.worker_job())
    monkeypatch.delattr(job_module, "check")
    assert run_worker(quick.worker_job(), Stop(), checked) == 0
    assert quick.states() == {"COMPLETE": 6}


def test_a_study_that_cannot_run_is_one_error(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    quick = Quick(tmp_path)
    (quick.job / "objective.py").write_text("def train(trial):\n    return 0\n")
    with pytest.raises(HpoJobError, match=r"train cannot be called as train\(trial, context\)"):
        run_workers(quick.worker_job(), 2, Stop(), nothing)
    assert capfd.readouterr() == ("", "")


def test_a_check_that_is_killed_is_one_error(tmp_path: Path) -> None:
    quick = Quick(tmp_path)
    (quick.job / "objective.py").write_text("import os\nos.kill(os.getpid(), 9)\n")
    with pytest.raises(HpoJobError, match=r"checks the study was killed \(SIGKILL\)") as raised:
        run_workers(quick.worker_job(), 1, Stop(), nothing)
    assert raised.value.exit_code == 137


def test_imports_that_start_threads_are_left_to_the_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "threaded.py").write_text(
        "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\n"
    )
    monkeypatch.syspath_prepend(tmp_path / "lib")
    source = "import threaded\n\ndef train(trial, context):\n    return context.params['x']\n"
    quick = Quick(tmp_path, source, budget="trials = 4")
    assert run_workers(quick.worker_job(), 2, Stop(), nothing) == 0
    assert quick.states() == {"COMPLETE": 4}
    errors = capfd.readouterr().err
    assert errors.count("so each worker imports for itself") == 1
    assert "imports have started threads (python" in errors


@pytest.mark.parametrize("method", START_METHODS)
def test_a_variable_says_how_workers_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    source = """
    import os
    from pathlib import Path

    def train(trial, context):  # a fork has the command line of the process it comes from
        own, parent = (Path(f"/proc/{each}/cmdline") for each in ("self", os.getppid()))
        method = "fork" if own.read_text() == parent.read_text() else "spawn"
        if "multiprocessing.forkserver" in own.read_text():
            method = "forkserver"
        trial.set_user_attr("method", method)
        return 0.0
    """
    quick = Quick(tmp_path, source, budget="trials = 1")
    monkeypatch.setenv(START_VARIABLE, method)
    assert run_workers(quick.worker_job(), 1, Stop(), nothing) == 0
    assert quick.study.trials[0].user_attrs["method"] == method


def test_an_unknown_way_to_start_workers_is_one_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(START_VARIABLE, "thread")
    with pytest.raises(SpecError, match=r"^HPO_JOB_WORKER_START=thread: use one of fork, fork"):
        run_workers(Quick(tmp_path).worker_job(), 1, Stop(), nothing)


USES_GPU = "the objective's imports use a GPU"


def printed_by(program: str) -> list[str]:
    """The lines that a Python program prints, in a process of its own with one thread."""
    answer = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **ONE_THREAD},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return answer.stdout.splitlines()


def test_a_process_that_has_used_cuda_is_not_forked() -> None:
    program = """
import sys
from types import SimpleNamespace
from hpo_job.worker.start_methods import unforkable
before = unforkable()
sys.modules["torch"] = SimpleNamespace(cuda=SimpleNamespace(is_initialized=lambda: True))
print(before, unforkable(), sep="\\n")
"""
    assert printed_by(program) == ["None", USES_GPU]


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        (["/dev/nvidiactl", "/dev/nvidia0"], "None"),  # of NVIDIA's management library
        (["/dev/nvidiactl", "/dev/nvidia0", "/dev/nvidia-uvm"], USES_GPU),
        (["/dev/kfd"], USES_GPU),
    ],
)
def test_a_process_that_has_only_looked_for_gpus_is_forked(files: list[str], reason: str) -> None:
    program = f"""
from hpo_job.worker import start_methods
start_methods._open_files = lambda: {files}
print(start_methods.unforkable())
"""
    assert printed_by(program) == [reason]


def test_this_process_has_threads_of_its_own(tmp_path: Path) -> None:
    import threading

    event = threading.Event()
    thread = threading.Thread(target=event.wait)
    thread.start()
    try:
        assert "started threads" in str(unforkable())
    finally:
        event.set()
        thread.join()


def test_a_killed_fork_server_is_replaced_with_its_workers(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    quick = Quick(tmp_path, HELD, budget="trials = 4", grace=3600)
    running = [quick.job / "running-0", quick.job / "running-1"]

    def kill() -> None:
        os.kill(_parent(int(running[0].read_text())), signal.SIGKILL)
        wait_until(lambda: quick.states().get("FAIL") == 2)
        (quick.job / "go").touch()

    look = when(lambda: all(file.exists() and file.read_text() for file in running), kill)
    assert run_workers(quick.worker_job(grace=3600), 2, Stop(), look) == 0
    assert quick.states() == {"COMPLETE": 4, "FAIL": 2}
    reasons = [trial.user_attrs[attributes.REASON] for trial in quick.study.trials[:2]]
    assert reasons == ["preempted", "preempted"]
    assert "the process that starts workers was killed (SIGKILL)" in caplog.text


def test_the_command_imports_for_its_workers(tmp_path: Path) -> None:
    code = """
    import os
    from pathlib import Path

    def train(trial, context):
        server = Path(f"/proc/{os.getppid()}")
        Path(__file__).with_name("server").write_text(server.joinpath("cmdline").read_text())
        return 0.0
    """
    quick = Quick(tmp_path, code, budget="trials = 1")
    run = command("run", quick.job, "--storage", quick.url)
    _, errors = run.communicate(timeout=120)
    assert (run.returncode, errors) == (0, "")
    # a fork has the name of the command; a new interpreter has that of multiprocessing's
    executable = Path(sys.executable).with_name("hpo-job")
    started = (quick.job / "server").read_text().split("\0")
    assert started[1:3] == [str(executable), "run"]


def test_ctrl_c_while_the_study_is_checked_ends_it_quietly(tmp_path: Path) -> None:
    quick = Quick(tmp_path)
    checking = quick.job / "checking"
    (quick.job / "objective.py").write_text(
        f"import time\nfrom pathlib import Path\nPath({str(checking)!r}).touch()\ntime.sleep(600)\n"
    )
    run = command("run", quick.job, "--storage", f"sqlite:///{tmp_path}/new.db")
    wait_until(checking.exists)
    run.send_signal(signal.SIGINT)
    output, errors = run.communicate(timeout=120)
    assert (run.returncode, output, errors) == (130, "", "")
    assert not (tmp_path / "new.db").exists()


def test_nothing_is_left_of_a_run_that_is_killed(tmp_path: Path) -> None:
    quick = Quick(tmp_path, HELD, budget="trials = 2")
    run = command("run", quick.job, "--storage", quick.url)
    running = quick.job / "running-0"
    wait_until(lambda: running.exists() and running.read_text() != "")
    worker = int(running.read_text())
    server = _parent(worker)
    run.kill()
    run.communicate(timeout=120)
    for process in (worker, server):
        wait_until(_is_gone(process))


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def _is_gone(pid: int) -> Callable[[], bool]:
    return lambda: not Path(f"/proc/{pid}").exists()


def test_a_spawned_worker_knows_where_its_password_comes_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that it can read a changed one, and names a tunnel as the command does."""
    source = """
    from hpo_job.storage import urls

    def train(trial, context):
        known = [list(urls._NAMES.values()), [str(each) for each in urls._FILES.values()]]
        trial.set_user_attr("known", known)
        return 0.0
    """
    quick = Quick(tmp_path, source, budget="trials = 1")
    (tmp_path / "url").write_text(quick.url)
    monkeypatch.setenv(START_VARIABLE, "spawn")
    run = command("run", quick.job, "--storage-file", tmp_path / "url")
    _, errors = run.communicate(timeout=120)
    assert run.returncode == 0, errors
    (trial,) = quick.study.trials
    assert trial.user_attrs["known"] == [[], [str(tmp_path / "url")]]


def test_a_defect_of_what_is_imported_for_the_workers_is_shown(tmp_path: Path) -> None:
    """Only what the user can fix is left to whoever opens the study, such as a missing driver."""
    quick = Quick(tmp_path)
    code = """
import sys
from hpo_job.cli import main
from hpo_job.worker import fork_server

def defect(url):
    raise RuntimeError("a defect")

fork_server.import_all = defect
main(sys.argv[1:])
"""
    run = [sys.executable, "-c", code, "run", str(quick.job), "--storage", quick.url]
    # or numpy's threads, here imported before the command, would keep it from forking
    one_thread = {**os.environ, **ONE_THREAD}
    done = subprocess.run(run, capture_output=True, text=True, env=one_thread)
    assert done.returncode == 1
    assert done.stderr.endswith("RuntimeError: a defect\n")


def test_a_driver_that_is_not_installed_is_one_error(tmp_path: Path) -> None:
    quick = Quick(tmp_path)
    run = command("run", quick.job, "--storage", "postgresql+asyncpg://a@127.0.0.1/hpo")
    _, errors = run.communicate(timeout=120)
    assert run.returncode == 2
    assert errors.splitlines()[-1].startswith("hpo-job: storage postgresql+asyncpg://a@127.0.0.1")
    assert "No module named 'asyncpg'" in errors and "Traceback" not in errors
