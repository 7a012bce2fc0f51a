"""Trials as a table with a column for each parameter that differs between them.

What is the same in all of them is said once, below. A name that does not fit is shortened with a
sign; where the columns do not fit even so, parameters are folded into one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from hpo_job.results.formatting import GAP, plain, settings
from hpo_job.results.overview import remarks, row
from hpo_job.results.trials import metric_name, spec_of, trials_of
from hpo_job.study.optuna_private import fixed_params

SHORT = 8  # characters that a shortened name has at least
MISSING = object()


@dataclass(frozen=True)
class Columns:
    """A table, and what is the same in all its rows.

    Args:
        header: the headings; the last column may be folded.
        rows: the cells.
        right: which columns are flush right.
        same: the parameters that are the same in all trials, fixed ones too.
    """

    header: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    right: tuple[bool, ...]
    same: dict[str, Any]


def columns(study: optuna.Study, trials: Sequence[FrozenTrial], width: int) -> Columns:
    """The table of these trials, at most ``width`` cells wide but for its last column."""
    parameters = [_parameters(trial) for trial in trials]
    names = list(dict.fromkeys(name for each in parameters for name in each))
    space = spec_of(study).get("search_space", {})
    same = {name: entry for name, entry in space.items() if not isinstance(entry, dict)}
    known = [each for each in parameters if each]  # one that failed early may have none
    if len(known) > 1:
        same |= {
            name: known[0][name]
            for name in names
            if name in known[0] and all(each.get(name, MISSING) == known[0][name] for each in known)
        }
    varied = [name for name in names if name not in same]
    heads = [row(trial)[:4] for trial in trials]
    notes = [remarks(trial) for trial in trials]
    titles = ("trial", "state", metric_name(study), "time")
    cells = [[plain(each[name]) if name in each else "-" for name in varied] for each in parameters]
    last = ("note",) if any(notes) else ()
    for short in (False, True):
        titled = _names(varied, cells, short)
        header = (*titles, *titled, *last)
        rows = [
            (*head, *line, *([note] if last else []))
            for head, line, note in zip(heads, cells, notes, strict=True)
        ]
        fits = _width(header, rows, folded=bool(last)) <= width
        if fits and len(set(titled)) == len(titled):
            right = (True, False, True, True, *[_numbers(cells, i) for i in range(len(varied))])
            return Columns(header, rows, (*right, *([False] if last else [])), same)
    folded = [
        (*head, " ".join(filter(None, (settings(_only(each, varied)), note))))
        for head, each, note in zip(heads, parameters, notes, strict=True)
    ]
    return Columns((*titles, "parameters"), folded, (True, False, True, True, False), same)


def running(study: optuna.Study, width: int = 80) -> Table:
    """The trials that run now, as a table of rich's."""
    trials = trials_of(study, (TrialState.RUNNING,))
    contents = columns(study, trials, width)
    table = Table(box=None, pad_edge=False, header_style="bold")
    last = len(contents.header) - 1
    for position, (name, right) in enumerate(zip(contents.header, contents.right, strict=True)):
        folded = position == last and not right
        table.add_column(
            name,
            justify="right" if right else "left",
            no_wrap=not folded,
            overflow="fold" if folded else "ellipsis",
        )
    for line in contents.rows:
        table.add_row(*map(Text, line))
    return table


def shortened(name: str, size: int) -> str:
    """A name in at most ``size`` characters, its beginning and its end kept around a sign."""
    if len(name) <= size:
        return name
    tail = (size - 1) // 2
    return f"{name[: size - 1 - tail]}…{name[len(name) - tail :]}"


def _parameters(trial: FrozenTrial) -> dict[str, Any]:
    return fixed_params(trial) if trial.state == TrialState.WAITING else trial.params


def _only(parameters: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: parameters[name] for name in names if name in parameters}


def _names(names: Sequence[str], cells: Sequence[Sequence[str]], short: bool) -> list[str]:
    if not short:
        return list(names)
    sizes = [max([SHORT, *(cell_len(line[i]) for line in cells)]) for i in range(len(names))]
    return [shortened(name, size) for name, size in zip(names, sizes, strict=True)]


def _width(header: Sequence[str], rows: Sequence[Sequence[str]], *, folded: bool) -> int:
    """How wide the table is; of a last column that is folded, only its heading counts."""
    sizes = [max(map(cell_len, column)) for column in zip(header, *rows, strict=True)]
    if folded:
        sizes[-1] = 24
    return sum(sizes) + len(GAP) * (len(sizes) - 1)


def _numbers(cells: Sequence[Sequence[str]], position: int) -> bool:
    """Whether a column holds numbers, or nothing."""
    return all(_is_number(line[position]) for line in cells)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return text == "-"
    return True
