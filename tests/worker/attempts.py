"""Studies whose trials save their states, and workers of them that are killed."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import numpy as np
from optuna.trial import FrozenTrial
from threadpoolctl import threadpool_limits

from hpo_job.storage.database import Storage
from hpo_job.study.joining import create
from hpo_job.study.promotion import is_paused, place
from hpo_job.trial import attributes
from hpo_job.trial.counting import takes_place
from hpo_job.worker.loop import work
from hpo_job.worker.machine_share import Machine
from hpo_job.worker.signals import Stop
from tests.quick import Quick

# Twenty epochs whose value depends on all of them; where a file says so, it is killed after one
EPOCHS = """
import os, signal, threading, time
from pathlib import Path

import numpy as np

def end(folder, epoch):
    order = folder / f"at-{epoch}"
    if order.exists():
        number = signal.Signals[order.read_text()]
        order.unlink()
        os.kill(os.getpid(), number)

def uploaded():
    for thread in threading.enumerate():
        if thread.name == "upload":
            thread.join()

def train(trial, context):
    folder = Path(__file__).parent
    state = context.resume() or {"epoch": 0, "weights": np.zeros(4)}
    weights = state["weights"]
    for epoch in range(state["epoch"], 20):
        weights = weights * 0.9 + context.params["x"] + epoch
        with (folder / "epochs").open("a") as log:
            print(trial.number, epoch, file=log)
        context.report(float(weights.sum()))
        uploaded()
        context.save(lambda: {"epoch": epoch + 1, "weights": weights})
        uploaded()  # so that a test knows what was saved
        end(folder, epoch)
        context.save(lambda: {"epoch": epoch + 1, "weights": weights})
    return float(weights.sum())
"""
ALWAYS = "[checkpoint]\nevery = 1e-9\n"
PAUSING = f'{ALWAYS}[pruner]\nname = "PromotionPruner"\nreduction_factor = 2\n'


def undisturbed(x: float) -> float:
    weights = np.zeros(4)
    for epoch in range(20):
        weights = weights * 0.9 + x + epoch
    return float(weights.sum())


class Study(Quick):
    """A study of one trial, whose workers are forks that keep their states in ``store``."""

    def __init__(self, folder: Path, source: str = EPOCHS, **job: Any) -> None:
        super().__init__(folder, source, **{"budget": "trials = 1", "more": ALWAYS, **job})
        self.store, self.log = folder / "store", folder / "log"

    def end_at(self, epoch: int, number: str) -> None:
        (self.job / f"at-{epoch}").write_text(number)

    def fork(self) -> int:
        """Start a worker; its process number."""
        if pid := os.fork():
            return pid
        try:
            logging.basicConfig(filename=self.log, level=logging.INFO, force=True)
            storage = Storage(self.url)
            study = create(self.checked, storage)
            stop, machine = Stop(), Machine(threads=1, artifacts=str(self.store))
            # torch's threads do not live on in a fork, if this process has imported it
            with stop.listening(), threadpool_limits(1):
                work(self.checked, study, storage, stop, machine)
            os._exit(stop.exit_code)
        except BaseException as error:
            logging.critical("ended", exc_info=error)
        finally:
            os._exit(99)

    def run(self) -> int:
        """Run a worker to its end; its exit code, or minus the signal that killed it."""
        return os.waitstatus_to_exitcode(os.waitpid(self.fork(), 0)[1])

    def epochs(self) -> list[list[int]]:
        """(trial, epoch) of each that was trained."""
        return [
            [*map(int, line.split())] for line in (self.job / "epochs").read_text().splitlines()
        ]

    def objects(self) -> set[str]:
        return {file.name for file in self.store.iterdir()} if self.store.exists() else set()

    def stored_bytes(self) -> int:
        return sum((self.store / name).stat().st_size for name in self.objects())

    @property
    def trials(self) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False)


def require_promoted(study: Study, trials: int) -> None:
    """Check that a study with `PAUSING` tried so many parameter sets, and promoted the best half.

    Promoted are at least those who are the best half of a rung in the end.
    """
    assert not [trial for trial in study.trials if not trial.state.is_finished()]
    first = [trial for trial in study.trials if takes_place(trial)]
    assert len(first) == len({trial.params["x"] for trial in first}) == trials
    continued = {trial.user_attrs.get(attributes.RETRY_OF) for trial in study.trials}
    rungs: dict[int, list[FrozenTrial]] = {}
    for trial in filter(is_paused, study.trials):
        rungs.setdefault(place(trial)[1], []).append(trial)
    assert len(rungs[0]) == trials
    for reached in rungs.values():
        reached.sort(key=lambda trial: float(trial.value or 0))
        assert {trial.number for trial in reached[: len(reached) // 2]} <= continued
