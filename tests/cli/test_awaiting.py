"""``status --watch`` waits for a study, and for its database."""

from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console

from hpo_job.cli.watch import await_study, watch
from hpo_job.storage.database import Storage
from tests.quick import Quick


def test_a_study_that_is_not_there_yet_is_waited_for(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/studies.db"
    written, waits = io.StringIO(), 0

    def sleep(_: float) -> None:
        nonlocal waits
        waits += 1
        if waits == 2:
            Storage(url, create=True).close()  # without a study
        if waits == 4:
            Quick(tmp_path, url=url).storage.close()

    await_study("quick", url, Console(file=written, width=200), sleep)
    assert waits == 4
    (line,) = written.getvalue().splitlines()
    assert line == f"waiting for study quick ({url}: there is no such file yet)"
    await_study("quick", url, Console(file=written), sleep)
    assert waits == 4


def test_a_file_ends_with_a_newline(tmp_path: Path) -> None:
    quick = Quick(tmp_path, budget="trials = 1")
    quick.study.tell(quick.start(), 0.5)
    stream = io.StringIO()
    watch(quick.study, Console(file=stream, width=80))
    assert stream.getvalue().endswith("\n") and not stream.getvalue().endswith("\n\n")
    assert "#0" in stream.getvalue().splitlines()[-1]
