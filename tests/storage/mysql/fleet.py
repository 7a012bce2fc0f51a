"""Worker processes for the tests: the loop of a worker, with an objective that costs nothing."""

import multiprocessing
import os
import time
from collections.abc import Callable
from typing import Any

import optuna
from optuna.trial import TrialState

from hpo_job.storage.mysql import LockLost, MySQLStorage

FORK = multiprocessing.get_context("fork")


def study_on(storage: MySQLStorage, name: str = "s") -> optuna.Study:
    """The study of that name, created where it is missing."""
    return optuna.create_study(
        storage=storage,
        study_name=name,
        load_if_exists=True,
        sampler=optuna.samplers.RandomSampler(),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=1000),
    )


def ask(storage: MySQLStorage, study: optuna.Study, budget: int) -> optuna.Trial | None:
    """A trial, or None when the budget is spent: exactly, whatever the other workers do."""
    while True:
        try:
            with storage.exclusive(study.study_name):
                for trial_id in storage._get_stale_trial_ids(study._study_id):
                    storage.set_trial_state_values(trial_id, TrialState.FAIL)
                counts = storage.counts(study._study_id)
                if sum(counts.values()) - counts[TrialState.FAIL] >= budget:
                    return None
                return study.ask()
        except LockLost:
            continue


def work(storage: MySQLStorage, study: optuna.Study, trial: optuna.Trial, pause: float = 0) -> None:
    """One trial: 5 parameters, 5 reports."""
    value = sum(trial.suggest_float(f"x{i}", 0, 1) for i in range(5))
    for step in range(5):
        trial.report(value, step)
        trial.should_prune()
        time.sleep(pause)
    study.tell(trial, value)


def worker(url: str, budget: int, pause: float = 0, **options: Any) -> None:
    """Work until the budget is spent."""
    storage = MySQLStorage(url, **options)
    study = study_on(storage)
    while (trial := ask(storage, study, budget)) is not None:
        work(storage, study, trial, pause)
    storage.remove_session()


def start(n: int, target: Callable[..., None], *args: Any, **kwargs: Any) -> list[Any]:
    """Start processes that all run `target`."""
    processes = [FORK.Process(target=target, args=args, kwargs=kwargs) for _ in range(n)]
    for process in processes:
        process.start()
    return processes


def exit_codes(processes: list[Any], seconds: float) -> list[int | None]:
    """Wait for processes; what is still there at the end is killed, and counts as None."""
    deadline = time.monotonic() + seconds
    codes = []
    for process in processes:
        process.join(max(0.1, deadline - time.monotonic()))
        codes.append(process.exitcode)
        if process.exitcode is None:
            os.kill(process.pid, 9)
            process.join()
    return codes
