"""The sections of a report that say how one study went and what mattered in it."""

from __future__ import annotations

from collections import Counter
from datetime import datetime

import optuna
from optuna.trial import TrialState

from hpo_job.errors import plural
from hpo_job.report import figures, parameter_figures
from hpo_job.report.blocks import Block, Card, Cards, Details, Grid, Heading, Note, Table
from hpo_job.report.page import Page
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
from hpo_job.results.ending import ending_text
from hpo_job.results.formatting import sentence
from hpo_job.results.frames import row_tuples
from hpo_job.results.gain import gain, shortfalls, within
from hpo_job.results.importance import Importance, importance
from hpo_job.results.pareto import pareto_axes
from hpo_job.results.ranking import interval_text, leaders, within_chance_text
from hpo_job.results.trials import (
    baselines,
    is_multi_objective,
    none_counts,
    parameters,
    spec_of,
    trials_of,
    value,
)
from hpo_job.study.ledger import working_time
from hpo_job.trial.counting import infeasible, takes_place

FRONT = 12  # trials of a Pareto front that are listed


def summary_section(study: optuna.Study, page: Page, prefix: str) -> None:
    """The best, the baseline, the fastest that is nearly as good, and the Pareto front."""
    blocks: list[Block | None] = [
        Cards([*_best_cards(study), *_state_cards(study)]),
        *(Note(sentence(each)) for each in shortfalls(study, leaders(study))),
    ]
    if trials := leaders(study)[:3]:
        text = "\n".join(as_toml(study, trial) for trial in trials)
        blocks.append(Details("the best parameters, to paste into a study.toml", text))
    page.section("In short", f"{prefix}short", *blocks, *_pareto(study, page, prefix))


def history_section(study: optuna.Study, page: Page, prefix: str) -> None:
    """How it went: the values by trial, and the intermediate values."""
    blocks = [
        page.figure(
            f"{prefix}history-{objective}",
            figures.history(study, objective),
            "Each point is a trial. Pruned trials are drawn at the last value they reported.",
            empty=f"No trial has a value of {metric} yet.",
        )
        for objective, metric in enumerate(metric_names(study))
    ]
    figure = figures.intermediate(study)
    caption = "Values while trials were training; a cross is where a trial was pruned."
    if figure is not None and figure.layout.meta:
        drawn = figure.layout.meta
        caption += f" {drawn['drawn']} of {drawn['of']} trials are drawn."
    pruned = any(trial.state == TrialState.PRUNED for trial in trials_of(study))
    if figure is not None and not pruned:
        caption += " No trial was pruned."
    blocks.append(Heading("Intermediate values"))
    blocks.append(
        page.figure(
            f"{prefix}intermediate", figure, caption, empty="No trial reported intermediate values."
        )
    )
    page.section("How it went", f"{prefix}history", *blocks)


def importance_section(study: optuna.Study, page: Page, prefix: str, method: str) -> None:
    """What mattered: importance, contour, parallel coordinates, slices."""
    metrics = metric_names(study)
    blocks: list[Block | None] = []
    for objective, metric in enumerate(metrics):
        suffix = f" for {metric}" if len(metrics) > 1 else ""
        assessed = importance(study, method, objective)
        bars = figures.importance_bars(assessed)
        blocks += [
            Heading(f"Importance{suffix}"),
            page.figure(f"{prefix}importance-{objective}", bars, f"By {method}."),
            *(Note(sentence(note)) for note in assessed.notes),
            *_contour(study, page, prefix, objective, assessed),
            Heading(f"All parameters{suffix}"),
            page.figure(
                f"{prefix}parallel-{objective}",
                parameter_figures.parallel(study, objective),
                "Each line is a trial that counts; the redder, the better. A gap: the trial does "
                "not have that parameter.",
                empty="Fewer than two trials that count: nothing to compare.",
            ),
            *_slices(study, page, prefix, objective),
        ]
    page.section("What mattered", f"{prefix}importance", *blocks)


def _best_cards(study: optuna.Study) -> list[Card]:
    if is_multi_objective(study):
        trials = front(study)
        text = f"one end: {score(study, trials[0])}" if trials else sentence(none_counts(study))
        return [Card("Pareto front", plural(len(trials), "trial"), text)]
    metric, baseline, first = metric_names(study)[0], baselines(study)[0], best(study)
    if first is None:
        known = [] if baseline is None else [Card("Baseline", number(baseline), metric)]
        return [Card("Best", "none yet", sentence(none_counts(study))), *known]
    chance = interval_text(first)
    explanation = f"{metric}{f' {chance}' if chance else ''}, trial #{first.number}"
    if others := within_chance_text(study):
        explanation += f"; {others}"
    cards = [Card("Best", number(value(first)), explanation)]
    more = gain(study, value(first))
    if baseline is not None and more is not None:
        verdict = (
            "no better" if more == 0 else f"{number(abs(more))} {'better' if more > 0 else 'WORSE'}"
        )
        cards.append(Card("Baseline", number(baseline), f"the best is {verdict}"))
    fastest = fastest_within(study)
    if fastest is not None:
        cards.append(
            Card(
                "Fastest nearly as good",
                f"{fastest.seconds:.3g} s",
                f"{fastest.measure} of #{fastest.trial.number}, {metric} "
                f"{number(value(fastest.trial))}; one of {fastest.among} {within(study, NEARLY)}",
            )
        )
    return cards


def _state_cards(study: optuna.Study) -> list[Card]:
    trials = trials_of(study)
    counts = Counter(trial.state.name for trial in trials)
    bound = spec_of(study).get("budget", {}).get("trials")
    done = sum(map(takes_place, trials))
    states = ", ".join(f"{count} {name}" for name, count in counts.most_common()) or "no trials yet"
    broken = sum(map(infeasible, trials))
    states += f"; {broken} of the COMPLETE infeasible" if broken else ""
    text = ending_text(study)
    ending = f"; ended: {text}" if text else ""
    time = working_time(trials, datetime.now())
    return [
        Card("Trials", f"{done} of {bound}" if bound else str(done), f"{states}{ending}"),
        Card("Working time", clock(time), "in which at least one trial ran"),
    ]


def _pareto(study: optuna.Study, page: Page, prefix: str) -> list[Block | None]:
    """Values against speed, or the first two objectives."""
    axes = pareto_axes(study)
    if axes is None or axes.points.empty:
        return []
    trials = trials_of(study)
    rows = [
        (f"#{each}", number(y), number(x), settings(parameters(study, trials[each])))
        for each, x, y in row_tuples(axes.front)
    ]
    more = len(rows) - FRONT
    return [
        Heading(f"{axes.y} against {axes.x}"),
        page.figure(
            f"{prefix}pareto", figures.pareto(study), "No trial beats those of the front in both."
        ),
        Table(("trial", axes.y, axes.x, "parameters"), rows[:FRONT], right=(1, 2)),
        Note(f"And {more} more.") if more > 0 else None,
    ]


def _contour(
    study: optuna.Study, page: Page, prefix: str, objective: int, assessed: Importance
) -> list[Block | None]:
    """The contour of the two most important parameters that enough trials have together."""
    names = list(assessed.shares)[:5]
    for first, second in ((a, b) for i, a in enumerate(names) for b in names[i + 1 :]):
        figure = parameter_figures.contour(study, (first, second), objective)
        if figure is not None:
            return [
                Heading(f"{first} and {second}"),
                page.figure(
                    f"{prefix}contour-{objective}",
                    figure,
                    "The two most important parameters. Points are trials; the colour is the mean "
                    "of the trials nearby, so it says little where there are none.",
                ),
            ]
    return []


def _slices(study: optuna.Study, page: Page, prefix: str, objective: int) -> list[Block | None]:
    places = [
        page.figure(f"{prefix}slice-{objective}-{name}", figure)
        for name, figure in parameter_figures.slices(study, objective).items()
    ]
    return [Grid(places), Note("The star is the best trial.")] if places else []
