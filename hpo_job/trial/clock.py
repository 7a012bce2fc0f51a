"""Optuna's times are naive and local; what they mean is decided here, and nowhere else.

On the night the clocks are set back an hour passes twice: ``fold`` tells the two apart, and plain
subtraction and comparison of naive times ignore it. On the night they are set forward an hour is
missing, which subtraction counts. So nobody subtracts or sorts these times: seconds since the
epoch are taken instead.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime

from optuna.trial import FrozenTrial


def local_time(stored: datetime) -> datetime:
    """The local time, naive as Optuna's but with its ``fold``, of a naive UTC time.

    Databases hold UTC. Optuna's own reading of it loses ``fold``.
    """
    return datetime.fromtimestamp(stored.replace(tzinfo=UTC).timestamp())


def instant(local: datetime | None) -> float:
    """The seconds since the epoch at a local time, infinite for None: what times are sorted by."""
    return math.inf if local is None else local.timestamp()


def elapsed(start: datetime, end: datetime) -> float:
    """The seconds from one local time to another, on any night of the year."""
    return end.timestamp() - start.timestamp()


def later(start: datetime, seconds: float) -> datetime:
    """The local time some seconds after another."""
    return datetime.fromtimestamp(start.timestamp() + seconds)


def running_time(trial: FrozenTrial, now: datetime | None = None) -> float:
    """The seconds that ``trial`` has run, or had run when it ended; 0 where it never started.

    Args:
        trial: any trial; Optuna's own ``FrozenTrial.duration`` subtracts local times.
        now: the time by the clock that its start was taken from; by default this machine's.
    """
    if trial.datetime_start is None:
        return 0.0
    return elapsed(trial.datetime_start, trial.datetime_complete or now or datetime.now())
