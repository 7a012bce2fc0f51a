"""A study in one row: how far it is, its best value, and when something happened last."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import optuna

from hpo_job.results.formatting import number
from hpo_job.results.ranking import leading
from hpo_job.results.trials import baselines, metric_names, spec_of, trials_of, value
from hpo_job.trial.counting import takes_place


@dataclass(frozen=True)
class Summary:
    """What `hpo-job list` says of a study.

    Attributes:
        study: its name.
        evaluated: trials that ended COMPLETE or PRUNED.
        budget: how many of them the study is for; None where that is not limited or known.
        metric: the name of the first objective.
        best: its best value; None before the first trial has ended well.
        baseline: of that metric, where it is known.
        last: when a trial began or ended last; None without trials.
        models: bytes of kept models; None where there are none here.
    """

    study: str
    evaluated: int
    budget: int | None
    metric: str
    best: float | None
    baseline: float | None
    last: datetime | None
    models: int | None

    @staticmethod
    def columns() -> tuple[str, ...]:
        """The names of what `row` returns."""
        return tuple(Summary.__dataclass_fields__)

    def row(self) -> dict[str, Any]:
        """All values as they are, by the names of the columns."""
        return {name: getattr(self, name) for name in self.columns()}

    def texts(self) -> tuple[str, ...]:
        """Name, trials, best value, baseline and last activity for a person."""
        trials = f"{self.evaluated} of {self.budget}" if self.budget else str(self.evaluated)
        best = "-" if self.best is None else f"{self.metric} {number(self.best)}"
        last = self.last.isoformat(" ", "minutes") if self.last else "-"
        return self.study, trials, best, number(self.baseline), last


def summary(study: optuna.Study, models: int | None) -> Summary:
    """The summary of a study whose models have so many bytes."""
    trials = trials_of(study)
    best = leading(study, 1)
    times = [
        time for trial in trials for time in (trial.datetime_complete, trial.datetime_start) if time
    ]
    return Summary(
        study=study.study_name,
        evaluated=sum(map(takes_place, trials)),
        budget=spec_of(study).get("budget", {}).get("trials"),
        metric=metric_names(study)[0],
        best=value(best[0]) if best else None,
        baseline=baselines(study)[0],
        last=max(times, default=None),
        models=models,
    )
