"""What grows with a study: storage time of a trial, memory of a worker, time of commands.

    python benchmarks/growth.py                              # up to 10,000 trials
    python benchmarks/growth.py --trials 100 1000 100000
    python benchmarks/growth.py --workers 1 2 8 32 128
    python benchmarks/growth.py --format json

By trials: a study on a private MariaDB is filled with finished trials of 5 parameters and 5
reports; then a new process joins it, as a worker does, and runs trials with the random sampler.
Printed are the wall time of one of them, its CPU time (that of Optuna's pruner, which compares each
report with all trials, separately), the statements, the memory of the process, and the CPU seconds
of each command as a process of its own (import included).

By workers: as many processes run trials on one study at the same time, without training. A machine
has few cores, so what can stay flat is what a trial costs: its statements, and its CPU time.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState, create_trial

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from hpo_job.spec.reading import read_spec
from hpo_job.spec.study_toml import StudySpec
from hpo_job.storage.database import Storage
from hpo_job.study.admission import admit
from hpo_job.study.checking import check
from hpo_job.study.joining import create, load
from hpo_job.study.ledger import Ledger
from tests.quick import write_job
from tests.storage.mysql.fleet import FORK
from tests.storage.mysql.server import PrivateServer, new_database
from tests.storage.sql import sql

SPACE = "[search_space]\n" + "\n".join(
    f'{name} = {{ type = "float", low = 0.0, high = 1.0 }}' for name in "abcde"
)
COMMANDS = ("status", "results", "report")
TRIALS = 30  # measured; the median is printed
ADDED = 1000  # trials that Optuna adds; further ones are copies of them, made by the server
COLUMNS = {
    "trials": "study_id, state, datetime_start, datetime_complete",
    "trial_params": "param_name, param_value, distribution_json",
    "trial_values": "objective, value, value_type",
    "trial_intermediate_values": "step, intermediate_value, intermediate_value_type",
    "trial_user_attributes": "`key`, value_json",
}
Row = dict[str, Any]


def job_in(folder: Path) -> Path:
    """A job of 5 parameters, whose budget is never used up."""
    return write_job(folder, budget="trials = 10000000", space=SPACE, more=RANDOM)


RANDOM = '[sampler]\nname = "RandomSampler"\n'


def filled(url: str, job: Path, count: int) -> None:
    """Create the job's study, and fill it with finished trials."""
    storage = Storage(url, create=True)
    study = create(check(read_spec(job), job), storage)
    space = {name: FloatDistribution(0, 1) for name in "abcde"}
    begin, drawn = datetime.now() - timedelta(days=1), random.Random(0)
    study.add_trials(
        create_trial(
            params={name: drawn.random() for name in space},
            distributions=dict(space),
            intermediate_values={step: drawn.random() for step in range(5)},
            value=drawn.random(),
            user_attrs={"draw": number, "working_time": 1.0},
        )
        for number in range(min(count, ADDED))
    )
    for present in range(ADDED, count, ADDED):
        sql(url, *copied(min(ADDED, count - present), present))
    sql(url, f"UPDATE trials SET datetime_start = '{begin}' WHERE datetime_start IS NULL")
    storage.close()


def copied(count: int, shift: int) -> list[str]:
    """Statements that add the first ``count`` trials again, as the trials from ``shift`` on.

    The study is its database's only one, so that ids follow each other as numbers do.
    """
    statements = [
        f"INSERT INTO trials (trial_id, number, {COLUMNS['trials']})"
        f" SELECT trial_id + {shift}, number + {shift}, {COLUMNS['trials']}"
        f" FROM trials WHERE number < {count}"
    ]
    statements += [
        f"INSERT INTO {table} (trial_id, {columns}) SELECT trial_id + {shift}, {columns}"
        f" FROM {table} WHERE trial_id <= (SELECT MIN(trial_id) FROM trials) + {count - 1}"
        for table, columns in COLUMNS.items()
        if table != "trials"
    ]
    return statements


def run_one(study: optuna.Study, spec: StudySpec, storage: Storage, ledger: Ledger) -> float:
    """A trial as a worker runs it, but for the training.

    Returns:
        CPU seconds that Optuna's pruner took: it compares each report with all trials.
    """
    trial = admit(study, spec, storage, ledger)
    assert isinstance(trial, optuna.Trial)
    value = sum(trial.suggest_float(name, 0, 1) for name in "abcde")
    pruner = 0.0
    for step in range(5):
        trial.report(value, step)
        begin = time.process_time()
        trial.should_prune()
        pruner += time.process_time() - begin
    study.tell(trial, value, state=TrialState.COMPLETE)
    return pruner


def questions(url: str) -> int:
    """How many statements the server has executed."""
    return int(sql(url, "SHOW GLOBAL STATUS LIKE 'Questions'")[0][1])


def of_one_worker(url: str, folder: str) -> None:
    """Join the study at ``url`` and run trials; prints what they took, as JSON."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    spec = read_spec(Path(folder))
    begin = time.monotonic()
    storage = Storage(url)
    study = load(spec.name, storage)
    study.sampler, ledger = optuna.samplers.RandomSampler(0), Ledger()
    run_one(study, spec, storage, ledger)
    joined = time.monotonic() - begin
    before, walls, cpus, pruners = questions(url), [], [], []
    for _ in range(TRIALS):
        wall, cpu = time.monotonic(), time.process_time()
        pruners.append(run_one(study, spec, storage, ledger))
        walls.append(time.monotonic() - wall)
        cpus.append(time.process_time() - cpu - pruners[-1])
    statements = (questions(url) - before) / TRIALS
    storage.close()
    row = {
        "first trial, s": round(joined, 2),
        "trial, ms": round(1000 * statistics.median(walls), 1),
        "trial, CPU ms": round(1000 * statistics.median(cpus), 1),
        "pruner, CPU ms": round(1000 * statistics.median(pruners), 1),
        "statements": round(statements, 1),
        "memory, MiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }
    print(json.dumps(row))


def by_trials(root_url: str, count: int, commands: Sequence[str]) -> Row:
    """What one more trial, and each command, takes in a study of so many."""
    url = new_database(root_url)
    with tempfile.TemporaryDirectory() as folder:
        job = job_in(Path(folder))
        filled(url, job, count)
        program = [sys.executable, __file__, "--join", url, str(job)]
        answer = subprocess.run(program, capture_output=True, text=True, check=True).stdout
        row: Row = {"trials": count, **json.loads(answer)}
        for command in commands:
            more = ["-o", f"{folder}/report.html"] if command == "report" else []
            program = [str(Path(sys.executable).with_name("hpo-job")), command, "quick", *more]
            begin = cpu_of_children()
            subprocess.run([*program, "--storage", url], capture_output=True, check=True)
            row[f"{command}, CPU s"] = round(cpu_of_children() - begin, 1)
    return row


def cpu_of_children() -> float:
    """Seconds of CPU that the child processes which have ended took."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def by_workers(root_url: str, count: int, each: int = 8) -> Row:
    """What a trial costs while so many workers run them."""
    url = new_database(root_url)
    with tempfile.TemporaryDirectory() as folder:
        job = job_in(Path(folder))
        filled(url, job, 0)
        before, begin = questions(url), time.monotonic()
        answers = FORK.Queue()
        processes = [
            FORK.Process(target=work, args=(url, job, each, answers)) for _ in range(count)
        ]
        for process in processes:
            process.start()
        measured = [answers.get() for _ in processes]
        for process in processes:
            process.join()
        done, seconds = count * each, time.monotonic() - begin
        return {
            "workers": count,
            "statements": round((questions(url) - before) / done, 1),
            "trial, CPU ms": round(1000 * sum(cpu for cpu, _ in measured) / done, 1),
            "trials/s": round(done / seconds, 1),
            "own memory, MiB": statistics.median(memory for _, memory in measured),
        }


def work(url: str, job: Path, each: int, answers: Any) -> None:
    """One of several workers; puts its CPU seconds and its own memory, in MiB."""
    begin = time.process_time()
    spec, storage = read_spec(job), Storage(url)
    study = load(spec.name, storage)
    study.sampler, ledger = optuna.samplers.RandomSampler(), Ledger()
    for _ in range(each):
        run_one(study, spec, storage, ledger)
    storage.close()
    answers.put((time.process_time() - begin, own_memory()))


def own_memory() -> int:
    """MiB that this process does not share with others."""
    text = Path("/proc/self/smaps_rollup").read_text()
    kib = [int(line.split()[1]) for line in text.splitlines() if line.startswith("Private_")]
    return sum(kib) // 1024


def printed(row: Row) -> Row:
    """``row``, printed to stderr at once: the next one may take long."""
    print(row, file=sys.stderr, flush=True)
    return row


def table(rows: list[Row]) -> str:
    """Markdown."""
    lines = [list(rows[0]), ["---"] * len(rows[0]), *([f"{v:,}" for v in r.values()] for r in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", nargs="*", type=int, default=[100, 1000, 10_000])
    parser.add_argument("--workers", nargs="*", type=int, default=[1, 2, 8, 32, 128])
    parser.add_argument("--commands", nargs="*", choices=COMMANDS, default=COMMANDS)
    parser.add_argument("--format", choices=("markdown", "json"), default="markdown")
    parser.add_argument("--join", nargs=2, metavar=("URL", "JOB"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.join:
        of_one_worker(*options.join)
        return
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    server = PrivateServer("max-connections=500")
    server.start()
    try:
        facts: dict[str, Any] = {
            "machine": platform.processor() or platform.machine(),
            "python": platform.python_version(),
            "optuna": optuna.__version__,
            "by trials": [
                printed(by_trials(server.root_url, count, options.commands))
                for count in options.trials
            ],
            "by workers": [
                printed(by_workers(server.root_url, count)) for count in options.workers
            ],
        }
    finally:
        server.remove()
    if options.format == "json":
        print(json.dumps(facts, indent=2))
        return
    for name in ("by trials", "by workers"):
        if facts[name]:
            print(table(facts[name]), end="\n\n")


if __name__ == "__main__":
    main()
