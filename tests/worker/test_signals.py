"""Ctrl-C and SIGTERM: the trial ends at once, is recorded, and its parameters run again."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest
import sqlalchemy
from optuna.storages import RDBStorage

from hpo_job.storage import waiting
from hpo_job.trial import attributes
from hpo_job.worker.loop import work
from hpo_job.worker.machine_share import Machine
from hpo_job.worker.signals import Stop, Stopped
from tests.quick import Quick, command, wait_until

# The first Stopped is raised in a finalizer, where Python prints and forgets it
SWALLOWED = """
import os, signal, time
from pathlib import Path

class Finalized:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.1)

def train(trial, context):
    Finalized()
    while True:
        try:
            time.sleep(0.01)
        except:
            pass  # and the next one here
        else:
            continue
        break
    while True:
        time.sleep(0.01)
"""
# What it was told to stop for is taken for a result, or for an error of its own
ANSWERED = """
import os, signal, time

def train(trial, context):
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)
    except:
        return 0.5
"""
TRANSLATED = ANSWERED.replace("return 0.5", "raise RuntimeError('the loader died')")
# A study within the study: Optuna is on the stack all the time
NESTED = """
import os, optuna, signal, time

def inner(trial):
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(60)

def train(trial, context):
    optuna.create_study().optimize(inner, n_trials=2)
    return 0
"""
# Counts on and on without asking anybody: nothing in it but the signal can end it
BUSY = """
from pathlib import Path

def train(trial, context):
    Path(__file__).with_name("started").touch()
    n = 0
    while True:
        try:
            n += 1
        except Exception:
            pass
"""


@pytest.mark.parametrize(
    ("number", "reason", "code"),
    [(signal.SIGINT, "interrupted", 130), (signal.SIGTERM, "preempted", 143)],
)
@pytest.mark.processes
def test_a_signal_ends_the_trial_and_gives_its_parameters_back(
    tmp_path: Path, number: signal.Signals, reason: str, code: int
) -> None:
    quick = Quick(tmp_path, BUSY)
    worker = command("worker", quick.job, "--storage", quick.url)
    wait_until((quick.job / "started").exists)
    worker.send_signal(number)
    _, errors = worker.communicate(timeout=120)
    assert worker.returncode == code
    assert "Traceback" not in errors
    assert quick.states() == {"FAIL": 1, "WAITING": 1}
    failed, waiting = quick.study.trials
    assert failed.user_attrs[attributes.REASON] == reason
    assert waiting.user_attrs == {attributes.RETRY_OF: 0}
    assert waiting.system_attrs["fixed_params"] == failed.params


@pytest.mark.parametrize("source", [SWALLOWED, ANSWERED, TRANSLATED, NESTED])
@pytest.mark.processes
def test_nothing_an_objective_does_keeps_it_running(tmp_path: Path, source: str) -> None:
    quick = Quick(tmp_path, source)
    worker = command("worker", quick.job, "--storage", quick.url)
    worker.communicate(timeout=120)
    assert worker.returncode == 143
    assert quick.states() == {"FAIL": 1, "WAITING": 1}
    assert quick.study.trials[0].user_attrs[attributes.REASON] == "preempted"


def test_an_alarm_of_the_objectives_own_does_not_stop_it(tmp_path: Path) -> None:
    quick = Quick(
        tmp_path,
        """
        import signal, time

        def train(trial, context):
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            time.sleep(0.2)
            return 1
        """,
        budget="trials = 1",
    )
    stop = Stop()
    with stop.listening():
        work(quick.checked, quick.study, quick.storage, stop, Machine(threads=1))
    assert quick.states() == {"COMPLETE": 1}


@pytest.mark.processes
def test_a_signal_before_any_trial_ends_the_worker_too(tmp_path: Path) -> None:
    slow = "import time\nopen(__file__ + '.started', 'w').close()\ntime.sleep(60)\n"
    quick = Quick(tmp_path)
    (quick.job / "objective.py").write_text(slow)
    worker = command("worker", quick.job, "--storage", quick.url)
    wait_until((quick.job / "objective.py.started").exists)
    worker.terminate()
    _, errors = worker.communicate(timeout=120)
    assert worker.returncode == 143
    assert "Traceback" not in errors
    assert quick.states() == {}


def test_what_is_written_is_never_half_done(tmp_path: Path) -> None:
    """A signal in the middle of a report: the report is committed, and only then it ends."""
    quick = Quick(
        tmp_path,
        """
        import time

        def train(trial, context):
            for step in range(1000):
                context.report(step)
                time.sleep(0.1)
            return 0
        """,
    )

    def interrupt(connection: object, cursor: object, statement: str, *_: object) -> None:
        if statement.startswith("INSERT INTO trial_intermediate_values"):
            os.kill(os.getpid(), signal.SIGTERM)

    assert isinstance(quick.storage.optuna, RDBStorage)
    sqlalchemy.event.listen(quick.storage.optuna.engine, "before_cursor_execute", interrupt)
    stop = Stop()
    with stop.listening():
        assert work(quick.checked, quick.study, quick.storage, stop, Machine(threads=1)) is None
    assert quick.states() == {"FAIL": 1, "WAITING": 1}
    assert list(quick.study.trials[0].intermediate_values) == [0]


def test_outside_a_trial_a_signal_only_sets_the_flag() -> None:
    stop = Stop()
    with stop.listening():
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.requested == signal.SIGTERM
        with pytest.raises(Stopped), stop.breaking():
            pytest.fail("a trial was started after the signal")
        stop.wait(3600)  # returns at once
    assert (stop.exit_code, stop.reason) == (143, "preempted")


def test_a_second_ctrl_c_does_not_wait() -> None:
    stop = Stop()
    with stop.listening():
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_a_forked_loader_leaves_ctrl_c_to_its_parent_and_dies_of_sigterm() -> None:
    stop = Stop()
    with stop.listening():
        pid = os.fork()
        if pid == 0:
            try:
                with stop.breaking():
                    os.kill(os.getpid(), signal.SIGINT)
                    os.kill(os.getpid(), signal.SIGTERM)
                    time.sleep(60)
            finally:
                os._exit(1)
        _, status = os.waitpid(pid, 0)
    assert os.WIFSIGNALED(status)
    assert os.WTERMSIG(status) == signal.SIGTERM


def test_the_handlers_of_before_are_put_back() -> None:
    before = signal.getsignal(signal.SIGINT)
    with Stop().listening():
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before


def test_a_worker_that_waits_for_a_server_is_interrupted() -> None:
    """It may wait for ten minutes; nothing is half done meanwhile."""
    stop = Stop()

    def wait() -> None:
        with stop.breaking():
            threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGTERM)).start()
            for _ in range(5):
                waiting.pause(10)

    with stop.listening(), pytest.raises(Stopped):
        wait()
