"""The comparison of several studies: what a report of more than one begins with."""

from __future__ import annotations

import math
from collections.abc import Sequence

import optuna
import pandas as pd

from hpo_job.report import comparison_figures as figures
from hpo_job.report.markup import Page, grid, note, simple_table
from hpo_job.results import clock, number
from hpo_job.results import comparison as compare
from hpo_job.results.comparison_text import differences, rates_by_study, shown
from hpo_job.results.frames import lines
from hpo_job.results.importance import importance
from hpo_job.results.trials import several


def compared(studies: Sequence[optuna.Study], page: Page, method: str) -> None:
    """What the studies reached, by what, and how soon; a plot of each."""
    table = compare.summary(studies)
    parts = [note(f"{told[0].upper()}{told[1:]}.") for told in differences(table)]
    if any(map(several, studies)):
        parts.append(note("Of studies with several objectives, the first is compared."))
    parts += [
        _summary(table),
        page.figure(
            "compare-gains",
            figures.gains(table),
            "What each gained over its baseline.",
            empty="No study has a COMPLETE trial yet.",
        ),
        "<h3>How soon</h3>",
        grid(
            [
                page.figure("compare-trials", figures.curves(studies, "trials"), "By trials."),
                page.figure(
                    "compare-seconds", figures.curves(studies, "seconds"), "By working time."
                ),
            ]
        ),
        note("The best value so far; the star is where 95% of the best was reached."),
        "<h3>All values</h3>",
        page.figure(
            "compare-edf",
            figures.distributions(studies),
            "The share of COMPLETE trials with at most that value.",
        ),
        "<h3>Best parameters</h3>",
        _side_by_side(compare.best_parameters(studies)),
        page.figure(
            "compare-parameters",
            figures.parameters(studies),
            "Where the best values lie between the lowest and highest tried.",
        ),
        "<h3>Importance</h3>",
        page.figure(
            "compare-importance",
            figures.importances(compare.best_importances(studies, method)),
            f"By {method}. Without a number: not assessed, or no parameter there.",
            empty="No study has enough trials to say.",
        ),
    ]
    for study in studies:
        parts += [note(f"{study.study_name}: {told}.") for told in importance(study, method).notes]
    parts += _learning_rates(studies, page)
    page.section("Comparison", "comparison", *parts, level=1)


def _learning_rates(studies: Sequence[optuna.Study], page: Page) -> list[str]:
    rates = compare.learning_rates(studies)
    if rates.empty:
        return ["<h3>Learning rates</h3>", note("No study asked the learning-rate finder.")]
    drawn = [
        page.figure(f"compare-lr-{name}", made)
        for name, made in figures.learning_rates(studies).items()
    ]
    caption = "Losses over the learning rates; the dotted line is the suggestion."
    return [
        "<h3>Learning rates</h3>",
        simple_table(*rates_by_study(rates), right=(2, 3)),
        *([grid(drawn), note(caption)] if drawn else []),
    ]


def _summary(table: pd.DataFrame) -> str:
    header = (
        "study",
        "metric",
        "trials",
        "best",
        "baseline",
        "gain",
        "95% is",
        "after trials",
        "after time",
        "fastest nearly as good",
    )
    rows = []
    for name, line in table.iterrows():
        reached = not math.isnan(line["trials_to_95"])
        quick = not math.isnan(line["fastest"])
        rows.append(
            (
                str(name),
                str(line["metric"]),
                str(line["trials"]),
                number(line["best"]),
                number(line["baseline"]),
                number(line["gain"]),
                number(line["threshold"]),
                f"{line['trials_to_95']:.0f}" if reached else "-",
                clock(line["seconds_to_95"]) if reached else "-",
                f"{number(line['fastest'])} in {line['fastest_seconds']:.3g} s" if quick else "-",
            )
        )
    told = (
        "95%: the first value that has 95% of what the best one gains over the baseline; of the "
        "best value itself, where no baseline is known."
    )
    return simple_table(header, rows, right=range(2, 10)) + note(told)


def _side_by_side(table: pd.DataFrame) -> str:
    rows = [(str(name), *map(shown, line)) for name, *line in lines(table)]
    if not rows:
        return note("None yet.")
    header = ("parameter", *map(str, table.columns))
    return simple_table(header, rows, right=range(1, len(header)))
