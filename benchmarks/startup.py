"""How soon workers are ready, what they hold in memory, and how soon a killed one is replaced.

    python benchmarks/startup.py            # a function and images, with 1 and 8 workers
    python benchmarks/startup.py --quick    # the function only, with 1 and 2

Seconds are from the command to the moment when each worker runs a trial. Memory is the PSS of the
workers and of the process that they are forked from: a page that several share is divided among
them. "Replaced" is from a kill -9 of a worker until another one runs a trial.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

from measuring import ROOT, Table, write

WAIT = 600  # seconds for all workers to be ready
MIB = 2**20
FUNCTION = """
import time

def train(trial, context):
    time.sleep(3600)
"""
STUDY = """
name = "startup"
objective = "{objective}"
direction = "{direction}"
{more}
[budget]
trials = 1000
{data}
[search_space]
learning_rate = {{ type = "float", low = 0.001, high = 0.01 }}
"""
IMAGES = """
model = "resnet18"
pre_trained = false
image_size = 64
epochs = 1000
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="the function only, with 1 and 2")
    quick = parser.parse_args().quick
    columns = ["seconds until ready", "PSS in MiB", "seconds until replaced"]
    table = Table("Start of workers", columns)
    for kind in ("function",) if quick else ("function", "images"):
        for count in (1, 2) if quick else (1, 8):
            for column, figure in zip(columns, _measure(kind, count), strict=True):
                table.add(f"{kind}, {count}", column, figure)
    if not quick:
        begin = time.perf_counter()
        subprocess.run([sys.executable, "-c", "import fastai.vision.all"], check=True)
        table.add("import fastai.vision.all", columns[0], time.perf_counter() - begin)
        begin = time.perf_counter()
        job = ROOT / "jobs" / "people-vs-animals"
        subprocess.run([_hpo_job(), "check", job], check=True, stdout=subprocess.DEVNULL)
        table.add("hpo-job check of images", columns[0], time.perf_counter() - begin)
    write("startup", [table], 1)


def _measure(kind: str, count: int) -> tuple[float, float, float]:
    folder = Path(tempfile.mkdtemp(prefix="hpo-job-bench-"))
    database = folder / "studies.db"
    _write_job(folder, kind)
    command: list[str | Path] = [_hpo_job(), "run", folder, "--storage", f"sqlite:///{database}"]
    begin = time.perf_counter()
    process = subprocess.Popen(
        [*command, "--workers", str(count), "--cache", folder / "cache"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait(lambda: _started(database) >= count, process)
        ready = time.perf_counter() - begin
        time.sleep(2)  # of training: what a trial needs is in memory then
        server, *workers = list(_descendants(process.pid))
        memory = sum(map(_pss, [server, *workers])) / MIB
        os.kill(workers[0], signal.SIGKILL)
        begin = time.perf_counter()
        _wait(lambda: _started(database) > count, process)
        return ready, memory, time.perf_counter() - begin
    finally:
        process.kill()  # its workers end with it
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _write_job(folder: Path, kind: str) -> None:
    if kind == "function":
        (folder / "objective.py").write_text(FUNCTION)
        text = STUDY.format(objective="objective.py:train", direction="minimize", more="", data="")
    else:
        data = f'[data]\npath = "{ROOT}/jobs/people-vs-animals/data"\nvalid_pct = 0.3\n'
        more = 'metric = "accuracy"'
        text = STUDY.format(
            objective="image_classification", direction="maximize", more=more, data=data
        )
        text += IMAGES
    (folder / "study.toml").write_text(text)


def _hpo_job() -> Path:
    return Path(sys.executable).with_name("hpo-job")


def _started(database: Path) -> int:
    """How many trials have been started."""
    if not database.exists():
        return 0
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        try:
            rows = connection.execute("SELECT COUNT(*) FROM trials WHERE datetime_start NOT NULL")
            return int(rows.fetchone()[0])
        except sqlite3.OperationalError:  # the tables are not there yet
            return 0


def _wait(condition: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + WAIT
    while not condition():
        if process.poll() is not None or time.monotonic() > end:
            raise SystemExit("the workers do not start: run the study by hand to see why")
        time.sleep(0.01)


def _descendants(pid: int) -> Iterator[int]:
    """The processes that a process has started, and theirs: the fork server first."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in map(int, (task / "children").read_text().split()):
            yield child
            yield from _descendants(child)


def _pss(pid: int) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


if __name__ == "__main__":
    main()
