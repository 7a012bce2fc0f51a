"""Where the workers' time went, as far as the trials' attributes say."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

import optuna
import pandas as pd
from optuna.trial import FrozenTrial, TrialState

from hpo_job.results.trials import attribute, seconds, trials_of, worker_name
from hpo_job.trial import attributes
from hpo_job.trial.clock import elapsed, instant
from hpo_job.trial.counting import evaluated

# The parts of a trial's time: the name people read, and the attribute that holds its seconds
PARTS = {
    "data": attributes.DATA_TIME,
    "learning-rate finder": attributes.LR_FIND_TIME,
    "training": attributes.TRAIN_TIME,
    "validation": attributes.VALIDATION_TIME,
    "measuring speed": attributes.EXECUTE_TIME,
    "storage": attributes.STORAGE_TIME,
}
OTHER, FAILED, IDLE = "other, in a trial", "failed trials", "idle, between trials"
USEFUL = ("learning-rate finder", "training", "validation", "measuring speed")
NOBODY = "unknown worker"


@dataclass(frozen=True)
class Timings:
    """Seconds of all workers together.

    Attributes:
        seconds: by part; the parts add up to ``total``.
        total: of each worker from its first trial's start to its last one's end, added up.
        workers: how many workers there were, as far as trials name them.
        missing: attributes that no trial has, so that their time counts under another part.
    """

    seconds: dict[str, float]
    total: float
    workers: int
    missing: tuple[str, ...]

    @property
    def useful(self) -> float | None:
        """The share of the time that went into training and scoring trials that count."""
        if not self.total or attributes.TRAIN_TIME in self.missing:
            return None
        return sum(self.seconds[name] for name in USEFUL) / self.total

    def frame(self) -> pd.DataFrame:
        """A row for each part: ``seconds`` and ``share``."""
        table = pd.DataFrame({"seconds": pd.Series(self.seconds, dtype=float)})
        table["share"] = table["seconds"] / self.total if self.total else 0.0
        table.index.name = "part"
        return table


def timings(study: optuna.Study) -> Timings:
    """Where the time of a study's workers went.

    A worker's time is known from its first trial's start on: what it did before, and after its
    last one, is not stored. Trials of a worker nobody named count without idle time.
    """
    started = [trial for trial in trials_of(study) if trial.datetime_start is not None]
    parts = dict.fromkeys((*PARTS, OTHER, FAILED, IDLE), 0.0)
    for trial in started:
        for name, time in _parts(trial).items():
            parts[name] += time
    by_worker = workers(started)
    parts[IDLE] = sum(_idle(trials) for name, trials in by_worker.items() if name != NOBODY)
    measured = {name for trial in started for name in PARTS.values() if name in trial.user_attrs}
    measured.add(attributes.LR_FIND_TIME)  # only the trials that ask the finder have it
    missing = tuple(name for name in PARTS.values() if name not in measured)
    named = sum(name != NOBODY for name in by_worker)
    return Timings(parts, sum(parts.values()), named, missing)


def workers(trials: Iterable[FrozenTrial]) -> dict[str, list[FrozenTrial]]:
    """The trials by the worker that ran them, in the order in which they were started."""
    by_worker: dict[str, list[FrozenTrial]] = defaultdict(list)
    for trial in sorted(trials, key=lambda each: instant(each.datetime_start)):
        by_worker[worker_name(trial) or NOBODY].append(trial)
    return dict(by_worker)


def _parts(trial: FrozenTrial) -> dict[str, float]:
    whole = max(seconds(trial), 0.0)
    if not evaluated(trial) and trial.state != TrialState.RUNNING:
        return {FAILED: whole}
    known = {name: max(attribute(trial, source) or 0.0, 0.0) for name, source in PARTS.items()}
    # validation passes are part of the fits' time
    known["training"] = max(known["training"] - known["validation"], 0.0)
    over = sum(known.values()) - whole
    if over > 0:  # the storage was waited for while the model was trained, or another clock ran
        known["training"] = max(known["training"] - over, 0.0)
        scale = min(1.0, whole / (sum(known.values()) or 1.0))
        known = {name: time * scale for name, time in known.items()}
    return {**known, OTHER: max(whole - sum(known.values()), 0.0)}


def _idle(trials: list[FrozenTrial]) -> float:
    """Seconds between one worker's trials."""
    idle = 0.0
    end: datetime | None = None
    for trial in trials:
        assert trial.datetime_start is not None
        if end is not None:
            idle += max(elapsed(end, trial.datetime_start), 0.0)
        finish = trial.datetime_complete or datetime.now()
        end = finish if end is None else max(end, finish, key=instant)
    return idle
