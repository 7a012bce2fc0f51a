"""What saved states were worth: work that was not repeated, work that was lost, and their size."""

from __future__ import annotations

from dataclasses import dataclass

import optuna

from hpo_job.errors import binary_size, plural
from hpo_job.results.ending import PATIENCE, TRIALS, ended_by
from hpo_job.results.formatting import clock
from hpo_job.results.trials import attribute, spec_of, trials_of
from hpo_job.study.attempts import retried, stored_states
from hpo_job.study.promotion import is_paused
from hpo_job.study.recovery import continuable
from hpo_job.trial import attributes


@dataclass(frozen=True)
class Continued:
    """The saved states of a study.

    Attributes:
        resumed: trials that continued an earlier attempt.
        saved: seconds of work that they did not have to repeat.
        restarted: trials that ran parameters again from the beginning.
        lost: seconds of work that no saved state held, of both.
        states: parameter sets whose saved states may still be continued.
        size: bytes of those states in the artifact store.
    """

    resumed: int
    saved: float
    restarted: int
    lost: float
    states: int
    size: int


def continued(study: optuna.Study) -> Continued:
    """What the saved states of a study were worth so far."""
    trials = trials_of(study)
    again = [
        trial
        for trial in trials
        if (attempt := retried(trial, trials)) is not None and not is_paused(attempt)
    ]
    resumed = [t for t in again if t.user_attrs.get(attributes.RESUMED_FROM) is not None]
    lost = [each for t in again if (each := attribute(t, attributes.LOST_SECONDS)) is not None]
    saved = sum(attribute(trial, attributes.SAVED_SECONDS) or 0.0 for trial in resumed)
    needed = continuable(trials, int(spec_of(study).get("budget", {}).get("retries", 0)))
    needed -= {trial.user_attrs.get(attributes.RETRY_OF) for trial in trials}  # the last of each
    if ended_by(study) in (TRIALS, PATIENCE):  # workers have removed those of paused trials
        needed -= {number for number in needed if is_paused(trials[number])}
    kept = [states for number in needed if (states := stored_states(trials[number], trials))]
    size = sum(state.size for states in kept for state in states)
    return Continued(len(resumed), saved, len(lost) - len(resumed), sum(lost), len(kept), size)


def work_text(study: optuna.Study) -> str | None:
    """One sentence about work saved and lost; None where no trial was run again."""
    facts = continued(study)
    again = facts.resumed + facts.restarted
    if not again:
        return None
    return (
        f"{again} run again: {facts.resumed} continued a saved state, "
        f"{facts.restarted} began anew; work saved {clock(facts.saved)}, lost {clock(facts.lost)}"
    )


def states_text(study: optuna.Study) -> str | None:
    """How much the saved states take; None where there are none."""
    facts = continued(study)
    if not facts.states:
        return None
    return f"{binary_size(facts.size)} of saved states, of {plural(facts.states, 'trial')} to go on"
