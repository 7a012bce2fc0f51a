"""How fast a study goes, and when it may end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import optuna

from hpo_job.results.formatting import clock
from hpo_job.results.trials import spec_of, trials_of
from hpo_job.study.ledger import working_time
from hpo_job.trial.clock import later
from hpo_job.trial.counting import takes_place


@dataclass(frozen=True)
class Forecast:
    """What is known of a study's speed.

    Attributes:
        rate: trials a second of working time; None before the first has ended.
        left: seconds until the budget is used up at that rate; None if nobody can say.
        end: when that is, by this machine's clock.
    """

    rate: float | None = None
    left: float | None = None
    end: datetime | None = None


def forecast(study: optuna.Study, now: datetime | None = None) -> Forecast:
    """When the budget of trials or of time will be used up, if the study goes on as it did."""
    now = now or datetime.now()
    trials, budget = trials_of(study), spec_of(study).get("budget", {})
    done = sum(takes_place(trial) for trial in trials)
    time = working_time(trials, now)
    if not done or time <= 0:
        return Forecast()
    rate = done / time
    remaining = []
    if (count := budget.get("trials")) is not None:
        remaining.append(max(0, count - done) / rate)
    if (timeout := budget.get("timeout")) is not None:
        remaining.append(max(0.0, timeout - time))
    if not remaining or min(remaining) <= 0:
        return Forecast(rate)
    return Forecast(rate, min(remaining), later(now, min(remaining)))


def forecast_lines(study: optuna.Study, now: datetime | None = None) -> Iterator[str]:
    """The same as lines of a view."""
    expected = forecast(study, now)
    if expected.rate is not None:
        yield f"rate      {expected.rate * 3600:.3g} trials an hour"
    if expected.left is not None:
        yield f"end       expected at {expected.end:%H:%M}, in {clock(expected.left)}"
