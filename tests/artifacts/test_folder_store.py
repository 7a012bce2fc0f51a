"""Artifacts in a folder: whole or not there, whatever ends the process that writes them."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from uuid import uuid4

import pytest
from click.testing import Result

from hpo_job.artifacts.folder_store import OLD, PART, FolderStore
from hpo_job.trial import attributes
from tests.quick import Quick


class Broken(BytesIO):
    """Ends in an error after its first part."""

    def read(self, size: int | None = -1) -> bytes:
        if self.tell():
            raise OSError("the disk is on fire")
        return super().read(3)


def test_an_artifact_is_replaced_as_a_whole(tmp_path: Path) -> None:
    """A reader that has it open goes on with the old content."""
    store = FolderStore(tmp_path)
    store.write("log", BytesIO(b"first\n"))
    with store.open_reader("log") as opened:
        store.write("log", BytesIO(b"first\nsecond\n"))
        assert opened.read() == b"first\n"
    with store.open_reader("log") as opened:
        assert opened.read() == b"first\nsecond\n"


def test_one_that_cannot_be_written_stays_as_it_was(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    store.write("log", BytesIO(b"first\n"))
    with pytest.raises(OSError, match="on fire"):
        store.write("log", Broken(b"second\n"))
    assert [file.name for file in tmp_path.iterdir()] == ["log"]
    assert (tmp_path / "log").read_bytes() == b"first\n"


def test_what_a_killed_process_left_of_one_goes_with_it(
    tmp_path: Path, cli: Callable[..., Result]
) -> None:
    store = FolderStore(tmp_path)
    store.write("log", BytesIO(b"first\n"))
    (tmp_path / f"log{PART}").write_bytes(b"fi")
    store.remove("log")
    assert not list(tmp_path.iterdir())

    quick = Quick(tmp_path / "study")  # one that had no log before
    name, place = str(uuid4()), tmp_path / "models"
    quick.study.enqueue_trial({"x": 0.0}, user_attrs={attributes.LOG: name})
    quick.study.tell(quick.start(), 0.0)
    place.mkdir()
    (place / f"{name}{PART}").write_bytes(b"fi")
    deleted = cli("delete", "quick", "--yes", "--storage", quick.url, "--artifacts", place)
    assert deleted.exit_code == 0, deleted.output
    assert not list(place.iterdir())


def test_gc_removes_what_nobody_writes_any_more(tmp_path: Path, cli: Callable[..., Result]) -> None:
    quick, place = Quick(tmp_path / "study"), tmp_path / "models"
    place.mkdir()
    old, new = f"{uuid4()}{PART}", f"{uuid4()}{PART}"
    for name in (old, new, f"film{PART}"):
        (place / name).write_bytes(b"half")
    before = time.time() - 2 * OLD
    for name in (old, f"film{PART}"):
        os.utime(place / name, (before, before))
    arguments = ("gc", "quick", "--storage", quick.url, "--artifacts", place)
    facts = json.loads(cli(*arguments, "--dry-run", "--format", "json").stdout)
    assert facts["files"] == [{"name": old, "kind": "part", "trial": None, "size": 4}]
    assert cli(*arguments).stdout.splitlines()[0].split()[:3] == ["no", "trial", "part"]
    assert {file.name for file in place.iterdir()} == {new, f"film{PART}"}


@pytest.mark.parametrize("name", ["", "..", "../other", "/etc/passwd"])
def test_an_id_leads_to_no_other_folder(tmp_path: Path, name: str) -> None:
    store = FolderStore(tmp_path / "artifacts")
    with pytest.raises(ValueError, match="not the id of an artifact"):
        store.open_reader(name)
    with pytest.raises(ValueError, match="not the id of an artifact"):
        store.write(name, BytesIO(b"x"))
    with pytest.raises(ValueError, match="not the id of an artifact"):
        store.remove(name)
    assert list(tmp_path.rglob("*")) in ([], [tmp_path / "artifacts"])
