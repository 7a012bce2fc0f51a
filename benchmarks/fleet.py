"""How far one server carries: simulated workers that only report and send heartbeats.

python benchmarks/fleet.py [WORKERS ...] [--seconds 20] [--every 10]

Each simulated worker is a thread with the real MySQL storage; it holds a RUNNING trial, reports
every so many seconds and sends a heartbeat every 8. 250 of them share a process. Printed are, for
each number of workers, the statements that the server executed in a second, the time that a report
took, and the time from asking for the study's lock to having started a trial (one worker in ten
starts a new trial meanwhile). A second table has the time of each statement by the server's own
clock, from its performance_schema: of those that took most of it, `--statements` many. A lock's
time is the part of it that a statement waited for locks of tables.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import sys
import threading
import time
from pathlib import Path
from typing import Any

import optuna

sys.path.insert(0, str(Path(__file__).parents[1]))
from hpo_job.storage.mysql import LockLost, MySQLStorage
from tests.storage.mysql.server import PrivateServer, new_database
from tests.storage.sql import sql

PER_PROCESS = 250
HEARTBEAT = 8.0  # seconds
LONGEST = 60  # characters of a statement's text in the table
HISTORY = 1_000_000  # statements that the server remembers at most
SERVER = (
    "max-connections=3000",
    "performance-schema=ON",
    "performance-schema-instrument=statement/%=ON",
    "performance-schema-consumer-events-statements-current=ON",
    f"performance-schema-events-statements-history-long-size={HISTORY}",
    "performance-schema-consumer-events-statements-history-long=ON",
    "performance-schema-max-digest-length=4096",
    "max-digest-length=4096",
)
# Picoseconds, as the performance_schema counts
EVENTS = """
SELECT DIGEST_TEXT, TIMER_WAIT, LOCK_TIME
FROM performance_schema.events_statements_history_long
WHERE CURRENT_SCHEMA = DATABASE() AND DIGEST_TEXT NOT REGEXP 'performance_schema|^SHOW'
"""
STARTERS = 10  # one worker in so many starts a trial


def worker(url: str, end: float, every: float, starts: bool, times: dict[str, list[float]]) -> None:
    """One simulated worker, until the monotonic time ``end``."""
    storage = MySQLStorage(url, heartbeat_interval=8, grace_period=60)
    study_id = storage.get_study_id_from_name("s")
    trial_id = storage.create_new_trial(study_id)
    time.sleep(random.uniform(0, every))
    step, beat = 0, time.monotonic() + random.uniform(0, HEARTBEAT)
    while time.monotonic() < end:
        begin = time.monotonic()
        storage.set_trial_intermediate_value(trial_id, step, 0.5)
        times["report"].append(time.monotonic() - begin)
        step += 1
        if beat < time.monotonic():
            storage.record_heartbeat(trial_id)
            beat += HEARTBEAT
        if starts and step == 1:
            times["start"].append(start(storage, study_id))
        time.sleep(max(0.0, begin + every - time.monotonic()))
    storage.remove_session()


def start(storage: MySQLStorage, study_id: int) -> float:
    """Start a trial as a worker does: under the lock, after a look at the study."""
    begin = time.monotonic()
    while True:
        try:
            with storage.exclusive("s"):
                storage._get_stale_trial_ids(study_id)
                storage.get_all_trials(study_id, deepcopy=False)
                storage.create_new_trial(study_id)
            return time.monotonic() - begin
        except LockLost:
            continue


def process(url: str, n: int, end: float, every: float, answers: Any) -> None:
    """Some simulated workers in one process; puts what they measured."""
    times: dict[str, list[float]] = {"report": [], "start": []}
    threads = [
        threading.Thread(target=worker, args=(url, end, every, i % STARTERS == 0, times))
        for i in range(n)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    answers.put(times)


def questions(url: str) -> int:
    """How many statements the server has executed."""
    return int(sql(url, "SHOW GLOBAL STATUS LIKE 'Questions'")[0][1])


def measure(
    url: str, workers: int, seconds: float, every: float, statements: int
) -> tuple[str, list[str]]:
    """The row of so many workers, and one for each of the statements that took the most time."""
    optuna.create_study(storage=MySQLStorage(url), study_name="s")
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    warm = every + workers / 100  # until all are connected, and have reported once
    end = time.monotonic() + warm + seconds
    sizes = [min(PER_PROCESS, workers - i) for i in range(0, workers, PER_PROCESS)]
    processes = [context.Process(target=process, args=(url, n, end, every, answers)) for n in sizes]
    for each in processes:
        each.start()
    time.sleep(warm)
    sql(url, "TRUNCATE performance_schema.events_statements_history_long")
    before = questions(url)
    time.sleep(seconds)
    rate = (questions(url) - before) / seconds
    events = sql(url, EVENTS)
    measured = [answers.get() for _ in processes]
    for each in processes:
        each.join()
    reports, starts = (
        sorted(t for times in measured for t in times[k]) for k in ("report", "start")
    )
    expected = workers * (warm + seconds) / every
    row = (
        f"| {workers} | {rate:.0f} | {len(reports) / expected:.0%} |"
        f" {_at(reports, 0.5)} | {_at(reports, 0.95)} | {_at(starts, 0.5)} | {_at(starts, 0.95)} |"
    )
    return row, by_statement(workers, events, seconds)[:statements]


def by_statement(workers: int, events: list[tuple[str, int, int]], seconds: float) -> list[str]:
    """Rows for each statement, the one that took most of the server's time first.

    Args:
        workers: how many there were.
        events: text, time and lock time in picoseconds of each statement that was executed.
        seconds: in which they were.
    """
    times: dict[str, list[float]] = {}
    locks: dict[str, list[float]] = {}
    for text, took, waited in events:
        times.setdefault(text, []).append(took / 1e12)
        locks.setdefault(text, []).append(waited / 1e12)
    rows = []
    for text in sorted(times, key=lambda text: -sum(times[text])):
        taken, locked = sorted(times[text]), sorted(locks[text])
        figures = [_at(taken, 0.5, 2), _at(taken, 0.95, 2), _at(taken, 1, 1), _at(locked, 0.95, 2)]
        rows.append(
            f"| {workers} | `{_short(text)}` | {len(taken) / seconds:.1f} | {' | '.join(figures)} |"
        )
    return rows


def _short(statement: str) -> str:
    """The beginning of a statement's text, as a cell."""
    text = statement.replace("`", "").replace("|", "/")
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def _at(times: list[float], share: float, digits: int = 0) -> str:
    """A quantile of sorted times, in milliseconds."""
    return f"{1000 * times[int(share * (len(times) - 1))]:.{digits}f}" if times else "-"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workers", nargs="*", type=int, default=[100, 500, 1000, 2000])
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--every", type=float, default=10.0)
    parser.add_argument("--statements", type=int, default=12)
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    server = PrivateServer(*SERVER)
    server.start()
    statements: list[str] = []
    try:
        print("| workers | statements/s | reports sent | report p50 | p95 | start p50 | p95 |")
        print("| --- | --- | --- | --- | --- | --- | --- |")
        for workers in options.workers:
            url = new_database(server.root_url)
            row, rows = measure(url, workers, options.seconds, options.every, options.statements)
            print(row, flush=True)
            statements += rows
        print("\n| workers | statement | a second | p50 | p95 | longest | lock p95 |")
        print("| --- | --- | --- | --- | --- | --- | --- |")
        print("\n".join(statements))
    finally:
        server.remove()


if __name__ == "__main__":
    main()
