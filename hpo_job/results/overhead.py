"""What the tool itself costs: the time of workers that went into choosing and recording trials.

Each trial measures it: waiting for the study's lock, drawing parameters, and the statements of the
database. A result is recorded after its trial's measurements, so its worker's next trial has that.
"""

from __future__ import annotations

from dataclasses import dataclass

import optuna

from hpo_job.results.trials import attribute, trials_of
from hpo_job.trial import attributes

MENTIONED = 0.01  # the least share of the workers' time that is mentioned


@dataclass(frozen=True)
class Overhead:
    """Seconds of all workers together.

    Attributes:
        lock: waiting for the study's lock, within which one worker at a time chooses a trial.
        sampling: drawing parameters, and storing them.
        sql: all else that the database was waited for: choosing, reporting, recording.
        total: of the trials, from asking for one until its result is recorded.
        trials: how many measured it.
    """

    lock: float
    sampling: float
    sql: float
    total: float
    trials: int

    @property
    def share(self) -> float:
        return (self.lock + self.sampling + self.sql) / self.total


def overhead(study: optuna.Study) -> Overhead | None:
    """The overhead of a study's finished trials; None where none measured it."""
    measured = [
        trial
        for trial in trials_of(study)
        if trial.state.is_finished() and attributes.LOCK_TIME in trial.user_attrs
    ]
    sums = {
        name: sum(attribute(trial, name) or 0.0 for trial in measured)
        for name in (
            attributes.LOCK_TIME,
            attributes.SAMPLING_TIME,
            attributes.STORAGE_TIME,
            attributes.RECORDING_TIME,
            attributes.TOTAL_TIME,
        )
    }
    lock, sampling, storage, recording, total = sums.values()
    if total <= 0:
        return None
    sql = max(storage - lock - sampling, 0.0) + recording
    return Overhead(lock, sampling, sql, total + recording, len(measured))


def overhead_text(study: optuna.Study) -> str | None:
    """The overhead for people, or None where it is next to nothing.

    ``38.0% of the workers' time: lock 20.1%, sampling 6.0%, SQL 11.9%``
    """
    spent = overhead(study)
    if spent is None or spent.share < MENTIONED:
        return None
    parts = {"lock": spent.lock, "sampling": spent.sampling, "SQL": spent.sql}
    listed = ", ".join(f"{name} {seconds / spent.total:.1%}" for name, seconds in parts.items())
    return f"{spent.share:.1%} of the workers' time: {listed}"
