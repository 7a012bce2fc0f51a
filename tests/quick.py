"""Studies whose objective is a few lines of arithmetic, so that a test is about the study."""

from __future__ import annotations

import functools
import math
import os
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import optuna

from hpo_job.spec.reading import read_spec
from hpo_job.storage.database import Storage
from hpo_job.study.admission import Refusal, admit
from hpo_job.study.checking import Checked, check
from hpo_job.study.joining import create
from hpo_job.worker.job import Job
from hpo_job.worker.loop import work
from hpo_job.worker.machine_share import Machine
from hpo_job.worker.output import Printer
from hpo_job.worker.processes import Workers
from hpo_job.worker.signals import Stop

QUADRATIC = """
def train(trial, context):
    return (context.params["x"] - 1) ** 2
"""
SPACE = '[search_space]\nx = { type = "float", low = -5.0, high = 5.0 }'


def write_job(
    folder: Path,
    source: str = QUADRATIC,
    *,
    budget: str = "trials = 6",
    more: str = "",
    space: str = SPACE,
    direction: str = '"minimize"',
) -> Path:
    """A job folder named ``quick`` below ``folder``."""
    job = folder / "quick"
    job.mkdir(parents=True, exist_ok=True)
    (job / "objective.py").write_text(textwrap.dedent(source))
    (job / "study.toml").write_text(
        f'name = "quick"\nobjective = "objective.py:train"\ndirection = {direction}\n{more}\n'
        f"[budget]\n{budget}\n{space}\n"
    )
    return job


@functools.cache
def empty_database() -> bytes:
    """A SQLite file with Optuna's tables and no study: creating them costs more than all else."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "studies.db"
        Storage(f"sqlite:///{file}", create=True).close()
        return file.read_bytes()


class Quick:
    """A study in a new SQLite file, or at ``url``, opened in this process."""

    def __init__(
        self,
        folder: Path,
        source: str = QUADRATIC,
        *,
        grace: int = 60,
        url: str | None = None,
        **job: str,
    ):
        self.job = write_job(folder, source, **job)
        file = folder / "studies.db"
        self.url = url or f"sqlite:///{file}"
        if not url and not file.exists():
            file.write_bytes(empty_database())
        self.checked: Checked = check(read_spec(self.job), folder / "weights")
        self.storage = Storage(self.url, grace=grace, create=True)
        self.study: optuna.Study = create(self.checked, self.storage)

    def worker_job(self, grace: int = 60) -> Job:
        return Job(self.checked.spec, self.url, self.checked.weights, grace, Machine(threads=1))

    def start(self) -> optuna.Trial:
        """The next trial, where there is one to start."""
        trial = admit(self.study, self.checked.spec, self.storage)
        assert isinstance(trial, optuna.Trial)
        return trial

    def work(self, patience: float = math.inf, **machine: Any) -> Refusal | None:
        """Let a worker of this process run trials; why there is none to start any more."""
        share = Machine(**{"threads": 1, **machine})
        return work(self.checked, self.study, self.storage, Stop(), share, patience)

    def states(self) -> dict[str, int]:
        """How many trials are in each state."""
        trials = self.study.get_trials(deepcopy=False)
        names = [trial.state.name for trial in trials]
        return {name: names.count(name) for name in sorted(set(names))}


def run_workers(
    job: Job,
    count: int,
    stop: Stop,
    on_watch: Callable[[], None],
    printer: Printer | None = None,
    on_ready: Callable[[], None] = lambda: None,
) -> int:
    """Run worker processes of a study until they end, as `hpo-job run` does; their exit code."""
    with Workers(job, count, printer) as workers:
        return workers.run(stop, on_watch, on_ready)


def command(*arguments: str | Path, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
    """The real hpo-job command, started in a process of its own.

    Where hpo-job is not installed, but only on the path of modules, there is no program of it.
    """
    program = Path(sys.executable).with_name("hpo-job")
    start = [program] if program.exists() else [sys.executable, "-m", "hpo_job"]
    return subprocess.Popen(
        [*start, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **(env or {})},
    )


def wait_until(condition: Callable[[], bool], seconds: float = 120) -> None:
    """Wait for what another process does; fails where it does not within ``seconds``."""
    import time

    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)
