"""What people read: one line for each thing, once, and never a control character."""

from __future__ import annotations

import io
import logging
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import optuna
import pytest
from optuna.exceptions import ExperimentalWarning

from hpo_job.storage.outage import Outage
from hpo_job.worker import output
from hpo_job.worker.output import Entry, Printer, log_warning, package_of, printable
from hpo_job.worker.signals import Stop
from tests.quick import Quick, run_workers


def error(text: str = "x", mistake: str = "here", worker: int | None = None) -> Entry:
    return Entry(logging.ERROR, text, trace=f"Traceback of {text}", mistake=mistake, worker=worker)


def printed(entries: list[Entry], level: int = logging.WARNING) -> list[str]:
    lines: list[str] = []
    printer = Printer(level, write=lines.append)
    for entry in entries:
        printer(entry)
    return lines


def test_the_traceback_of_a_mistake_is_printed_once() -> None:
    assert printed([error("a"), error("b"), error("c", "elsewhere")]) == [
        "hpo-job: a",
        "Traceback of a",
        "hpo-job: b",
        "hpo-job: c",
        "Traceback of c",
    ]


def test_what_all_workers_say_is_printed_once() -> None:
    """Of each of them it would be, were it another text, or the same worker again."""
    away = [Entry(logging.WARNING, "server is away", worker=worker) for worker in (1, 2, 3, 1)]
    back = Entry(logging.WARNING, "server answers", worker=2)
    assert printed([*away, back]) == [
        "hpo-job: worker 1: server is away",
        "hpo-job: worker 1: server is away",
        "hpo-job: worker 2: server answers",
    ]


def test_an_outage_is_one_line_however_each_process_words_it() -> None:
    """Of all workers and of the command itself: they wait for different times and reasons."""
    lines: list[str] = []
    printer = Printer(write=lines.append)
    logger = logging.getLogger("hpo_job.storage.outage")
    said: list[list[Entry]] = []
    for worker in (1, 2, None):
        outage = Outage("mysql://db")
        records: list[Entry] = []
        handler = output.Handler(records.append)
        logger.addHandler(handler)
        outage.waiting(f"reason {worker}", waited=3.0, left=597.0 - (worker or 0))
        outage.answered(5.0)
        logger.removeHandler(handler)
        said.append([replace(entry, worker=worker) for entry in records])
    for entries in zip(*said, strict=True):  # all are away, then all are back
        for entry in entries:
            printer(entry)
    assert lines == [
        "hpo-job: worker 1: mysql://db: waiting for the server, 596 s at most: reason 1",
        "hpo-job: worker 1: mysql://db: answers again, resumed",
    ]


def test_a_later_outage_is_printed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    lines: list[str] = []
    printer = Printer(write=lines.append)
    printer(Entry(logging.WARNING, "away", worker=1))
    now = output.AGAIN
    printer(Entry(logging.WARNING, "away", worker=2))
    assert len(lines) == 2


def test_a_text_that_is_called_like_an_event_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    lines: list[str] = []
    printer = Printer(write=lines.append)
    for worker in (1, 2):
        printer(Entry(logging.WARNING, output.STARTED, worker=worker))
        printer(Entry(logging.WARNING, "2 workers", worker=worker, event=output.STARTED))
        now += output.AGAIN
    assert lines == [
        "hpo-job: worker 1: started",
        "hpo-job: 2 workers",
        "hpo-job: worker 2: started",
    ]


def test_levels() -> None:
    entries = [Entry(level, str(level)) for level in (10, 20, 30, 40)]
    assert printed(entries, logging.INFO) == ["hpo-job: 20", "hpo-job: 30", "hpo-job: 40"]


def test_the_file_has_everything() -> None:
    file = io.StringIO()
    printer = Printer(logging.ERROR, file, write=lambda _: None)
    for entry in (Entry(logging.INFO, "quiet", worker=7), error("a"), error("b")):
        printer(entry)
    printer.raw("the objective's own")
    lines = file.getvalue().splitlines()
    assert [line.partition(" ")[2] for line in lines if line[:1].isdigit()] == [
        "INFO worker 7: quiet",
        "ERROR a",
        "ERROR b",
    ]
    assert {"Traceback of a", "Traceback of b", "the objective's own"} <= {*lines}


def test_control_characters_are_escaped() -> None:
    assert printable("\x1b[31mred\x07\r\x9b\u00e9\tü\n") == "\\x1b[31mred\\x07\\r\\x9bé\tü\n"
    assert printed([Entry(logging.WARNING, "a\x1b]0;title\x07b")]) == [
        "hpo-job: a\\x1b]0;title\\x07b"
    ]


# the warnings of libraries


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is printed of the log records and warnings of this process."""
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(root, "level", root.level)
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    monkeypatch.setattr(logging.getLogger("hpo_job"), "level", logging.NOTSET)
    written: list[str] = []
    output.listen(Printer(write=written.append), logging.WARNING)
    return written


def in_library(package: ModuleType, message: str, category: type[Warning], line: int = 1) -> None:
    warnings.warn_explicit(message, category, str(package.__file__), line)


@pytest.mark.filterwarnings("default")
def test_a_warning_of_a_library_is_a_line_of_ours_once(lines: list[str]) -> None:
    for line in (1, 2):
        in_library(np, "divide by\n  zero", RuntimeWarning, line)
    assert lines == ["hpo-job: numpy: divide by zero"]


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("category", [FutureWarning, DeprecationWarning, ExperimentalWarning])
def test_what_only_a_librarys_authors_can_change_is_silent(
    lines: list[str], category: type[Warning]
) -> None:
    in_library(optuna, "will be removed", category)
    assert lines == []


@pytest.mark.filterwarnings("default")
def test_a_warning_in_the_users_file_names_its_line(lines: list[str], tmp_path: Path) -> None:
    file = str(tmp_path / "objective.py")
    warnings.warn_explicit("use another", FutureWarning, file, 12)
    assert lines == ["hpo-job: objective.py line 12: use another"]


def test_what_a_library_logs_is_one_line_without_its_traceback(lines: list[str]) -> None:
    try:
        1 / 0  # noqa: B018
    except ZeroDivisionError:
        optuna.logging.get_logger("optuna.study").warning("Trial 3\nfailed", exc_info=True)
    logging.getLogger("timm.models").info("nobody asked")
    assert lines == ["hpo-job: optuna.study: Trial 3 failed"]


def test_packages() -> None:
    assert package_of(str(np.__file__)) == "numpy"
    assert package_of(str(warnings.__file__)) == "warnings"
    assert package_of(str(Path(output.__file__))) == "hpo_job"
    assert package_of("/home/me/objective.py") is None
    log_warning("no matter", UserWarning, "<string>", 1)  # code without a file


# through worker processes

NOISY = """
import warnings

def train(trial, context):
    print("about", trial.number, end=" ", flush=True)
    warnings.warn("mind the gap")
    print("\\udcff und Umlaute: ü", "\\x1b[31m")
    if trial.number in (1, 2, 3):
        raise ValueError(f"bad {trial.number}")
    return context.params["x"]
"""


@pytest.mark.processes
def test_one_mistake_is_one_traceback_for_all_workers(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    quick = Quick(tmp_path, NOISY, budget="trials = 4\nfailures = 9")
    assert run_workers(quick.worker_job(), 2, Stop(), lambda: None) == 0
    out, err = capfd.readouterr()
    assert out == ""
    assert err.count("Traceback (most recent call last)") == 1
    assert all(err.count(f"trial {number} failed: ValueError: bad {number}\n") for number in (1, 2))
    assert err.count("mind the gap") == 1
    assert err.count("und Umlaute: ü \\x1b[31m") == 7
    assert "about 0" in err
    assert "\x1b" not in err
    assert "\x1e" not in err


@pytest.mark.processes
def test_an_unexpected_error_of_a_worker_is_one_traceback(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """In a place where no objective runs: a bug, say."""
    quick = Quick(tmp_path)

    def damage() -> None:
        quick.study.set_user_attr("provenance", "broken")

    assert run_workers(quick.worker_job(), 2, Stop(), lambda: None, on_ready=damage) == 1
    err = capfd.readouterr().err
    assert err.count("Traceback (most recent call last)") == 1
    assert "hpo-job: worker " in err


@pytest.mark.processes
def test_what_an_objective_prints_at_its_end_is_not_lost(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    code = """
    import os

    def train(trial, context):
        os.write(1, b"no newline \\xff" + b"x" * 200_000)
        return 0
    """
    quick = Quick(tmp_path, code, budget="trials = 1")
    assert run_workers(quick.worker_job(), 1, Stop(), lambda: None) == 0
    err = capfd.readouterr().err
    assert "no newline" in err
    assert err.count("x") >= 200_000


def test_streams_that_cannot_show_a_character_replace_it(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    output.replace_unencodable()
    print("ü \udcff", end="")
    stream.seek(0)
    assert stream.read() == "? ?"
