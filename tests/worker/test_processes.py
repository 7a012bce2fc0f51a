"""Worker processes on one machine: the exact budget, whoever is stopped or killed."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from hpo_job.trial import attributes
from hpo_job.worker import processes
from hpo_job.worker.signals import Stop
from tests.quick import Quick, command, run_workers, wait_until

# A trial that tells its process, and lasts until the file "go" lies beside it
HELD = """
import os, time
from pathlib import Path

def train(trial, context):
    folder = Path(__file__).parent
    (folder / f"running-{trial.number}").write_text(str(os.getpid()))
    while not (folder / "go").exists():
        time.sleep(0.02)
    return context.params["x"]
"""


def nothing() -> None:
    pass


def when(condition: Callable[[], bool], act: Callable[[], object]) -> Callable[[], None]:
    """A look at the workers that does something once, when it is time."""
    done = False

    def look() -> None:
        nonlocal done
        if not done and condition():
            done = True
            act()

    return look


@pytest.mark.processes
def test_eight_workers_run_exactly_the_budget_and_a_rerun_none(tmp_path: Path) -> None:
    quick = Quick(tmp_path, budget="trials = 50")
    assert run_workers(quick.worker_job(), 8, Stop(), nothing) == 0
    assert quick.states() == {"COMPLETE": 50}
    assert [trial.number for trial in quick.study.trials] == list(range(50))
    assert len({trial.params["x"] for trial in quick.study.trials}) == 50  # no shared seed
    assert run_workers(quick.worker_job(), 2, Stop(), nothing) == 0
    assert quick.states() == {"COMPLETE": 50}


@pytest.mark.processes
def test_the_study_is_not_looked_at_for_each_message_of_the_workers(tmp_path: Path) -> None:
    quick = Quick(tmp_path, budget="trials = 8")
    looks: list[float] = []
    begin = time.monotonic()
    assert run_workers(quick.worker_job(), 8, Stop(), lambda: looks.append(time.monotonic())) == 0
    # Each of 8 workers starts and ends; one look more is the last one
    assert 2 <= len(looks) <= (looks[-1] - begin) / processes.WATCH + 2


@pytest.mark.processes
def test_stopped_and_started_again_it_is_the_budget_still(tmp_path: Path) -> None:
    quick = Quick(tmp_path, HELD, budget="trials = 9")
    first = command("run", quick.job, "--workers", "3", "--storage", quick.url)
    wait_until(lambda: len(list(quick.job.glob("running-*"))) == 3)
    first.send_signal(signal.SIGINT)
    first.communicate(timeout=120)
    assert first.returncode == 130
    assert quick.states() == {"FAIL": 3, "WAITING": 3}
    broken_off = sorted(trial.params["x"] for trial in quick.study.trials[:3])
    (quick.job / "go").touch()
    second = command("run", quick.job, "--workers", "2", "--storage", quick.url)
    output, _ = second.communicate(timeout=120)
    assert second.returncode == 0
    assert "finished  9 of 9 trials" in output
    assert quick.states() == {"COMPLETE": 9, "FAIL": 3}
    assert sorted(trial.params["x"] for trial in quick.study.trials[3:6]) == broken_off


@pytest.mark.processes
def test_a_killed_worker_is_replaced_and_its_trial_run_again_once(tmp_path: Path) -> None:
    quick = Quick(tmp_path, HELD, budget="trials = 4", grace=3600)
    running = quick.job / "running-0"

    def kill() -> None:
        os.kill(int(running.read_text()), signal.SIGKILL)
        (quick.job / "go").touch()

    look = when(lambda: running.exists() and running.read_text() != "", kill)
    assert run_workers(quick.worker_job(grace=3600), 2, Stop(), look) == 0
    assert quick.states() == {"COMPLETE": 4, "FAIL": 1}
    lost = quick.study.trials[0]
    assert lost.user_attrs[attributes.REASON] == "lost"
    retries = [
        trial
        for trial in quick.study.trials
        if trial.user_attrs.get(attributes.RETRY_OF) == lost.number
    ]
    assert [trial.params for trial in retries] == [lost.params]


@pytest.mark.processes
def test_workers_do_not_outlive_their_parent(tmp_path: Path) -> None:
    quick = Quick(tmp_path, HELD, budget="trials = 2")
    parent = command("run", quick.job, "--storage", quick.url)
    running = quick.job / "running-0"
    wait_until(lambda: running.exists() and running.read_text() != "")
    parent.kill()
    parent.communicate(timeout=120)
    wait_until(lambda: quick.states() == {"FAIL": 1, "WAITING": 1})
    wait_until(lambda: not Path(f"/proc/{running.read_text()}").exists())


def descendants(pid: int) -> list[int]:
    """The processes below a process, as far as they live."""
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return []
    return [each for child in map(int, text.split()) for each in (child, *descendants(child))]


# The process that forks them; one worker more; both
@pytest.mark.parametrize("started", [0, 1, 2, 3])
@pytest.mark.processes
def test_ctrl_c_while_the_workers_start_ends_them_quietly(tmp_path: Path, started: int) -> None:
    quick = Quick(tmp_path, HELD)
    run = command("run", quick.job, "--workers", "2", "--storage", quick.url)
    assert run.stdout is not None
    assert run.stdout.readline().startswith("quick: 6 trials")  # just before it starts them
    wait_until(lambda: len(descendants(run.pid)) >= started or run.poll() is not None)
    run.send_signal(signal.SIGINT)
    _, errors = run.communicate(timeout=120)
    assert run.returncode == 130
    assert "Traceback" not in errors
    assert "RUNNING" not in quick.states()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.processes
def test_the_only_worker_is_replaced_too(tmp_path: Path, number: signal.Signals) -> None:
    quick = Quick(tmp_path, HELD, budget="trials = 1", grace=3600)
    running = quick.job / "running-0"

    def kill() -> None:
        os.kill(int(running.read_text()), number)
        (quick.job / "go").touch()

    look = when(lambda: running.exists() and running.read_text() != "", kill)
    assert run_workers(quick.worker_job(), 1, Stop(), look) == 0
    assert quick.states() == {"COMPLETE": 1, "FAIL": 1}


@pytest.mark.processes
@pytest.mark.parametrize("short", [0.0, 3600.0])
def test_only_workers_that_are_killed_at_once_are_not_replaced_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, short: float
) -> None:
    monkeypatch.setattr(processes, "SHORT", short)
    monkeypatch.setattr(processes, "RESTARTS", 2)
    source = """
    import os, signal
    from pathlib import Path

    def train(trial, context):
        if trial.number < 5:
            os.kill(os.getpid(), signal.SIGKILL)
        return 0.0
    """
    quick = Quick(tmp_path, source, budget="trials = 2\nretries = 0", grace=3600)
    ended = run_workers(quick.worker_job(grace=3600), 1, Stop(), nothing)
    assert (ended, len(quick.study.trials)) == ((0, 7) if short == 0.0 else (137, 3))


@pytest.mark.processes
def test_a_run_ends_where_every_trial_kills_its_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """However long each of them has lived."""
    monkeypatch.setattr(processes, "SHORT", 0.0)
    monkeypatch.setattr(processes, "KILLS", 2)
    source = """
    import os, signal

    def train(trial, context):
        if trial.number < 8:
            os.kill(os.getpid(), signal.SIGKILL)
        return 0.0
    """
    quick = Quick(tmp_path, source, budget="trials = 1\nretries = 0", grace=3600)
    ended = run_workers(quick.worker_job(grace=3600), 2, Stop(), nothing)
    assert ended == 137
    assert len(quick.study.trials) == 6  # of two workers, and of four in their places
    assert caplog.text.count("another takes its place") == 4
    assert caplog.text.count("as too many were; none replaces it") == 2


@pytest.mark.processes
def test_workers_do_not_run_on_when_the_terminal_is_gone(tmp_path: Path) -> None:
    quick = Quick(tmp_path, budget="trials = 100000")
    run = command("run", quick.job, "--storage", quick.url)
    assert run.stdout is not None
    run.stdout.readline()
    run.stdout.close()  # as head does
    wait_until(lambda: run.poll() is not None)
    assert run.stderr is not None
    run.stderr.close()
    assert "RUNNING" not in quick.states()


@pytest.mark.processes
def test_the_exit_code_is_the_worst_of_the_workers(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    quick = Quick(
        tmp_path,
        "def train(trial, context):\n    raise OSError('disk is on fire')",
        budget="trials = 5\nfailures = 2",
    )
    assert run_workers(quick.worker_job(), 1, Stop(), nothing) == 1
    assert "2 trials in a row failed (#0, #1), all with OSError: disk is on fire" in (
        capfd.readouterr().err
    )
