"""Where a study stands, in a few lines, and its trials as rows that a person reads."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Mapping
from datetime import datetime

import optuna
from optuna.trial import FrozenTrial, TrialState

from hpo_job.errors import plural
from hpo_job.results.continued import states_text, work_text
from hpo_job.results.ending import ending_text, finished, noun, patience_text
from hpo_job.results.formatting import clock, number, sentence, settings
from hpo_job.results.gain import shortfalls, within
from hpo_job.results.overhead import overhead_text
from hpo_job.results.people import places_text
from hpo_job.results.ranking import (
    NEARLY,
    best,
    fastest_within,
    front,
    leaders,
    score,
    within_chance_text,
)
from hpo_job.results.trials import (
    baseline,
    baselines,
    broken_constraints,
    is_multi_objective,
    metric_name,
    metric_names,
    none_counts,
    seconds,
    spec_of,
    trials_of,
    value,
)
from hpo_job.spec.metrics import ANSWERS, METRICS, Metric, of_task
from hpo_job.study.ledger import working_time
from hpo_job.study.optuna_private import fixed_params
from hpo_job.trial import attributes
from hpo_job.trial.counting import infeasible, takes_place
from hpo_job.trial.phases import measured_values


def overview(study: optuna.Study) -> list[str]:
    """Where a study stands, in a few lines."""
    trials = trials_of(study)
    counts = Counter(trial.state.name for trial in trials)
    broken = sum(map(infeasible, trials))
    done = sum(takes_place(trial) for trial in trials)
    bound = spec_of(study).get("budget", {}).get("trials")
    states = ", ".join(
        f"{counts[state.name]} {state.name}" for state in TrialState if counts[state.name]
    )
    time = working_time(trials, datetime.now())
    trials_done = f"{done} of {plural(bound, noun(study))}" if bound else plural(done, noun(study))
    lines = [f"finished  {trials_done} in {clock(time)}"]
    ending = ending_text(study)
    over = finished(study)
    if not over:
        lines += folded("patience", patience_text(study) or "")
    lines += folded("ended", ending or "")
    if states:
        more = f" ({broken} COMPLETE but infeasible: their values do not count)" if broken else ""
        lines += folded("states", f"{states}{more}")
    stored = states_text(study)
    lines += folded("run by", places_text(study) or "")
    lines += folded("overhead", overhead_text(study) or "")
    lines += folded("retries", work_text(study) or "") + folded("stored", stored or "")
    return lines + (_front(study) if is_multi_objective(study) else _highlights(study))


def row(trial: FrozenTrial) -> tuple[str, str, str, str, str]:
    """A trial's number, state, value, duration and parameters, as text."""
    text = ", ".join(map(number, measured_values(trial)))
    time = "-" if trial.datetime_start is None else f"{seconds(trial):.1f}s"
    return f"#{trial.number}", trial.state.name, text, time, notes(trial)


def notes(trial: FrozenTrial) -> str:
    """A trial's parameters, and what `remarks` says of it."""
    waiting = trial.state == TrialState.WAITING
    parameters = settings(fixed_params(trial) if waiting else trial.params)
    return " ".join(filter(None, (parameters, remarks(trial))))


def remarks(trial: FrozenTrial) -> str:
    """Why a trial failed or does not count, and which trial it runs again; mostly nothing."""
    retry = trial.user_attrs.get(attributes.RETRY_OF)
    step = trial.user_attrs.get(attributes.RESUMED_AT)
    again = f"retry of #{retry}" if step is None else f"continues #{retry} after epoch {step}"
    reason = trial.user_attrs.get(attributes.ERROR) or trial.user_attrs.get(attributes.REASON)
    parts = (
        f"({reason})" if reason else "",
        f"({broken_constraints(trial)})" if infeasible(trial) else "",
        f"({again})" if retry is not None else "",
    )
    return " ".join(filter(None, parts))


def caption(study: optuna.Study) -> str | None:
    """The line under a table of values: the baseline, and whether the best value is above it."""
    known = {
        name: f"{name} {number(start)}" if is_multi_objective(study) else number(start)
        for name, start in zip(metric_names(study), baselines(study), strict=True)
        if start is not None
    }
    if not known:
        return None
    metrics = metrics_of(study)
    answers = {ANSWERS[metrics[name].answer]: None for name in known if name in metrics}
    line = f"baseline {', '.join(known.values())}{': ' * bool(answers)}{', '.join(answers)}"
    return "\n".join([line, *map(sentence, shortfalls(study, leaders(study)))])


def metrics_of(study: optuna.Study) -> Mapping[str, Metric]:
    """The metrics that the study's objective can be scored by, by their names."""
    from hpo_job.objectives import SHIPPED  # imports pandas, which few lines need

    objective = SHIPPED.get(str(spec_of(study).get("objective")))
    return of_task(objective.task) if objective else METRICS


def _front(study: optuna.Study) -> list[str]:
    trials = front(study)
    if not trials:
        return [f"best      {none_counts(study)}"]
    lines = [f"best      the Pareto front of {metric_name(study)}: {plural(len(trials), 'trial')}"]
    lines += [f"          #{trial.number}  {score(study, trial)}" for trial in trials[:5]]
    if len(trials) > 5:
        lines.append(f"          and {len(trials) - 5} more: hpo-job best {study.study_name}")
    return lines


def _highlights(study: optuna.Study) -> list[str]:
    first, fastest = best(study), fastest_within(study)
    if first is None or fastest is None:
        start = baseline(study)
        known = f"; the baseline is {metric_name(study)} {number(start)}"
        return [f"best      {none_counts(study)}{'' if start is None else known}"]
    return [
        *folded("best", f"#{first.number}  {score(study, first)}"),
        *folded("", within_chance_text(study) or ""),
        *folded(
            "fastest",
            f"#{fastest.trial.number}  {metric_name(study)} {number(value(fastest.trial))}, "
            f"{fastest.measure} {fastest.seconds:.3g} s ({within(study, NEARLY)})",
        ),
    ]


def folded(heading: str, text: str) -> list[str]:
    """A heading and its text, in lines of at most 80 columns."""
    return textwrap.wrap(
        text,
        80,
        initial_indent=f"{heading:<10}",
        subsequent_indent=" " * 10,
        break_long_words=False,
        break_on_hyphens=False,
    )
