"""What ``compare`` and ``importance`` print: data frames as tables of a terminal, CSV or JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import optuna
import pandas as pd

from hpo_job.results import compare
from hpo_job.results.frames import lines
from hpo_job.results.importance import Importance, importance
from hpo_job.results.trials import metric_names
from hpo_job.results.words import clock, number, plain, text_table

BAR = 12  # cells of the longest bar


def importances_told(
    studies: Sequence[optuna.Study], methods: Sequence[str], form: str, width: int
) -> tuple[str, list[str]]:
    """The importances of studies, by methods and objectives, and what to keep in mind."""
    found: dict[str, Importance] = {}
    for study in studies:
        for objective, metric in enumerate(metric_names(study)):
            for method in methods:
                words = (
                    study.study_name * (len(studies) > 1),
                    metric * (len(study.directions) > 1),
                    method * (len(methods) > 1),
                )
                title = " ".join(filter(None, words)) or method
                found[title] = importance(study, method, objective)
    table = pd.DataFrame({title: pd.Series(each.shares, dtype=float)
                          for title, each in found.items()})  # fmt: skip
    if len(table):
        order = table.max(axis=1).sort_values(ascending=False, kind="stable").index
        table = table.loc[order]
    table.index.name = "parameter"
    several = len(found) > 1
    remarks = list(dict.fromkeys(
        f"{title}: {note}" if several else note for title, each in found.items()
        for note in each.notes))  # fmt: skip
    if form == "csv":
        return str(table.to_csv()), remarks
    if form == "json":
        return json.dumps(json.loads(table.to_json()), indent=2), remarks
    return _shares(table, width), remarks


def told(
    studies: Sequence[optuna.Study], method: str, form: str, width: int
) -> tuple[str, list[str]]:
    """The comparison of studies, and what to keep in mind."""
    summary = compare.summary(studies)
    parameters = compare.best_parameters(studies)
    rates = compare.learning_rates(studies)
    shares, remarks = importances_told(studies, (method,), "table", width)
    remarks = differences(summary) + remarks
    if form == "json":
        importances = compare.best_importances(studies, method)
        tables = {
            "summary": summary.to_dict("index"),
            "best_parameters": parameters.to_dict(),
            "importances": importances.to_dict(),
            "learning_rates": {
                study.study_name: rates.xs(study.study_name, axis=1).to_dict() for study in studies
            },
        }
        return json.dumps(_plain(tables), indent=2), remarks
    parts = {
        "what they reached": _summary(summary, width),
        "best parameters": _side_by_side(parameters, width),
        f"importances ({method})": shares,
    }
    if len(rates):
        flat = rates.copy()
        flat.columns = pd.Index([" ".join(each) for each in rates.columns])
        parts["learning rates"] = _side_by_side(flat.astype(object), width)
    return "\n\n".join(f"{title}\n{text}" for title, text in parts.items()), remarks


def differences(summary: pd.DataFrame) -> list[str]:
    """Why values of these studies may not be compared with each other."""
    kinds = summary[["metric", "direction"]].drop_duplicates()
    if len(kinds) > 1:
        told = ", ".join(f"{line.metric} ({line.direction})" for line in kinds.itertuples())
        return [f"the studies have different metrics, so values do not compare: {told}"]
    return []


def _summary(table: pd.DataFrame, width: int) -> str:
    header = ("study", "trials", "best", "baseline", "gain", "95%", "after", "fastest")
    rows = []
    for name, line in table.iterrows():
        reached = not math.isnan(line["trials_to_95"])
        quick = not math.isnan(line["fastest"])
        rows.append((
            str(name),
            str(line["trials"]),
            number(line["best"]),
            number(line["baseline"]),
            "-" if math.isnan(line["gain"]) else f"{line['gain']:+.4f}",
            number(line["threshold"]),
            f"{line['trials_to_95']:.0f} in {clock(line['seconds_to_95'])}" if reached else "-",
            f"{number(line['fastest'])} {line['fastest_seconds']:.3g} s" if quick else "-",
        ))  # fmt: skip
    text = text_table(header, rows, width, right=(False, *[True] * 6), bold=True)
    return (
        f"{text}\n95%: the first value with 95% of the best one's gain over the baseline (where\n"
        "none is known, of the best), after so many trials and so much working time"
    )


def _side_by_side(table: pd.DataFrame, width: int) -> str:
    header = (str(table.index.name), *map(str, table.columns))
    rows = [
        (str(name), *("-" if _missing(found) else plain(found) for found in line))
        for name, *line in lines(table)
    ]
    return text_table(header, rows, width, right=(False, *[True] * len(table.columns)), bold=True)


def _shares(table: pd.DataFrame, width: int) -> str:
    """Shares with a bar for each; only the last column's where there are many."""
    if table.empty:
        return "no parameter can be assessed"
    titles = list(map(str, table.columns))
    size = BAR if sum(max(len(title), BAR + 6) for title in titles) + 30 <= width else 0
    most = float(table.max().max()) or 1.0
    rows = [
        (str(name), *(_share(found, most, size) for found in line)) for name, *line in lines(table)
    ]
    return text_table(("parameter", *titles), rows, width, bold=True)


def _share(found: float, most: float, size: int) -> str:
    if math.isnan(found):
        return "-"
    return f"{found:.3f} {'█' * round(size * found / most)}".rstrip()


def _missing(found: Any) -> bool:
    return found is None or (isinstance(found, float) and math.isnan(found))


def _plain(found: Any) -> Any:
    """Nested dicts as JSON has them: NaN as null, numpy's numbers as Python's."""
    if isinstance(found, dict):
        return {str(key): _plain(each) for key, each in found.items()}
    found = found.item() if hasattr(found, "item") else found
    return None if isinstance(found, float) and not math.isfinite(found) else found
