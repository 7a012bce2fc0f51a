"""What ``compare`` and ``importance`` print: data frames as tables of a terminal, CSV or JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import optuna
import pandas as pd

from hpo_job.results import comparison
from hpo_job.results.formatting import clock, number, plain, text_table
from hpo_job.results.frames import row_tuples
from hpo_job.results.gain import shortfalls
from hpo_job.results.importance import Importance, importance
from hpo_job.results.ranking import leaders
from hpo_job.results.trials import metric_names
from hpo_job.results.writing import MISSING, to_csv, to_json

BAR = 12  # cells of the longest bar


def importance_text(
    studies: Sequence[optuna.Study], methods: Sequence[str], form: str, width: int
) -> tuple[str, list[str]]:
    """The importances of studies, by methods and objectives, and what to keep in mind."""
    assessed: dict[str, Importance] = {}
    for study in studies:
        for objective, metric in enumerate(metric_names(study)):
            for method in methods:
                parts = (
                    study.study_name * (len(studies) > 1),
                    metric * (len(study.directions) > 1),
                    method * (len(methods) > 1),
                )
                title = " ".join(filter(None, parts)) or method
                assessed[title] = importance(study, method, objective)
    table = pd.DataFrame(
        {title: pd.Series(each.shares, dtype=float) for title, each in assessed.items()}
    )
    if len(table):
        order = table.max(axis=1).sort_values(ascending=False, kind="stable").index
        table = table.loc[order]
    table.index.name = "parameter"
    remarks = _remarks(assessed)
    if form == "csv":
        rows = [
            {
                "parameter": name,
                **{str(title): each for title, each in line.items() if each == each},
            }
            for name, line in table.iterrows()
        ]
        return to_csv(["parameter", *map(str, table.columns)], rows), remarks
    if form == "json":
        return to_json(_by_column(table)), remarks
    return _shares(table, width), remarks


def comparison_text(
    studies: Sequence[optuna.Study], method: str, form: str, width: int
) -> tuple[str, list[str]]:
    """The comparison of studies, and what to keep in mind."""
    summary = comparison.summary(studies)
    parameters = comparison.best_parameters(studies)
    rates = comparison.learning_rates(studies)
    shares, remarks = importance_text(studies, (method,), "table", width)
    remarks = [*differences(summary), *_shortfalls(studies), *remarks]
    if form == "json":
        importances = comparison.best_importances(studies, method)
        tables = {
            "summary": _by_column(summary.astype(object).T),
            "best_parameters": _by_column(parameters),
            "importances": _by_column(importances),
            "learning_rates": {
                study.study_name: _by_column(rates.xs(study.study_name, axis=1))
                for study in studies
            },
        }
        return to_json(tables), remarks
    parts = {
        "what they reached": _summary(summary, width),
        "best parameters": _side_by_side(parameters, width),
        f"importances ({method})": shares,
    }
    if len(rates):
        header, rows = rates_by_study(rates)
        right = (False, False, True, True)
        parts["learning rates"] = text_table(header, rows, width, right=right, bold=True)
    return "\n\n".join(f"{title}\n{text}" for title, text in parts.items()), remarks


def differences(summary: pd.DataFrame) -> list[str]:
    """Why values of these studies may not be compared with each other."""
    kinds = summary[["metric", "direction"]].drop_duplicates()
    if len(kinds) > 1:
        metrics = ", ".join(f"{line.metric} ({line.direction})" for line in kinds.itertuples())
        return [f"the studies have different metrics, so values do not compare: {metrics}"]
    return []


def _shortfalls(studies: Sequence[optuna.Study]) -> list[str]:
    """Which studies have a best value that is no better than always giving the same answer."""
    return [
        f"{study.study_name}: {sentence}"
        for study in studies
        for sentence in shortfalls(study, leaders(study))
    ]


def rates_by_study(rates: pd.DataFrame) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """The heading and the lines of the table of learning rates: one for each study that has any."""
    rows = []
    for name in rates.index:
        for study in dict.fromkeys(rates.columns.get_level_values(0)):
            both = [rates.at[name, (study, kind)] for kind in ("suggested", "best")]
            if not all(map(_missing, both)):
                rows.append((str(name), str(study), *map(cell_text, both)))
    return ("parameter", "study", "suggested", "of the best trial"), rows


def cell_text(cell: Any) -> str:
    """A cell of a comparison; a dash where the study has nothing there."""
    return "-" if _missing(cell) else plain(cell)


def _remarks(assessed: dict[str, Importance]) -> list[str]:
    """What to keep in mind, each sentence once, with what it is about unless that is all."""
    about: dict[str, list[str]] = {}
    for title, each in assessed.items():
        for sentence in each.notes:
            about.setdefault(sentence, []).append(title)
    return [
        sentence if len(titles) == len(assessed) else f"{', '.join(titles)}: {sentence}"
        for sentence, titles in about.items()
    ]


def _summary(table: pd.DataFrame, width: int) -> str:
    header = ("study", "trials", "best", "baseline", "gain", "95%", "after", "fastest")
    rows = []
    for name, line in table.iterrows():
        reached = not math.isnan(line["trials_to_95"])
        fast = not math.isnan(line["fastest"])
        rows.append(
            (
                str(name),
                str(line["trials"]),
                number(line["best"]),
                number(line["baseline"]),
                "-" if math.isnan(line["gain"]) else f"{line['gain']:+.4f}",
                number(line["threshold"]),
                f"{line['trials_to_95']:.0f} in {clock(line['seconds_to_95'])}" if reached else "-",
                f"{number(line['fastest'])} {line['fastest_seconds']:.3g} s" if fast else "-",
            )
        )
    text = text_table(header, rows, width, right=(False, *[True] * 6), bold=True)
    return (
        f"{text}\n95%: the first value with 95% of the best one's gain over the baseline (where\n"
        "none is known, of the best), after so many trials and so much working time"
    )


def _side_by_side(table: pd.DataFrame, width: int) -> str:
    return _blocks(table.map(cell_text), width, right=True)


def _shares(table: pd.DataFrame, width: int) -> str:
    """Shares, with a bar for each where it fits."""
    if table.empty:
        return "no parameter can be assessed"
    needed = sum(max(len(str(title)), BAR + 8) for title in table.columns)
    size = BAR if needed + max(len(str(name)) for name in table.index) <= width else 0
    most = float(table.max().max()) or 1.0
    return _blocks(table.map(lambda cell: _share(cell, most, size)), width, right=False)


def _blocks(cells: pd.DataFrame, width: int, *, right: bool) -> str:
    """A table, split into blocks one below the other where it is too wide."""
    names = list(map(str, cells.index))
    first = max(map(len, [str(cells.index.name), *names]), default=0)
    blocks: list[list[int]] = []
    left = 0
    for position, title in enumerate(cells.columns):
        column = list(map(str, cells.iloc[:, position]))
        needed = 2 + max(map(len, [str(title), *column]))
        if not blocks or needed > left:
            blocks.append([])
            left = width - first
        blocks[-1].append(position)
        left -= needed
    return "\n\n".join(
        text_table(
            (str(cells.index.name), *map(str, cells.columns[block])),
            [(name, *line) for name, *line in row_tuples(cells.iloc[:, block])],
            width,
            right=(False, *[right] * len(block)),
            bold=True,
        )
        for block in blocks
    )


def _share(cell: float, most: float, size: int) -> str:
    if math.isnan(cell):
        return "-"
    return f"{cell:.3f} {'█' * round(size * cell / most)}".rstrip()


def _missing(cell: Any) -> bool:
    return isinstance(cell, float) and math.isnan(cell)


def _by_column(table: Any) -> dict[str, dict[str, Any]]:
    """A frame as nested mappings, column by column; NaN means that a study has nothing there."""
    return {
        str(title): {
            str(name): MISSING if _missing(cell) else cell for name, cell in column.items()
        }
        for title, column in table.items()
    }
