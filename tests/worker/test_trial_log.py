"""What a trial prints is kept with it: bounded, for failures and killed workers too."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from optuna.trial import TrialState

from hpo_job.artifacts.trial_logs import TrialLogs, read_log
from hpo_job.errors import StudyError
from hpo_job.report import report
from hpo_job.study.admission import Refusal
from hpo_job.trial import attributes
from hpo_job.worker.signals import Stop
from hpo_job.worker.trial_log import HEAD, TAIL, Bounded
from tests.quick import Quick, run_workers, wait_until

Cli = Callable[..., Result]
TALKS = """
import logging, os, sys, warnings

def train(trial, context):
    context.report(1.0)
    if trial.number == 2:
        return 1.0  # silent
    print("hello from", trial.number)
    print("to stderr", file=sys.stderr)
    logging.getLogger("somebody").warning("their line")
    logging.getLogger("somebody").info("a detail")
    warnings.warn(f"careful {trial.number}")
    if not os.fork():
        print("from a fork")  # such as a process that reads batches
        sys.stdout.flush()
        os._exit(0)
    os.wait()
    if trial.number == 1:
        raise ValueError("broken")
    return context.params["x"]
"""
DIES = """
import os, time
from pathlib import Path

def train(trial, context):
    if trial.number == 0:
        print("just before the end")
        (Path(__file__).parent / "pid").write_text(str(os.getpid()))
        time.sleep(600)
    return 1.0
"""


def text_of(*pieces: str) -> str:
    text = Bounded()
    for piece in pieces:
        text.add(piece)
    return str(text)


def test_lines_are_kept_however_they_are_written() -> None:
    assert text_of("a", "b\nc", "\n", "d") == "ab\nc\nd\n"
    assert text_of("one\r\ntwo\r\n") == "one\ntwo\n"
    assert text_of("\r10%", "\r55%", "\r100%\n", "done\n") == "100%\ndone\n"
    assert text_of() == ""


def test_a_long_log_keeps_its_beginning_and_its_end() -> None:
    text = text_of(*(f"line {number}\n" for number in range(100_000)))
    assert len(text) < HEAD + TAIL + 100
    lines = text.splitlines()
    assert lines[:2] == ["line 0", "line 1"]
    assert lines[-1] == "line 99999"
    (gap,) = [line for line in lines if line.startswith("…")]
    assert gap == f"… {100_000 - len(lines) + 1:,} lines left out …"
    endless = text_of("start\n", *["x" * 1000] * 1000)
    assert len(endless) < HEAD + TAIL


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork")  # Python 3.12 warns of it
def test_print_lines_warnings_and_the_traceback_are_kept(
    tmp_path: Path, cli: Cli, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    quick = Quick(tmp_path, TALKS, budget="trials = 2")
    caplog.set_level(logging.INFO, "hpo_job")
    streams = sys.stdout, sys.stderr
    with pytest.warns(UserWarning, match="careful"):
        assert quick.work(artifacts=str(tmp_path / "models")) is Refusal.USED_UP
    assert (sys.stdout, sys.stderr) == streams
    assert "hello from 0" in capsys.readouterr().out  # it goes on to where it went

    first, failed, silent = quick.study.trials
    log = read_log(quick.study, first, str(tmp_path / "models"))
    assert "INFO trial 0 step 0: 1\n" in log
    assert "hello from 0\nto stderr\n" in log
    assert "WARNING somebody: their line\n" in log
    assert "a detail" not in log
    assert "from a fork" not in log
    assert "hello from 1" not in log
    assert attributes.LOG not in silent.user_attrs
    with pytest.raises(StudyError, match="trial 2 has no log: it wrote nothing"):
        read_log(quick.study, silent, str(tmp_path / "models"))

    place = ("--artifacts", tmp_path / "models", "--storage", quick.url)
    printed = cli("logs", "quick", "--trial", "1", *place).stdout
    assert "ERROR trial 1 failed: ValueError: broken\nTraceback" in printed
    assert printed.endswith('    raise ValueError("broken")\nValueError: broken\n')
    assert "no trial 9; it has 3 trials" in cli("logs", "quick", "--trial", "9", *place).stderr
    away = ("--artifacts", tmp_path / "elsewhere", "--storage", quick.url)
    assert (
        "its log was kept where its worker ran"
        in cli("logs", "quick", "--trial", "1", *away).stderr
    )

    page = report([quick.study], artifacts=str(tmp_path / "models")).html()
    assert f"the log of #{failed.number}" in page
    assert "their line" in page

    copied = cli("copy", "quick", "another", *place)
    assert copied.exit_code == 0, copied.output
    assert cli("logs", "another", "--trial", "1", *place).stdout == printed
    sizes = cli("du", "--format", "csv", *place).stdout
    logs = [read_log(quick.study, each, str(tmp_path / "models")) for each in (first, failed)]
    kept = sum(map(len, logs))
    assert f"models,quick,{kept}\n" in sizes.replace("\r", "")
    assert cli("gc", "quick", *place).exit_code == 0
    assert cli("logs", "quick", "--trial", "1", *place).stdout == printed
    for study in ("quick", "another"):
        assert cli("delete", study, "--yes", *place).exit_code == 0
    assert list((tmp_path / "models").iterdir()) == []


@pytest.mark.processes
def test_of_a_killed_worker_what_it_had_written_is_there(tmp_path: Path, cli: Cli) -> None:
    quick = Quick(tmp_path, DIES, budget="trials = 2")
    job, pid, killed = quick.worker_job(), quick.job / "pid", False

    def logged() -> bool:
        name = quick.study.get_trials(deepcopy=False)[0].user_attrs.get(attributes.LOG)
        return bool(name) and (Path(".hpo/artifacts") / str(name)).exists()

    def look() -> None:
        nonlocal killed
        if not killed and pid.exists() and pid.read_text():
            killed = True
            wait_until(logged)  # while the trial runs
            os.kill(int(pid.read_text()), signal.SIGKILL)

    assert run_workers(job, 1, Stop(), look) == 0
    assert quick.study.trials[0].state == TrialState.FAIL
    printed = cli("logs", "quick", "--trial", "0", "--storage", quick.url)
    assert printed.stdout == "just before the end\n"


@pytest.mark.processes
def test_the_own_lines_of_a_worker_are_no_output_of_its_trials(tmp_path: Path) -> None:
    source = """
    import sys

    def train(trial, context):
        context.report(1.0)
        if trial.number == 1:
            print("hello", file=sys.stderr)
        return 1.0
    """
    quick = Quick(tmp_path, source, budget="trials = 2")
    place = ("--storage", quick.url, "--artifacts", str(tmp_path / "models"))
    worker = subprocess.run(
        [sys.executable, "-m", "hpo_job", "worker", str(quick.job), *place],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "trial 0 step 0: 1" in worker.stderr
    silent, talking = quick.study.trials
    assert attributes.LOG not in silent.user_attrs
    lines = read_log(quick.study, talking, str(tmp_path / "models")).splitlines()
    assert [line for line in lines if "INFO" not in line] == ["hello"]


def test_a_log_that_cannot_be_kept_costs_no_trial(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = """
    def train(trial, context):
        print("hello")
        return 1.0
    """
    quick = Quick(tmp_path, source, budget="trials = 3")
    (tmp_path / "file").write_text("where a folder should be")
    assert quick.work(artifacts=str(tmp_path / "file")) is Refusal.USED_UP
    assert quick.states() == {"COMPLETE": 3}
    warned = [each for each in caplog.messages if "the logs of trials are not kept" in each]
    assert len(warned) == 1


def test_no_log_is_written_that_no_trial_names(tmp_path: Path) -> None:
    """The trial was declared lost before its first line."""
    quick = Quick(tmp_path)
    trial = quick.start()
    store = tmp_path / "store"
    write = TrialLogs(quick.storage, str(store)).of(trial)
    assert write
    quick.study.tell(trial.number, state=TrialState.FAIL)
    for text in ("first\n", "first\nsecond\n"):
        write(text)
    assert list(store.iterdir()) == []


def test_once_no_log_can_be_kept_none_is_written(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    quick = Quick(tmp_path)
    place = tmp_path / "file"
    place.write_text("where a folder should be")
    write = TrialLogs(quick.storage, str(place)).of(quick.start())
    assert write
    write("first\n")
    assert len(caplog.messages) == 1
    place.unlink()
    write("first\nsecond\n")
    assert not place.exists()
