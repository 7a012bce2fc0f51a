"""The comparison of several studies, with which a report of more than one begins."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import optuna
import pandas as pd

from hpo_job.report import comparison_figures
from hpo_job.report.blocks import Block, Grid, Heading, Note, Table
from hpo_job.report.page import Page
from hpo_job.results import clock, number
from hpo_job.results.comparison import (
    best_importances,
    best_parameters,
    learning_rates,
    summary,
)
from hpo_job.results.comparison_text import cell_text, differences, rates_by_study
from hpo_job.results.formatting import sentence
from hpo_job.results.frames import row_tuples
from hpo_job.results.gain import shortfalls
from hpo_job.results.importance import importance
from hpo_job.results.ranking import leaders
from hpo_job.results.trials import is_multi_objective

SUMMARY = (
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


def comparison_section(studies: Sequence[optuna.Study], page: Page, method: str) -> None:
    """What the studies reached, with which parameters, and how soon; a plot of each."""
    table = summary(studies)
    several = any(map(is_multi_objective, studies))
    page.section(
        "Comparison",
        "comparison",
        *(Note(sentence(difference)) for difference in differences(table)),
        *(
            Note(f"{study.study_name}: {shortfall}.")
            for study in studies
            for shortfall in shortfalls(study, leaders(study))
        ),
        Note("Of studies with several objectives, the first is compared.") if several else None,
        *_reached(table),
        page.figure(
            "compare-gains",
            comparison_figures.gains(table),
            "What each gained over its baseline.",
            empty="No study has a trial that counts yet.",
        ),
        *_how_soon(studies, page),
        Heading("All values"),
        page.figure(
            "compare-edf",
            comparison_figures.distributions(studies),
            "The share of the trials that count with at most that value.",
        ),
        Heading("Best parameters"),
        _side_by_side(best_parameters(studies)),
        page.figure(
            "compare-parameters",
            comparison_figures.parameters(studies),
            "Where the best values lie between the lowest and highest tried.",
        ),
        Heading("Importance"),
        page.figure(
            "compare-importance",
            comparison_figures.importances(best_importances(studies, method)),
            f"By {method}. Without a number: not assessed, or no such parameter in that study.",
            empty="No study has enough trials to say.",
        ),
        *(
            Note(f"{study.study_name}: {note}.")
            for study in studies
            for note in importance(study, method).notes
        ),
        *_learning_rates(studies, page),
        level=1,
    )


def _reached(table: pd.DataFrame) -> list[Block]:
    rows = []
    for name, line in table.iterrows():
        reached = not math.isnan(line["trials_to_95"])
        fast = not math.isnan(line["fastest"])
        rows.append(
            (
                str(name),
                str(line["metric"]),
                str(line["trials"]),
                number(line["best"]) + _interval(line),
                number(line["baseline"]),
                number(line["gain"]),
                number(line["threshold"]),
                f"{line['trials_to_95']:.0f}" if reached else "-",
                clock(line["seconds_to_95"]) if reached else "-",
                f"{number(line['fastest'])} in {line['fastest_seconds']:.3g} s" if fast else "-",
            )
        )
    note = (
        "95%: the first value that has 95% of what the best one gains over the baseline; of the "
        "best value itself, where no baseline is known."
    )
    return [Table(SUMMARY, rows, right=range(2, 10)), Note(note)]


def _interval(line: pd.Series[Any]) -> str:
    """The bootstrap interval of a study's best value, where it is known."""
    low, high = line["best_low"], line["best_high"]
    return "" if math.isnan(low) else f" [{number(low)}, {number(high)}]"


def _how_soon(studies: Sequence[optuna.Study], page: Page) -> list[Block]:
    trials = comparison_figures.curves(studies, "trials")
    seconds = comparison_figures.curves(studies, "seconds")
    return [
        Heading("How soon"),
        Grid(
            [
                page.figure("compare-trials", trials, "By trials."),
                page.figure("compare-seconds", seconds, "By working time."),
            ]
        ),
        Note("The best value so far; the star is where 95% of the best was reached."),
    ]


def _side_by_side(table: pd.DataFrame) -> Block:
    rows = [(str(name), *map(cell_text, line)) for name, *line in row_tuples(table)]
    if not rows:
        return Note("None yet.")
    header = ("parameter", *map(str, table.columns))
    return Table(header, rows, right=range(1, len(header)))


def _learning_rates(studies: Sequence[optuna.Study], page: Page) -> list[Block]:
    rates = learning_rates(studies)
    if rates.empty:
        return [Heading("Learning rates"), Note("No study used the learning-rate finder.")]
    places = [
        page.figure(f"compare-lr-{name}", figure)
        for name, figure in comparison_figures.learning_rates(studies).items()
    ]
    blocks: list[Block] = [
        Heading("Learning rates"),
        Table(*rates_by_study(rates), right=(2, 3)),
    ]
    if places:
        caption = "Losses over the learning rates; the dotted line is the suggestion."
        blocks += [Grid(places), Note(caption)]
    return blocks
