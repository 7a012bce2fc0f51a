"""Whether a study is over, by what, and how near it is to that."""

from __future__ import annotations

from datetime import datetime

import optuna
from optuna.trial import FrozenTrial, TrialState

from hpo_job.errors import plural
from hpo_job.results.formatting import clock
from hpo_job.results.trials import maximizes, spec_of, trials_of
from hpo_job.study.improvements import Improvements
from hpo_job.study.ledger import working_time
from hpo_job.study.promotion import stored_pruner
from hpo_job.trial.counting import takes_place

TRIALS, TIMEOUT, PATIENCE = "trials", "timeout", "patience"  # keys of [budget]


def finished(study: optuna.Study) -> bool:
    """Whether the study's budget is used up, by trials, time or patience, and no trial runs.

    Never where no budget is known, as of a study that was not created by hpo-job.
    """
    return ended_by(study) is not None


def ended_by(study: optuna.Study) -> str | None:
    """The key of the budget that ended the study; None while it goes on."""
    trials, budget = trials_of(study), spec_of(study).get("budget", {})
    if any(trial.state == TrialState.RUNNING for trial in trials):
        return None
    reason = None
    if _reached(sum(map(takes_place, trials)), budget.get(TRIALS)):
        reason = TRIALS
    elif _reached(without_improvement(study, trials), budget.get(PATIENCE)):
        reason = PATIENCE
    if reason:
        pruner = stored_pruner(spec_of(study).get("pruner"))
        if pruner is None or pruner.next(study, trials, last=True) is None:
            return reason
    timeout = budget.get(TIMEOUT)
    over = timeout is not None and working_time(trials, datetime.now()) >= timeout
    return TIMEOUT if over else None


def without_improvement(study: optuna.Study, trials: list[FrozenTrial]) -> int | None:
    """How many trials have ended since the last improvement; None without a patience."""
    budget = spec_of(study).get("budget", {})
    if budget.get(PATIENCE) is None:
        return None
    improvements = Improvements("maximize" if maximizes(study) else "minimize")
    improvements.update(trials)
    return improvements.since(budget.get("min_delta", 0.0))


def ending_text(study: optuna.Study) -> str | None:
    """What ended the study before its trials were used up, or None.

    ``no improvement of 0.001 in 20 trials``
    """
    budget = spec_of(study).get("budget", {})
    match ended_by(study):
        case "timeout":
            return f"the time of {clock(budget[TIMEOUT])} is over"
        case "patience":
            return f"{_no_improvement(study)} in {plural(budget[PATIENCE], noun(study))}"
    return None


def patience_text(study: optuna.Study) -> str | None:
    """How much of the patience is used up; None without one.

    ``no improvement of 0.001 in the last 7 trials; ends at 20``
    """
    count = without_improvement(study, trials_of(study))
    if count is None:
        return None
    most = spec_of(study)["budget"][PATIENCE]
    return f"{_no_improvement(study)} in the last {plural(count, noun(study))}; ends at {most}"


def noun(study: optuna.Study) -> str:
    """What the budget of a study counts."""
    promotes = stored_pruner(spec_of(study).get("pruner")) is not None
    return "parameter set" if promotes else "trial"


def _no_improvement(study: optuna.Study) -> str:
    delta = spec_of(study)["budget"].get("min_delta")
    return f"no improvement of {delta:g}" if delta else "no improvement"


def _reached(count: int | None, most: int | None) -> bool:
    return count is not None and most is not None and count >= most
