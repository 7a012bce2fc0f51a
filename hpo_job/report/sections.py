"""What the report says of one study, section by section."""

from __future__ import annotations

from collections import Counter
from datetime import datetime

import optuna
from optuna.trial import FrozenTrial, TrialState

from hpo_job.report import figures, parameter_figures
from hpo_job.report.markup import Page, cards, details, grid, note, pre, simple_table, text
from hpo_job.results import (
    NEARLY,
    as_toml,
    best,
    clock,
    fastest_within,
    front,
    metric_names,
    number,
    score,
    settings,
)
from hpo_job.results.frames import lines
from hpo_job.results.importance import Importance, importance
from hpo_job.results.pareto import pareto_axes
from hpo_job.results.timings import timings
from hpo_job.results.trials import (
    baselines,
    maximizes,
    parameters,
    seconds,
    several,
    spec_of,
    trials_of,
    value,
    worker_name,
)
from hpo_job.study.ledger import working_time
from hpo_job.trial import attributes

NONE_YET = "No trial is COMPLETE yet."
UNKNOWN = "no reason stored"
FRONT = 12  # trials of a Pareto front that are listed


def headline(study: optuna.Study, page: Page, prefix: str) -> None:
    """The best, the baseline, the fastest that is nearly as good, and the Pareto front."""
    parts = [cards([*_best_cards(study), *_state_cards(study)])]
    firsts = front(study)[:3] if several(study) else [t for t in [best(study)] if t]
    if firsts:
        tomls = "\n".join(as_toml(study, trial) for trial in firsts)
        parts.append(details("the best parameters, to paste into a study.toml", pre(tomls)))
    parts.append(_pareto(study, page, prefix))
    page.section("In short", f"{prefix}short", *parts)


def history_section(study: optuna.Study, page: Page, prefix: str) -> None:
    """How it went: history, intermediate values."""
    parts = []
    for objective, metric in enumerate(metric_names(study)):
        parts.append(
            page.figure(
                f"{prefix}history-{objective}",
                figures.history(study, objective),
                "Each point is a trial. Pruned ones stand at the last value they reported.",
                empty=f"No trial has a value of {metric} yet.",
            )
        )
    made = figures.intermediate(study)
    caption = "Values while trials were training; a cross is where a trial was pruned."
    if made is not None and made.layout.meta:
        caption += f" {made.layout.meta['shown']} of {made.layout.meta['of']} trials are drawn."
    pruned = any(trial.state == TrialState.PRUNED for trial in trials_of(study))
    if made is not None and not pruned:
        caption += " No trial was pruned."
    parts.append("<h3>Intermediate values</h3>")
    parts.append(
        page.figure(
            f"{prefix}intermediate", made, caption, empty="No trial reported intermediate values."
        )
    )
    page.section("How it went", f"{prefix}course", *parts)


def importance_section(study: optuna.Study, page: Page, prefix: str, method: str) -> None:
    """What mattered: importance, contour, parallel coordinates, slices."""
    names = metric_names(study)
    parts: list[str] = []
    for objective, metric in enumerate(names):
        of = f" for {metric}" if len(names) > 1 else ""
        found = importance(study, method, objective)
        parts.append(f"<h3>Importance{of}</h3>")
        made = figures.importance_bars(found)
        parts.append(page.figure(f"{prefix}importance-{objective}", made, f"By {method}."))
        parts += [note(_sentence(told)) for told in found.notes]
        parts += _pair(study, page, prefix, objective, found)
        parts.append("<h3>All parameters</h3>" if not of else f"<h3>All parameters{of}</h3>")
        parts.append(
            page.figure(
                f"{prefix}parallel-{objective}",
                parameter_figures.parallel(study, objective),
                "Each line is a COMPLETE trial; the redder, the better. A gap: the trial did not "
                "have that parameter.",
                empty="Fewer than two COMPLETE trials: nothing to compare.",
            )
        )
        small = [
            page.figure(f"{prefix}slice-{objective}-{name}", made)
            for name, made in parameter_figures.slices(study, objective).items()
        ]
        if small:
            parts.append(grid(small) + note("The star is the best trial."))
    page.section("What mattered", f"{prefix}mattered", *parts)


def time(study: optuna.Study, page: Page, prefix: str) -> None:
    """Where the time went, and who worked when."""
    found = timings(study)
    parts = []
    if not found.total:
        parts.append(note("No trial was started yet."))
    else:
        who = f"of {found.workers} worker{'s' * (found.workers != 1)}"
        who = who if found.workers else "in all; who worked is not stored"
        useful = (
            f"{found.useful:.1%} of it was useful: training and scoring trials that count."
            if found.useful is not None
            else "How much of it was useful cannot be told: no trial stored its training time."
        )
        parts.append(f"<p>{clock(found.total)} {who}. {useful}</p>")
        if found.missing:
            parts.append(
                note(
                    f"Not measured by any trial: {', '.join(found.missing)}; that time is under "
                    "other, in a trial."
                )
            )
        parts.append(
            page.figure(
                f"{prefix}time",
                figures.time_bars(found),
                "From each worker's first trial to its last; what it did before is not stored.",
            )
        )
        parts.append("<h3>Timeline by worker</h3>")
        parts.append(page.figure(f"{prefix}timeline", figures.timeline(study)))
    page.section("Where the time went", f"{prefix}where", *parts)


def failures(study: optuna.Study, page: Page, prefix: str) -> None:
    """Failed trials by their reason, and what was run again."""
    trials = trials_of(study)
    failed = [trial for trial in trials if trial.state == TrialState.FAIL]
    retries = {
        trial.user_attrs[attributes.RETRY_OF]: trial
        for trial in trials
        if isinstance(trial.user_attrs.get(attributes.RETRY_OF), int)
    }
    if not failed and not retries:
        page.section("Failures and retries", f"{prefix}failures", note("No trial failed."))
        return
    reasons = Counter(_reason(trial) for trial in failed)
    lost = sum(map(seconds, failed))
    named = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
    told = f" ({named})" if list(reasons) != [UNKNOWN] else ""
    rows = []
    for trial in failed[-200:]:
        again = retries.get(trial.number)
        rows.append(
            (
                f"#{trial.number}",
                _reason(trial),
                str(trial.user_attrs.get(attributes.ERROR, "")),
                worker_name(trial) or "-",
                clock(seconds(trial)),
                f"#{again.number} {again.state.name}" if again else "-",
            )
        )
    header = ("trial", "reason", "error", "worker", "time", "tried again as")
    words = f"{len(failed)} of {len(trials)} trials failed{told}; {clock(lost)} were spent on them."
    parts = [f"<p>{words}</p>" if failed else "", simple_table(header, rows, right=(4,))]
    if len(failed) > len(rows):
        parts.append(note(f"The last {len(rows)} are shown."))
    page.section("Failures and retries", f"{prefix}failures", *parts)


def _best_cards(study: optuna.Study) -> list[tuple[str, str, str]]:
    if several(study):
        found = front(study)
        told = score(study, found[0]) if found else NONE_YET
        return [("Pareto front", f"{len(found)} trials", f"one end: {told}" if found else told)]
    metric, beside, first = metric_names(study)[0], baselines(study)[0], best(study)
    if first is None:
        known = [] if beside is None else [("Baseline", number(beside), metric)]
        return [("Best", "none yet", NONE_YET), *known]
    found_cards = [("Best", number(value(first)), f"{metric}, trial #{first.number}")]
    if beside is not None:
        gain = value(first) - beside if maximizes(study) else beside - value(first)
        words = "better" if gain >= 0 else "WORSE"
        found_cards.append(("Baseline", number(beside), f"the best is {number(abs(gain))} {words}"))
    quick = fastest_within(study)
    if quick is not None:
        found_cards.append(
            (
                f"Fastest within {NEARLY:g}",
                f"{quick.seconds:.3g} s",
                f"{quick.measure} of #{quick.trial.number}, {metric} {number(value(quick.trial))}; "
                f"one of {quick.among} that good",
            )
        )
    return found_cards


def _state_cards(study: optuna.Study) -> list[tuple[str, str, str]]:
    trials = trials_of(study)
    counts = Counter(trial.state.name for trial in trials)
    bound = spec_of(study).get("budget", {}).get("trials")
    done = counts["COMPLETE"] + counts["PRUNED"]
    told = ", ".join(f"{count} {name}" for name, count in counts.most_common()) or "no trials yet"
    time = working_time(trials, datetime.now())
    return [
        ("Trials", f"{done} of {bound}" if bound else str(done), told),
        ("Working time", clock(time), "in which at least one trial ran"),
    ]


def _pareto(study: optuna.Study, page: Page, prefix: str) -> str:
    """Values against speed, or the first two objectives."""
    found = pareto_axes(study)
    if found is None or found.points.empty:
        return ""
    trials = trials_of(study)
    rows = [
        (f"#{each}", number(y), number(x), settings(parameters(study, trials[each])))
        for each, x, y in lines(found.front)
    ]
    more = len(rows) - FRONT
    return "".join(
        (
            f"<h3>{text(found.y)} against {text(found.x)}</h3>",
            page.figure(
                f"{prefix}pareto",
                figures.pareto(study),
                "No trial beats those of the front in both.",
            ),
            simple_table(("trial", found.y, found.x, "parameters"), rows[:FRONT], right=(1, 2)),
            note(f"And {more} more.") if more > 0 else "",
        )
    )


def _pair(
    study: optuna.Study, page: Page, prefix: str, objective: int, found: Importance
) -> list[str]:
    """The contour of the two most important parameters that enough trials have together."""
    names = list(found.shares)[:5]
    for first, second in ((a, b) for i, a in enumerate(names) for b in names[i + 1 :]):
        made = parameter_figures.contour(study, (first, second), objective)
        if made is not None:
            return [
                f"<h3>{text(first)} and {text(second)}</h3>",
                page.figure(
                    f"{prefix}contour-{objective}",
                    made,
                    "The two most important parameters. Points are trials; the colour is the mean "
                    "of the trials nearby, so it says little where there are none.",
                ),
            ]
    return []


def _reason(trial: FrozenTrial) -> str:
    return str(trial.user_attrs.get(attributes.REASON) or UNKNOWN)


def _sentence(words: str) -> str:
    return words[:1].upper() + words[1:] + "."
