"""Workers as the pods of a cluster are: the real `hpo-job worker`, each as if on its own host."""

from __future__ import annotations

import logging
import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna

from hpo_job.cli import main
from hpo_job.study import workers
from hpo_job.trial import attributes
from tests.quick import wait_until, write_job
from tests.storage.mysql.fleet import FORK, exit_codes
from tests.storage.sql import sql

FIVE = "[search_space]\n" + "\n".join(
    f'{name} = {{ type = "float", low = -5.0, high = 5.0 }}' for name in "xabcd"
)
# 5 reports, some milliseconds
SHORT = """
import time

def train(trial, context):
    for _ in range(5):
        time.sleep(PAUSE)
        context.report(context.params["x"])
    return context.params["x"]
"""
# A trial that writes its process number, and lasts until the file "go", or its own, is there
HELD = """
import os, time
from pathlib import Path

def train(trial, context):
    folder = Path(__file__).parent
    new = folder / f"new-{os.getpid()}"
    new.write_text(str(os.getpid()))
    new.rename(folder / f"running-{trial.number}")  # whole at once
    while not any((folder / go).exists() for go in ("go", f"go-{trial.number}")):
        time.sleep(0.02)
    context.report(0.5)
    return context.params["x"]
"""


def short(pause: float = 0.0) -> str:
    """An objective whose trials take 5 times so many seconds."""
    return SHORT.replace("PAUSE", str(pause))


class Pods:
    """A job, and the processes that work on it; forked, so that nothing is imported again.

    Args:
        folder: where the job is written, and what the workers say.
        url: of the storage.
        grace: seconds without a heartbeat after which a trial is lost.
    """

    def __init__(
        self, folder: Path, url: str, source: str = HELD, *, grace: int = 60, **job: str
    ) -> None:
        self.job = write_job(folder, source, **job)
        self.url = url
        self.grace = grace
        self.all: list[Any] = []
        self._log = folder / "log"
        self._log.mkdir(exist_ok=True)

    def start(self, n: int = 1, url: str | None = None) -> list[Any]:
        """Start as many workers."""
        arguments = ["worker", str(self.job), "--grace", str(self.grace)]
        started = []
        for _ in range(n):
            log = self._log / str(len(self.all))
            pod = FORK.Process(target=_pod, args=(arguments, log, url or self.url))
            pod.start()
            self.all.append(pod)
            started.append(pod)
        return started

    def said(self) -> str:
        """All that the workers have said."""
        return "".join(file.read_text() for file in sorted(self._log.iterdir()))

    def complaints(self) -> list[str]:
        """The lines that the workers have said, but for what each says of itself and its trials."""
        lines = self.said().splitlines()
        own = ("hpo-job: worker of study ", "hpo-job: trial ")
        return [line for line in lines if not line.startswith(own)]

    def said_by(self, pod: Any) -> str:
        """What one worker has said."""
        return (self._log / str(self.all.index(pod))).read_text()

    def running(self) -> dict[int, int]:
        """Process numbers, by the numbers of the trials that `HELD` has begun."""
        return {
            int(file.name.partition("-")[2]): int(file.read_text())
            for file in self.job.glob("running-*")
        }

    def wait_for(self, n: int) -> None:
        """Wait until so many trials have begun."""
        wait_until(lambda: len(self.running()) >= n)

    def go(self) -> None:
        """Let the trials of `HELD` end."""
        (self.job / "go").touch()

    def end(self, seconds: float = 120) -> list[int | None]:
        """Wait for all workers; their exit codes."""
        return exit_codes(self.all, seconds)

    # -- what the study holds ----------------------------------------------------------------

    def states(self) -> dict[str, int]:
        """How many trials are in each state; none before the first worker made the tables."""
        try:
            return dict(sql(self.url, "SELECT state, COUNT(*) FROM trials GROUP BY state"))
        except Exception as error:  # each driver has its own
            if "no such table" in str(error) or "exist" in str(error):
                return {}
            raise

    def finished(self) -> int:
        """How many trials are COMPLETE."""
        return self.states().get("COMPLETE", 0)

    def know_parameters(self, n: int) -> None:
        """Wait until the parameters of so many trials are stored: half a second, at most."""
        wait_until(lambda: sql(self.url, "SELECT COUNT(*) FROM trial_params") == [(n,)])

    def reasons(self) -> dict[int, str]:
        """Why trials failed, by their numbers."""
        return self._attribute(attributes.REASON)

    def retries(self) -> dict[int, str]:
        """Which trial a trial runs again, by their numbers."""
        return self._attribute(attributes.RETRY_OF)

    def _attribute(self, name: str) -> dict[int, str]:
        return {
            number: text.strip('"')
            for number, text in sql(
                self.url,
                "SELECT t.number, a.value_json FROM trials t JOIN trial_user_attributes a"
                f" ON a.trial_id = t.trial_id WHERE a.key = '{name}' ORDER BY t.number",
            )
        }


@contextmanager
def pods_of(*arguments: Any, **options: Any) -> Iterator[Pods]:
    """Pods that are killed at the end, if there are any left."""
    pods = Pods(*arguments, **options)
    try:
        yield pods
    finally:
        for pod in pods.all:
            pod.kill()
            pod.join()


def ask_by(act: Callable[[Callable[[], optuna.Trial]], optuna.Trial]) -> Any:
    """A replacement of Optuna's `Study.ask`, for studies in a database: calls ``act(ask)``.

    `check` asks studies in memory, to try the sampler.
    """
    ask = optuna.Study.ask

    def replaced(study: optuna.Study, *arguments: Any) -> optuna.Trial:
        if isinstance(study._storage, optuna.storages.InMemoryStorage):
            return ask(study, *arguments)
        return act(lambda: ask(study, *arguments))

    return replaced


def kill(pid: int) -> None:
    """kill -9, and wait until the process is gone (or waits for its parent)."""
    os.kill(pid, signal.SIGKILL)


def redirected(arguments: list[str], log: Path, env: Mapping[str, str]) -> None:
    """The real command in this process, which was forked for it: what it says goes to a file."""
    stream = log.open("a", buffering=1)
    os.dup2(stream.fileno(), 1)
    os.dup2(stream.fileno(), 2)
    sys.stdout = sys.stderr = stream
    logging.getLogger().handlers.clear()  # pytest's
    warnings.resetwarnings()
    warnings.simplefilter("ignore")
    os.environ.update(env)
    main(arguments)


def _pod(arguments: list[str], log: Path, url: str) -> None:
    host = f"pod-{log.name}"
    workers._host = lambda: host
    redirected(arguments, log, {"HPO_JOB_STORAGE": url})
