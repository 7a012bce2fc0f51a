"""The table of trials that only wait: what is left of the machine's time is the tool's own work.

Parallel efficiency is the time that the trials sleep, divided by the number of workers, to the time
from starting the command to its end. 1.0 is ideal. Everything a user waits for counts: imports,
creating the study, starting the workers, and the end.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from measuring import ROOT, NotRun, Table, python_of_others, timed

sys.path.insert(0, str(ROOT))

from tests.storage.mysql.server import PrivateServer, new_database

SIDES = Path(__file__).parent / "sides"
SAMPLERS = {"random": "RandomSampler", "tpe": "TPESampler"}


@dataclass(frozen=True)
class Load:
    """Trials of so many seconds, and how many of them at a time."""

    workers: int
    seconds: float
    trials: int
    sampler: str

    @property
    def column(self) -> str:
        return f"{self.workers} x {self.seconds:g} s, {self.sampler}"

    @property
    def ideal(self) -> float:
        return self.trials * self.seconds / self.workers


LOADS = [(8, 2.0, 64), (32, 10.0, 64)]
QUICK = [(4, 0.5, 16)]
GOAL = "0.95"


def tables(quick: bool, repeats: int) -> list[Table]:
    """The parallel efficiency of each tool; all of them in turn, on a MariaDB or MySQL server."""
    loads = [Load(*load, sampler) for load in (QUICK if quick else LOADS) for sampler in SAMPLERS]
    table = Table(
        f"Parallel efficiency with {loads[0].trials} trials that sleep and report 5 times",
        [load.column for load in loads],
        goals={load.column: GOAL for load in loads},
        notes=[
            "Time that the trials sleep, divided by the workers, to the time from the command to "
            "its end: 1.0 is ideal. hpo-job and Optuna share one database server."
        ],
    )
    server = PrivateServer()
    server.start()
    try:
        for _ in range(repeats):
            for load in loads:
                for name, side in SIDES_BY_NAME.items():
                    work = partial(_efficiency, side, load, server.root_url)
                    table.measure(name, load.column, work)
    finally:
        server.remove()
    return [table]


def _efficiency(side: Callable[[Load, str, Path], float], load: Load, server: str) -> float:
    folder = Path(tempfile.mkdtemp(prefix="hpo-job-bench-"))
    try:
        return load.ideal / side(load, new_database(server), folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _hpo_job(load: Load, url: str, folder: Path) -> float:
    job = folder / "sleeping"
    job.mkdir()
    (job / "study.toml").write_text(_STUDY.format(load=load, sampler=SAMPLERS[load.sampler]))
    (job / "objective.py").write_text(_OBJECTIVE.format(sides=str(SIDES), load=load))
    command = [Path(sys.executable).with_name("hpo-job"), "run", job, "--storage", url]
    seconds, text = timed([*command, "--workers", str(load.workers)], folder)
    if f"{load.trials}/{load.trials}" not in text.replace(" of ", "/"):
        print(text[-2000:], file=sys.stderr)
        raise NotRun("did not complete all trials")
    return seconds


def _other(script: str, package: str) -> Callable[[Load, str, Path], float]:
    def run(load: Load, url: str, folder: Path) -> float:
        python = Path(sys.executable) if package == "optuna" else python_of_others(package)
        arguments = [f"--{name}={getattr(load, name)}" for name in load.__dataclass_fields__]
        written = folder / "written"
        written.mkdir()
        command = [python, SIDES / script, *arguments, f"--url={url}", f"--folder={written}"]
        paths = os.pathsep.join([str(SIDES), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
        seconds, text = timed(command, folder, {"PYTHONPATH": paths})
        completed = re.search(r"^trials (\d+)$", text, re.MULTILINE)
        if completed is None or int(completed[1]) < load.trials:
            print(text[-2000:], file=sys.stderr)
            raise NotRun("did not complete all trials")
        return seconds

    return run


SIDES_BY_NAME = {
    "hpo-job": _hpo_job,
    "Optuna": _other("plain_optuna.py", "optuna"),
    "Ray Tune": _other("ray_tune.py", "ray"),
    "Syne Tune": _other("with_syne_tune.py", "syne_tune"),
}

_STUDY = """\
name = "sleeping"
objective = "objective.py:sleep"
metric = "value"
direction = "minimize"
[budget]
trials = {load.trials}
[sampler]
name = "{sampler}"
[search_space]
x = {{ type = "float", low = 0.0, high = 1.0 }}
y = {{ type = "float", low = 0.0, high = 1.0 }}
"""
_OBJECTIVE = """\
import sys

sys.path.insert(0, {sides!r})
from sleeper import REPORTS, values


def sleep(trial, context):
    value = 0.0
    steps = values(context.params["x"], context.params["y"], {load.seconds})
    for step, value in enumerate(steps, 1):
        context.report(value, last=step == REPORTS)
    return value
"""
