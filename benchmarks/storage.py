"""Prints the figures of the MySQL storage beside those of Optuna's own, on the same server.

python benchmarks/storage.py                 # all rows, some minutes
python benchmarks/storage.py --row prune --row join
python benchmarks/storage.py --url mysql://... (an account that may create databases)
"""

import argparse
import multiprocessing
import random
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import BaseStorage

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from hpo_job.storage.mysql import MySQLStorage  # noqa: E402
from hpo_job.study.bounded_tpe import BoundedTPESampler  # noqa: E402
from tests.storage.mysql.server import PrivateServer, connect, new_database, sql  # noqa: E402

N_PARAMS = N_REPORTS = 5
DISTRIBUTION = '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 1.0, "log": false}}'  # noqa: E501


def stock(url: str) -> BaseStorage:
    """The storage that `optuna.load_study(storage=url)` gets."""
    return optuna.storages.get_storage(url)


STORAGES: dict[str, Callable[[str], BaseStorage]] = {"stock": stock, "hpo-job": MySQLStorage}


def study_of(storage: BaseStorage, sampler: optuna.samplers.BaseSampler | None = None) -> Any:
    """The study `bench`, created where it is missing."""
    return optuna.create_study(
        storage=storage,
        study_name="bench",
        load_if_exists=True,
        sampler=sampler or optuna.samplers.RandomSampler(),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=1),
    )


def run_trial(study: Any) -> None:
    """A trial with 5 parameters and 5 reports, each followed by the pruner's question."""
    trial = study.ask()
    value = sum(trial.suggest_float(f"x{i}", 0, 1) for i in range(N_PARAMS))
    for step in range(N_REPORTS):
        trial.report(value, step)
        trial.should_prune()
    study.tell(trial, value)


def fill(url: str, n_trials: int, state: str = "COMPLETE") -> None:
    """Put trials into the study `bench`, as Optuna would have stored them."""
    connection = connect(url)
    cursor = connection.cursor()
    cursor.execute("SELECT study_id FROM studies WHERE study_name = 'bench'")
    study_id = cursor.fetchone()[0]
    cursor.execute("SELECT COALESCE(MAX(trial_id), 0) FROM trials")
    first = cursor.fetchone()[0] + 1
    cursor.execute("SELECT COUNT(*) FROM trials WHERE study_id = %s", (study_id,))
    number = cursor.fetchone()[0]
    end = "UTC_TIMESTAMP()" if state == "COMPLETE" else "NULL"
    cursor.execute("SET autocommit = 0")
    for begin in range(0, n_trials, 2000):
        ids = range(first + begin, first + min(begin + 2000, n_trials))
        rows = ",".join(
            f"({i},{number + i - first},{study_id},'{state}',UTC_TIMESTAMP(),{end})" for i in ids
        )
        cursor.execute(
            "INSERT INTO trials (trial_id, number, study_id, state, datetime_start,"
            f" datetime_complete) VALUES {rows}"
        )
        rows = ",".join(
            f"({i},'x{k}',{random.random()},'{DISTRIBUTION}')" for i in ids for k in range(N_PARAMS)
        )
        cursor.execute(
            "INSERT INTO trial_params (trial_id, param_name, param_value, distribution_json)"
            f" VALUES {rows}"
        )
        rows = ",".join(
            f"({i},{k},{random.random()},'FINITE')" for i in ids for k in range(N_REPORTS)
        )
        cursor.execute(
            "INSERT INTO trial_intermediate_values (trial_id, step, intermediate_value,"
            f" intermediate_value_type) VALUES {rows}"
        )
        if state == "COMPLETE":
            rows = ",".join(f"({i},0,{random.random()},'FINITE')" for i in ids)
            cursor.execute(
                f"INSERT INTO trial_values (trial_id, objective, value, value_type) VALUES {rows}"
            )
        connection.commit()
    cursor.execute("ANALYZE TABLE trials, trial_params, trial_values, trial_intermediate_values")
    cursor.fetchall()
    connection.close()


@contextmanager
def status(url: str) -> Iterator[dict[str, int]]:
    """What the server's own counters grew by inside the block."""

    def read(cursor: Any) -> dict[str, int]:
        cursor.execute("SHOW GLOBAL STATUS")
        return {k: int(v) for k, v in cursor.fetchall() if str(v).isdigit()}

    connection = connect(url)
    cursor = connection.cursor()
    grown: dict[str, int] = {}
    before = read(cursor)
    yield grown
    after = read(cursor)
    connection.close()
    grown.update({k: after[k] - before.get(k, 0) for k in after})
    grown["Questions"] -= 1  # the second look at the counters


def timed(work: Callable[[], Any], times: int) -> float:
    """The median of some runs, in milliseconds."""
    taken = []
    for _ in range(times):
        begin = time.perf_counter()
        work()
        taken.append(1000 * (time.perf_counter() - begin))
    return statistics.median(taken)


# ---- the rows of the table: each gives (measure, unit, figure by storage) -----------------


def row_statements(root: str, scale: float) -> Iterator[tuple[str, dict[str, str]]]:
    """Statements and commits of one trial, alone and beside 127 RUNNING trials."""
    for others in (0, 127):
        figures = {}
        for name, make in STORAGES.items():
            url = new_database(root)
            study = study_of(make(url), optuna.samplers.TPESampler(seed=0))
            fill(url, others, "RUNNING") if others else None
            for _ in range(12):
                run_trial(study)
            with status(root) as grown:
                for _ in range(5):
                    run_trial(study)
            figures[name] = f"{grown['Questions'] / 5:.0f} and {grown['Com_commit'] / 5:.0f}"
        yield f"statements and commits of a trial, {others + 1} workers' trials", figures


def row_prune(root: str, scale: float) -> Iterator[tuple[str, dict[str, str]]]:
    """should_prune with many RUNNING trials."""
    n = int(1000 * scale)
    figures = {}
    for name, make in STORAGES.items():
        url = new_database(root)
        study = study_of(make(url))
        fill(url, 50)
        fill(url, n, "RUNNING")
        trial = study.ask()
        trial.report(0.5, 0)
        trial.should_prune()
        figures[name] = f"{timed(trial.should_prune, 5 if name == 'stock' else 20):.1f} ms"
    yield f"should_prune with {n} RUNNING trials", figures


def _work(make: str, url: str, seconds: float, start: Any, done: Any) -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")
    study = study_of(STORAGES[make](url))
    start.wait()
    n, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        run_trial(study)
        n += 1
    done.put(n)


def row_throughput(root: str, scale: float) -> Iterator[tuple[str, dict[str, str]]]:
    """Trials per second of many workers with an empty objective."""
    n, seconds = max(2, int(32 * scale)), 20 * scale
    context = multiprocessing.get_context("fork")
    figures = {}
    for name, make in STORAGES.items():
        url = new_database(root)
        study_of(make(url)).__class__  # noqa: B018  (creates the tables and the study)
        start, done = context.Barrier(n), context.Queue()
        workers = [
            context.Process(target=_work, args=(name, url, seconds, start, done)) for _ in range(n)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        finished = sql(url, "SELECT COUNT(*) FROM trials WHERE state = 'COMPLETE'")[0][0]
        dead = sum(worker.exitcode != 0 for worker in workers)
        figures[name] = f"{finished / seconds:.1f} per s" + (f", {dead} died" if dead else "")
    yield f"trials per second, {n} workers", figures


def row_join(root: str, scale: float) -> Iterator[tuple[str, dict[str, str]]]:
    """Joining a study of 10,000 trials: storage, study and all trials."""
    n = int(10_000 * scale)
    url = new_database(root)
    study_of(stock(url))
    fill(url, n)
    figures = {}
    for name, make in STORAGES.items():

        def join(make: Callable[[str], BaseStorage] = make) -> None:
            study = optuna.load_study(study_name="bench", storage=make(url))
            assert len(study.get_trials(deepcopy=False)) == n

        figures[name] = f"{timed(join, 3) / 1000:.2f} s"
    yield f"joining a study of {n} trials", figures


def row_ask(root: str, scale: float) -> Iterator[tuple[str, dict[str, str]]]:
    """ask at 100 and at 100,000 finished trials, the sampler apart; both sizes in turn."""
    sizes = (100, int(100_000 * scale))
    studies: dict[tuple[str, int], Any] = {}
    for n in sizes:
        url = new_database(root)
        study_of(stock(url))
        fill(url, n)
        for name, make in STORAGES.items():
            studies[name, n] = study_of(make(url))
            for _ in range(3):
                run_trial(studies[name, n])
    figures = {}
    for name in STORAGES:
        taken: dict[int, list[float]] = {n: [] for n in sizes}
        for _ in range(5 if name == "stock" else 100):
            for n in sizes:
                begin = time.perf_counter()
                trial = studies[name, n].ask()
                taken[n].append(1000 * (time.perf_counter() - begin))
                studies[name, n].tell(trial, 0.5)
        small, large = (statistics.median(taken[n]) for n in sizes)
        figures[name] = f"{small:.1f} -> {large:.1f} ms, x{large / small:.2f}"
    yield f"ask at {sizes[0]} and at {sizes[1]} finished trials", figures


def row_suggest(root: str, scale: float) -> Iterator[tuple[str, dict[str, str]]]:
    """TPE's suggestion at 10,000 finished trials; beside this storage, BoundedTPESampler's."""
    n = int(10_000 * scale)
    url = new_database(root)
    study_of(stock(url))
    fill(url, n)
    figures = {}
    for name, make in STORAGES.items():
        sampler: optuna.samplers.BaseSampler = optuna.samplers.TPESampler(seed=0)
        if name != "stock":
            sampler = BoundedTPESampler(seed=0)
        study = study_of(make(url), sampler)
        taken = []
        for _ in range(6):
            trial = study.ask()
            begin = time.perf_counter()
            for i in range(N_PARAMS):
                trial.suggest_float(f"x{i}", 0, 1)
            taken.append(1000 * (time.perf_counter() - begin))
            study.tell(trial, 0.5)
        figures[name] = f"{statistics.median(taken[1:]):.0f} ms"
    yield f"TPE suggestion of 5 parameters at {n} trials", figures


ROWS = {
    "statements": row_statements,
    "prune": row_prune,
    "throughput": row_throughput,
    "join": row_join,
    "suggest": row_suggest,
    "ask": row_ask,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--row", action="append", choices=ROWS, help="only this row")
    parser.add_argument("--url", help="a server to use; else a private one is started")
    parser.add_argument("--scale", type=float, default=1.0, help="of the sizes, 1 for the issue's")
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")
    server = None
    root = arguments.url
    if root is None:
        server = PrivateServer()
        server.start()
        root = server.root_url
    print(f"{'measure':<62}" + "".join(f"{name:>24}" for name in STORAGES), flush=True)
    try:
        for row in arguments.row or ROWS:
            for measure, figures in ROWS[row](root, arguments.scale):
                print(f"{measure:<62}" + "".join(f"{figures[n]:>24}" for n in STORAGES), flush=True)
    finally:
        if server:
            server.remove()


if __name__ == "__main__":
    main()
