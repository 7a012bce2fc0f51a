"""What is made once: by one of many processes, whole or not at all, and nothing left behind."""

from __future__ import annotations

import errno
import multiprocessing
import os
import queue
from collections.abc import Callable, Iterator
from multiprocessing.context import ForkProcess
from pathlib import Path
from typing import Any

import pytest

from hpo_job.data.once import make_once

FORK = multiprocessing.get_context("fork")
NOBODY = 65534
Start = Callable[..., ForkProcess]


def look_at(target: Path) -> Callable[[], str | None]:
    return lambda: target.read_text() if target.is_file() else None


def write_text(path: Path) -> None:
    path.write_text("whole")


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts functions in processes that end with the test."""
    started: list[ForkProcess] = []

    def run(function: Callable[..., None], *arguments: object) -> ForkProcess:
        process = FORK.Process(target=function, args=arguments)
        process.start()
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.join()


def _make(target: Path, barrier: Any, events: Any) -> None:
    def make(path: Path) -> None:
        events.put("made")
        write_text(path)

    barrier.wait()
    events.put(make_once(target, look_at(target), make))


def _get_stuck(target: Path, within: Any) -> None:
    def make(path: Path) -> None:
        path.write_text("ha")
        within.set()
        FORK.Event().wait()  # for ever

    make_once(target, look_at(target), make)


@pytest.mark.processes
def test_of_processes_that_come_together_one_makes_it(tmp_path: Path, start: Start) -> None:
    target = tmp_path / "new/folder/content"
    barrier, events = FORK.Barrier(4), FORK.Queue()
    for _ in range(4):
        start(_make, target, barrier, events)
    assert sorted(events.get(timeout=120) for _ in range(5)) == ["made", *["whole"] * 4]
    assert {path.name for path in target.parent.iterdir()} == {"content", ".content.lock"}


@pytest.mark.processes
def test_who_is_killed_in_the_middle_holds_nobody_up(tmp_path: Path, start: Start) -> None:
    target = tmp_path / "content"
    within, events = FORK.Event(), FORK.Queue()
    first = start(_get_stuck, target, within)
    assert within.wait(120)
    start(_make, target, FORK.Barrier(1), events)
    with pytest.raises(queue.Empty):
        events.get(timeout=0.5)  # it waits, because the first one lives
    assert not target.exists()
    first.kill()
    assert [events.get(timeout=120) for _ in range(2)] == ["made", "whole"]
    assert {path.name for path in tmp_path.iterdir()} == {"content", ".content.lock"}


def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    def make(path: Path) -> None:
        path.with_name("half").write_text("half")
        path.symlink_to("/dev/full")
        write_text(path)

    target = tmp_path / "new/folder/content"
    with pytest.raises(OSError, match="No space left"):
        make_once(target, look_at(target), make)
    assert list(tmp_path.iterdir()) == []
    assert make_once(target, look_at(target), write_text) == "whole"


def test_a_failure_keeps_what_others_have_there(tmp_path: Path) -> None:
    def make(path: Path) -> None:
        raise ValueError("no")

    (tmp_path / "theirs").touch()
    with pytest.raises(ValueError, match="no"):
        make_once(tmp_path / "content", lambda: None, make)
    assert [path.name for path in tmp_path.iterdir()] == ["theirs"]


def _make_without_right(target: Path, events: Any) -> None:
    if os.getuid() == 0:
        os.setuid(NOBODY)
    try:
        make_once(target, look_at(target), write_text)
    except OSError as error:
        events.put(error.errno)


@pytest.mark.parametrize("folder", [".", "new/folder"])
@pytest.mark.processes
def test_without_the_right_to_write(tmp_path: Path, start: Start, folder: str) -> None:
    for above in (tmp_path, *tmp_path.parents[:2]):
        above.chmod(0o755)  # pytest's folders are for their owner only
    tmp_path.chmod(0o555)
    events = FORK.Queue()
    start(_make_without_right, tmp_path / folder / "content", events)
    assert events.get(timeout=120) in (errno.EACCES, errno.EPERM)
    tmp_path.chmod(0o755)
    assert list(tmp_path.iterdir()) == []


def test_where_a_file_is_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"Not a directory|File exists"):
        make_once(tmp_path / "file/content", lambda: None, write_text)


def test_what_is_damaged_is_replaced(tmp_path: Path) -> None:
    target = tmp_path / "folder"
    target.mkdir()
    (target / "half").touch()

    def look() -> str | None:
        return "whole" if (target / "all").exists() else None

    def make(path: Path) -> None:
        path.mkdir()
        (path / "all").touch()

    assert make_once(target, look, make) == "whole"
    assert [path.name for path in target.iterdir()] == ["all"]


def test_what_another_has_made_meanwhile_stays(tmp_path: Path) -> None:
    """It was not visible at first, as on a shared volume, and is what others read from."""
    target = tmp_path / "content"

    def make(path: Path) -> None:
        write_text(path)
        target.write_text("theirs")

    assert make_once(target, look_at(target), make) == "theirs"
    assert target.read_text() == "theirs"


@pytest.mark.processes
def test_who_waited_for_one_that_failed_makes_it(tmp_path: Path, start: Start) -> None:
    """The lock that it waited for was removed with all else."""
    target = tmp_path / "new/content"
    events = FORK.Queue()

    def make(path: Path) -> None:
        start(_make, target, FORK.Barrier(1), events)
        with pytest.raises(queue.Empty):
            events.get(timeout=0.5)
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        make_once(target, look_at(target), make)
    assert [events.get(timeout=120) for _ in range(2)] == ["made", "whole"]
