"""How long a trial takes here: one short trial of a job, in a study that is thrown away."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import optuna

from hpo_job.errors import StudyError
from hpo_job.machine import CACHE
from hpo_job.spec.search_space import Int
from hpo_job.spec.study_toml import Artifacts, Budget, Component, StudySpec
from hpo_job.storage.database import Storage
from hpo_job.storage.defaults import GRACE
from hpo_job.trial import attributes
from hpo_job.trial.counting import evaluated
from hpo_job.worker.job import Job, run_worker
from hpo_job.worker.machine_share import Machine
from hpo_job.worker.signals import Stop

EPOCHS = "epochs"  # how parameters end that say how often the data is passed over


@dataclass(frozen=True)
class Measured:
    """What a trial takes on this machine, in seconds.

    Attributes:
        short: the trial that was run, with the fewest epochs.
        typical: one with a typical number of epochs, as far as the short one says.
    """

    short: float
    typical: float


def measure(spec: StudySpec, weights: Path, threads: int) -> Measured:
    """Run one trial of the job with the fewest epochs; nothing of it is kept.

    Raises:
        StudyError: the trial failed; the log says why.
        HpoJobError: the job cannot run.
    """
    epochs = {name: each for name, each in spec.search_space.items() if _counts_epochs(name, each)}
    fewest = {name: each.low for name, each in epochs.items() if isinstance(each, Int)}
    short = spec.model_copy(
        update={
            "budget": Budget(trials=1, failures=1),
            "pruner": Component(name="NopPruner"),
            "artifacts": Artifacts(keep=0),
            "enqueue": ({**(spec.enqueue[0] if spec.enqueue else {}), **fewest},),
        }
    )
    with TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/measured.db"
        stop = Stop()
        code = run_worker(Job(short, url, weights, GRACE, Machine(threads, CACHE, folder)), stop)
        if stop.requested:
            raise SystemExit(code)
        storage = Storage(url)
        study = optuna.load_study(study_name=spec.name, storage=storage.optuna)
        trials = [trial for trial in study.get_trials(deepcopy=False) if evaluated(trial)]
        storage.close()
    if not trials:
        raise StudyError(f"{spec.file}: the short trial failed, so nothing was measured")
    total = float(trials[0].user_attrs[attributes.TOTAL_TIME])
    times = trials[0].user_attrs.get(attributes.EPOCH_TIMES, [])
    more = sum((each.high - each.low) / 2 for each in epochs.values() if isinstance(each, Int))
    each = sum(times) / len(times) if times else total / max(1, sum(fewest.values()))
    return Measured(total, total + more * each)


def _counts_epochs(name: str, parameter: object) -> bool:
    return isinstance(parameter, Int) and name.endswith(EPOCHS)
