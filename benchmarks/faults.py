"""Kills, stops and wakes workers of a study at random, restarts their server, and counts.

python benchmarks/faults.py                    # 200 signals in 10 minutes, 8 workers, 3 restarts
python benchmarks/faults.py --signals 20 --minutes 1 --budget 60

The workers are the real `hpo-job worker`, each as if on a host of its own, and one that ended is
replaced, as a cluster does. Exit code 0 where the budget came out exact, no trial was left
RUNNING, and no finished trial had changed.
"""

import argparse
import logging
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.storage.mysql.server import PrivateServer, new_database, sql  # noqa: E402
from tests.storage.pods import FIVE, Pods, short  # noqa: E402

N_PARAMS = N_REPORTS = 5
# What is stored of a finished trial, in one text for each
CONTENTS = (
    "SELECT trial_id, CONCAT_WS(',', number, state, datetime_start, datetime_complete) FROM trials",
    "SELECT trial_id, CONCAT_WS(',', 'value', objective, value, value_type) FROM trial_values",
    "SELECT trial_id, CONCAT_WS(',', 'param', param_name, param_value) FROM trial_params",
    "SELECT trial_id, CONCAT_WS(',', 'step', step, intermediate_value)"
    " FROM trial_intermediate_values",
    "SELECT trial_id, CONCAT_WS(',', 'user', `key`, value_json) FROM trial_user_attributes",
    "SELECT trial_id, CONCAT_WS(',', 'system', `key`, value_json) FROM trial_system_attributes",
)


class Watch:
    """Finished trials as they were when they were first seen."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.seen: dict[int, Counter[str]] = {}

    def look(self) -> None:
        """Note the trials that finished since the last look."""
        rows = sql(
            self._url, "SELECT trial_id FROM trials WHERE state NOT IN ('RUNNING', 'WAITING')"
        )
        self.seen |= self._read([row[0] for row in rows if row[0] not in self.seen])

    def changed(self) -> list[int]:
        """The trials that are not any more as they were first seen."""
        now = self._read(list(self.seen))
        return [trial for trial, contents in self.seen.items() if now.get(trial) != contents]

    def _read(self, trials: list[int]) -> dict[int, Counter[str]]:
        contents: dict[int, Counter[str]] = {trial: Counter() for trial in trials}
        for query in CONTENTS if trials else ():
            for trial, text in sql(self._url, f"{query} WHERE trial_id IN ({str(trials)[1:-1]})"):
                contents[trial][text] += 1
        return contents


class Fleet:
    """Workers, replaced when they end as a Job of a cluster does, and what is done to them."""

    def __init__(self, pods: Pods, workers: int, longest_stop: float) -> None:
        self._pods = pods
        self._longest_stop = longest_stop
        self._alive = pods.start(workers)
        self._stopped: dict[Any, float] = {}  # workers, and when they are woken
        self.sent: Counter[str] = Counter()
        self.unexpected: list[int] = []  # exit codes of workers that nobody killed
        self.done = False  # a worker has found the budget used up

    def look(self) -> None:
        """Wake whose time has come, and replace who ended."""
        for worker, when in list(self._stopped.items()):
            if time.monotonic() >= when:
                self._wake(worker)
        for worker in [worker for worker in self._alive if worker.exitcode is not None]:
            self._alive.remove(worker)
            self._stopped.pop(worker, None)
            if worker.exitcode == 0:
                self.done = True
            elif worker.exitcode not in (-signal.SIGKILL, 128 + signal.SIGTERM):
                self.unexpected.append(worker.exitcode)
            if not self.done:
                self._alive += self._pods.start()

    def hurt(self) -> None:
        """Send one signal to one worker."""
        victims = [worker for worker in self._alive if worker not in self._stopped]
        if not victims:
            return
        victim = random.choice(victims)
        kind = random.choice([signal.SIGTERM, signal.SIGKILL, signal.SIGSTOP])
        send(victim, kind)
        self.sent[kind.name] += 1
        if kind == signal.SIGSTOP:
            self._stopped[victim] = time.monotonic() + random.uniform(0.5, self._longest_stop)

    def wait(self, seconds: float) -> None:
        """Let the workers that are left end by themselves."""
        end = time.monotonic() + seconds
        while self._alive and time.monotonic() < end:
            self.look()
            time.sleep(0.2)
        self.unexpected += [worker.pid for worker in self._alive]

    def _wake(self, worker: Any) -> None:
        del self._stopped[worker]
        send(worker, signal.SIGCONT)


def send(worker: Any, number: int) -> None:
    if worker.exitcode is None:
        os.kill(worker.pid, number)


def restart(server: PrivateServer, fleet: Fleet, how: int) -> None:
    """Stop the server, by kill -9 or cleanly, and start it again some seconds later."""
    (server.stop if how % 2 else server.kill)()
    end = time.monotonic() + random.uniform(2, 12)
    while time.monotonic() < end:
        fleet.look()
        time.sleep(0.2)
    server.start()


def run(arguments: argparse.Namespace, server: PrivateServer, pods: Pods) -> list[str]:
    """The faults, one after the other; what is wrong at the end."""
    fleet = Fleet(pods, arguments.workers, 2.0 * arguments.grace)
    watch = Watch(pods.url)
    while not pods.finished():
        time.sleep(0.2)
    begun = time.monotonic()
    gap = 60 * arguments.minutes / arguments.signals
    restarts = {
        arguments.signals * (i + 1) // (arguments.restarts + 1): i
        for i in range(arguments.restarts)
    }
    for number in range(arguments.signals):
        while time.monotonic() < begun + number * gap:
            fleet.look()
            time.sleep(0.1)
        watch.look()
        if number in restarts:
            restart(server, fleet, restarts[number])
        fleet.hurt()
        if number % 20 == 0:
            print(
                f"{number:4} signals, {time.monotonic() - begun:4.0f} s, {pods.states()}",
                flush=True,
            )
    early = " before the signals did" if fleet.done else ""
    took = time.monotonic() - begun
    fleet.wait(600)
    watch.look()
    print(
        f"{sum(fleet.sent.values())} signals {dict(fleet.sent)} in {took:.0f} s, "
        f"{arguments.restarts} restarts; the budget ended{early or ' after them'}"
    )
    return wrong(arguments.budget, pods, fleet, watch)


def wrong(budget: int, pods: Pods, fleet: Fleet, watch: Watch) -> list[str]:
    """What is not as it should be, a line each."""
    states = pods.states()
    reasons = Counter(pods.reasons().values())
    print(f"states {states}, {len(pods.all)} workers; FAIL: {dict(reasons)}")
    problems = []
    if states.get("COMPLETE", 0) != budget:
        problems.append(f"{states.get('COMPLETE', 0)} trials are COMPLETE, not {budget}")
    if states.get("RUNNING", 0):
        problems.append(f"{states['RUNNING']} trials are RUNNING still")
    if fleet.unexpected:
        problems.append(f"workers ended with {fleet.unexpected}")
    if changed := watch.changed():
        problems.append(f"finished trials have changed: {changed}")
    retried = Counter(pods.retries().values())
    if twice := [trial for trial, times in retried.items() if times > 1]:
        problems.append(f"trials were run again more than once: {twice}")
    for table, n in (
        ("trial_values", 1),
        ("trial_params", N_PARAMS),
        ("trial_intermediate_values", N_REPORTS),
    ):
        count = f"(SELECT COUNT(*) FROM {table} c WHERE c.trial_id = t.trial_id)"
        query = f"SELECT number FROM trials t WHERE state = 'COMPLETE' AND {count} <> {n}"
        if short_of := sql(pods.url, query):
            problems.append(f"{table}: not {n} rows of trials {[row[0] for row in short_of]}")
    numbers = sql(pods.url, "SELECT COUNT(*), COUNT(DISTINCT number), MAX(number) + 1 FROM trials")
    if len(set(numbers[0])) != 1:
        problems.append(f"trials, numbers, highest number: {numbers[0]}")
    if "Traceback" in pods.said():
        problems.append("a worker showed a traceback")
    again = pods.start(2)
    for worker in again:
        worker.join(120)
    if pods.states() != states or any(worker.exitcode != 0 for worker in again):
        problems.append(f"started again: {pods.states()}")
    return problems


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--signals", type=int, default=200)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--restarts", type=int, default=3)
    parser.add_argument("--budget", type=int, default=600, help="trials")
    parser.add_argument("--pause", type=float, default=1.2, help="seconds of each of 5 epochs")
    parser.add_argument("--grace", type=int, default=6, help="seconds")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    random.seed(arguments.seed)
    logging.basicConfig(level=logging.WARNING)
    server = PrivateServer()
    server.start()
    with tempfile.TemporaryDirectory() as folder:
        pods = Pods(
            Path(folder),
            new_database(server.root_url),
            short(arguments.pause),
            grace=arguments.grace,
            budget=f"trials = {arguments.budget}",
            space=FIVE,
        )
        try:
            problems = run(arguments, server, pods)
        except BaseException:
            print(pods.said()[-4000:], file=sys.stderr)
            raise
        finally:
            for pod in pods.all:
                pod.kill()
            server.remove()
        print("\n".join(problems) or "exact: nothing lost, nothing counted twice, nothing changed")
        if problems:
            Path("faults.log").write_text(pods.said())
            print("what the workers said is in faults.log")
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
