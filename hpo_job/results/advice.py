"""What to try next with a study: sentences that follow from its trials by fixed rules.

docs/results.md lists the rules. Each is a function that returns its advice, or nothing where the
trials do not say enough.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import optuna
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.trial import TrialState

from hpo_job.errors import plural
from hpo_job.objectives.predictions import Predictions
from hpo_job.results.errors import by_class
from hpo_job.results.formatting import number, plain
from hpo_job.results.gain import nearly, shortfalls
from hpo_job.results.importance import importance
from hpo_job.results.ranking import best, leading, within_chance
from hpo_job.results.timings import FAILED, IDLE, timings
from hpo_job.results.trials import (
    attribute,
    is_multi_objective,
    maximizes,
    trials_of,
    value,
)
from hpo_job.trial import attributes
from hpo_job.trial.counting import counted

LEAST = 10  # trials that count, below which only the baseline is compared
TOP = 3  # the best trials that have to agree
EDGE = 0.1  # of a range, from each end
NO_MATTER = 0.05  # the importance, by fANOVA, of a parameter that did not matter
LATE = 0.25  # of the trials: the last quarter
SMALL = 0.01  # of the gain: an improvement below it is none
LOADING, STORING, IDLING, FAILING = 0.25, 0.1, 0.25, 0.2  # shares of the workers' time
WEAK = 0.5  # the F1 of a class, as a share of the best class's


@dataclass(frozen=True)
class Advice:
    """One sentence.

    Args:
        rule: which rule it follows from.
        text: what is the case, with its numbers, and what to do.
        plot: the kind of plot that shows it; None where none does.
        params: the parameters of that plot.
    """

    rule: str
    text: str
    plot: str | None = None
    params: tuple[str, ...] = ()


def advise(study: optuna.Study, predictions: Predictions | None = None) -> list[Advice]:
    """What follows from the trials, the most important first.

    Args:
        study: any study; of several objectives, only the baseline and the time are looked at.
        predictions: of its best model, for the classes that fail.
    """
    sentences = [*_baseline(study)]
    if len(counted(study)) >= LEAST:
        if not is_multi_objective(study):
            sentences += [
                *_edges(study),
                *_noise(study),
                *_progress(study),
                *_epochs(study),
                *_pruner(study),
                *_unimportant(study),
            ]
        sentences += _time(study)
    if predictions is not None:
        sentences += _classes(predictions)
    return sentences


def _baseline(study: optuna.Study) -> list[Advice]:
    """No trial beats always giving the same answer."""
    leaders = counted(study) if is_multi_objective(study) else leading(study, 1)
    return [
        Advice(
            "baseline",
            f"{sentence}: look at the data and the labels before tuning further",
            "history",
        )
        for sentence in shortfalls(study, leaders)
    ]


def _edges(study: optuna.Study) -> list[Advice]:
    """The best trials lie at the edge of a parameter's range."""
    trials = leading(study, TOP)
    sentences = []
    for name, distribution in trials[0].distributions.items():
        if not isinstance(distribution, FloatDistribution | IntDistribution):
            continue
        if distribution.single() or not all(name in trial.params for trial in trials):
            continue
        places = [_place(distribution, trial.params[name]) for trial in trials]
        low, high = max(places) <= EDGE, min(places) >= 1 - EDGE
        if not (low or high):
            continue
        end, bound = ("lower", distribution.low) if low else ("upper", distribution.high)
        values = ", ".join(plain(trial.params[name]) for trial in trials)
        sentences.append(
            Advice(
                "edge",
                f"the {TOP} best trials have {name} at {values}, the {end} edge of its range "
                f"({plain(bound)}): widen the range there",
                "slice",
                (name,),
            )
        )
    return sentences


def _place(distribution: FloatDistribution | IntDistribution, chosen: float) -> float:
    """Where a value lies in its range, from 0 to 1."""
    low, high = distribution.low, distribution.high
    if distribution.log:
        return (math.log(chosen) - math.log(low)) / (math.log(high) - math.log(low))
    return (chosen - low) / (high - low)


def _unimportant(study: optuna.Study) -> list[Advice]:
    """Parameters that did not matter, where there are enough trials to say so."""
    assessed = importance(study, "fanova")  # ped-anova looks at the best few trials only
    if not assessed.shares or any(note.startswith("unreliable") for note in assessed.notes):
        return []
    idle = {name: share for name, share in assessed.shares.items() if share < NO_MATTER}
    if not idle or len(idle) == len(assessed.shares):
        return []
    names = ", ".join(f"{name} ({share:.1%})" for name, share in idle.items())
    return [
        Advice(
            "unimportant",
            f"these explain less than {NO_MATTER:.0%} of the differences each: {names}; fix them "
            "to search the others more densely",
            "importance",
        )
    ]


def _progress(study: optuna.Study) -> list[Advice]:
    """Whether the last trials still improved the best value."""
    trials = counted(study)
    first = best(study)
    assert first is not None
    late = max(1, round(LATE * len(trials)))
    pick = max if maximizes(study) else min
    before = pick(value(trial) for trial in trials[:-late])
    least = nearly(study, value(first), SMALL)
    if before < least if maximizes(study) else before > least:
        text = (
            f"still improving: the last {late} of {len(trials)} trials brought the best value "
            f"from {number(before)} to {number(value(first))}: more trials are worth it"
        )
        return [Advice("progress", text, "history")]
    since = [trial for trial in trials if trial.number > first.number]
    if len(since) >= max(LEAST, len(trials) // 2):
        text = (
            f"none of the {len(since)} trials since #{first.number} was better: more trials of "
            "this search space will hardly help"
        )
        return [Advice("progress", text, "history")]
    return []


def _epochs(study: optuna.Study) -> list[Advice]:
    """The best trials were still improving in their last epoch."""
    trials = leading(study, TOP)
    pick = max if maximizes(study) else min
    growing = []
    for trial in trials:
        steps = sorted(trial.intermediate_values)
        values = [trial.intermediate_values[step] for step in steps]
        if len(values) >= 2 and values[-1] == pick(values) and values[-1] != values[-2]:
            growing.append(trial)
    if len(trials) < TOP or len(growing) < TOP:
        return []
    numbers = ", ".join(f"#{trial.number}" for trial in growing)
    text = f"the {TOP} best trials ({numbers}) had their best value in the last step: train longer"
    return [Advice("epochs", text, "intermediate")]


def _pruner(study: optuna.Study) -> list[Advice]:
    """The pruner stops trials at a step at which the best one was not among the better half."""
    pruned = [t for t in trials_of(study, (TrialState.PRUNED,)) if t.intermediate_values]
    first = best(study)
    if len(pruned) < LEAST or first is None:
        return []
    step = int(median(max(trial.intermediate_values) for trial in pruned))
    if step not in first.intermediate_values:
        return []
    others = [
        trial.intermediate_values[step]
        for trial in (*pruned, *counted(study))
        if step in trial.intermediate_values
    ]
    own = first.intermediate_values[step]
    better = sum(each > own if maximizes(study) else each < own for each in others)
    if better < len(others) / 2:
        return []
    text = (
        f"the pruner stopped {len(pruned)} trials, half of them by step {step}, where the best "
        f"trial was only number {better + 1} of {len(others)}: let trials run longer before they "
        "are pruned (n_warmup_steps, min_resource)"
    )
    return [Advice("pruner", text, "intermediate")]


def _noise(study: optuna.Study) -> list[Advice]:
    """Differences between the best trials that are smaller than chance."""
    sentences = []
    near = within_chance(study)
    first = best(study)
    trials = counted(study)
    if first is not None and len(near) >= len(trials) / 2:
        text = (
            f"{len(near)} of {len(trials)} trials are within chance of the best: so few validation "
            "items cannot tell them apart; hold out more, or use [budget] repeats"
        )
        sentences.append(Advice("noise", text, "history"))
    top = leading(study, TOP)
    spread = max((attribute(t, attributes.REPEAT_STD) or 0.0 for t in top), default=0.0)
    distance = abs(value(top[0]) - value(top[-1]))
    if spread > distance:
        text = (
            f"the values of one trial's seeds differ by {number(spread)} (standard deviation), "
            f"those of the {TOP} best trials by {number(distance)}: raise [budget] repeats to rank "
            "them"
        )
        sentences.append(Advice("noise", text, "history"))
    return sentences


def _time(study: optuna.Study) -> list[Advice]:
    """Time that went into anything but training."""
    spent = timings(study)
    if not spent.total:
        return []
    limits = {
        "data": (LOADING, "loading data: give workers more CPU threads, or smaller images"),
        "storage": (
            STORING,
            "waiting for the storage: make trials longer, use fewer "
            "workers, or a database that is nearer",
        ),
        IDLE: (IDLING, "waiting between trials"),
        FAILED: (FAILING, "trials that failed: see hpo-job results"),
    }
    return [
        Advice("time", f"{share:.0%} of the workers' time went into {text}", "time")
        for part, (limit, text) in limits.items()
        if (share := spent.seconds.get(part, 0.0) / spent.total) > limit
    ]


def _classes(predictions: Predictions) -> list[Advice]:
    """Classes that the best model hardly recognises."""
    if len(predictions.classes) < 2:
        return []
    table = by_class(predictions)
    table = table[table["items"] > 0]
    weak = table[table["f1"] < WEAK * table["f1"].max()].sort_values("f1")
    if weak.empty:
        return []
    names = ", ".join(
        f"{name} (F1 {f1:.2f}, {plural(items, 'item')})"
        for name, f1, items in zip(weak.index, weak["f1"], weak["items"], strict=True)
    )
    kind = "labels" if predictions.has_label_sets else "classes"
    text = f"the best model fails on some {kind}: {names}; add items of them, or set balance"
    return [Advice("classes", text)]


def advice_lines(study: optuna.Study, sentences: Sequence[Advice]) -> list[tuple[str, str]]:
    """Each sentence, and the command that draws what it is about, or nothing."""
    lines = []
    for each in sentences:
        params = f" --params {','.join(each.params)}" if each.params else ""
        plot = f"hpo-job plot {study.study_name} {each.plot}{params}" if each.plot else ""
        lines.append((each.text, plot))
    return lines


def too_few(study: optuna.Study) -> str:
    """Why there is no advice, for people."""
    count = len(counted(study))
    if count < LEAST:
        return f"too few trials to say anything: {count} count, {LEAST} are needed"
    return "nothing stands out"
