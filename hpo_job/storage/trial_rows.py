"""Rows of Optuna's tables, assembled into frozen trials and taken apart for writing.

This is the only place that knows how Optuna stores numbers, times and JSON. Both storages read
through it: `fast_rdb` with SQLAlchemy, `mysql` with its own statements.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from operator import itemgetter
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    distribution_to_json,
    json_to_distribution,
)
from optuna.trial import FrozenTrial, TrialState

from hpo_job.storage import tables
from hpo_job.trial import clock

# kind, trial_id, index, label, value, text, start, complete: see `tables` for what they hold.
# Of a row of kind TRIAL: number, state, the study's id, nothing, and the times in UTC.
Row = Sequence[Any]
Time = datetime | None

LONGEST_KEY = 512  # characters, VARCHAR(512)
LONGEST_TEXT = 65535  # bytes, TEXT; json.dumps writes ASCII

STATES = {state.name: state for state in TrialState}
NOT_FINITE = {"INF_POS": math.inf, "INF_NEG": -math.inf, "NAN": math.nan}

# A study has few distributions and many rows of each.
read_distribution: Callable[[str], BaseDistribution] = lru_cache(4096)(json_to_distribution)


@dataclass
class Contents:
    """What is stored of a trial outside of its own row."""

    values: dict[int, float] = field(default_factory=dict)
    params: dict[str, Any] = field(default_factory=dict)
    distributions: dict[str, BaseDistribution] = field(default_factory=dict)
    user_attrs: dict[str, Any] = field(default_factory=dict)
    system_attrs: dict[str, Any] = field(default_factory=dict)
    reports: dict[int, float] = field(default_factory=dict)

    def add(self, row: Row, kind: int) -> None:
        """Take in one row of a table of contents, which is of this kind."""
        _, _, index, label, value, text, _, _ = row
        if kind == tables.PARAM:
            distribution = read_distribution(text)
            self.params[label] = distribution.to_external_repr(value)
            self.distributions[label] = distribution
        elif kind == tables.REPORT:
            self.reports[index] = read_float(value, label)
        elif kind == tables.SYSTEM:
            self.system_attrs[label] = json.loads(text)
        elif kind == tables.USER:
            self.user_attrs[label] = json.loads(text)
        else:
            self.values[index] = read_float(value, label)

    def attribute(self, name: str) -> dict[Any, Any]:
        """A copy of what a FrozenTrial keeps under ``name``, one of CONTENTS."""
        return dict(getattr(self, _FIELDS[name]))

    def replace(self, name: str, content: dict[Any, Any]) -> None:
        """Set what a FrozenTrial keeps under ``name``."""
        setattr(self, _FIELDS[name], content)


_FIELDS = {
    "_params": "params",
    "_distributions": "distributions",
    "_user_attrs": "user_attrs",
    "_system_attrs": "system_attrs",
    "intermediate_values": "reports",
}
KINDS = {
    "_params": tables.PARAM,
    "_distributions": tables.PARAM,
    "_user_attrs": tables.USER,
    "_system_attrs": tables.SYSTEM,
    "intermediate_values": tables.REPORT,
}


def collect(rows: Iterable[Row]) -> dict[int, Contents]:
    """Contents by trial id; parameters in the order in which they were suggested."""
    contents: dict[int, Contents] = defaultdict(Contents)
    params = []
    for row in rows:
        if row[0] == tables.PARAM:
            params.append(row)
        elif row[0] in tables.TABLES:
            contents[row[1]].add(row, row[0])
    for row in sorted(params, key=itemgetter(2)):
        contents[row[1]].add(row, tables.PARAM)
    return contents


def freeze(row: Row, contents: Contents, precise: tuple[Time, Time] | None = None) -> FrozenTrial:
    """A frozen trial of its row and contents.

    Args:
        row: of kind TRIAL.
        contents: becomes part of the trial.
        precise: its start and end as this process knows them; MySQL's tables keep whole seconds.
    """
    _, trial_id, number, state, _, _, start, complete = row
    started, completed = local_time(start), local_time(complete)
    if precise is not None:
        started, completed = (
            known if known and stored and known.replace(microsecond=0) == stored else stored
            for known, stored in zip(precise, (started, completed), strict=True)
        )
    values = contents.values
    return FrozenTrial(
        trial_id=trial_id,
        number=number,
        state=STATES[state],
        value=None,
        values=[values[i] for i in sorted(values)] if values else None,
        datetime_start=started,
        datetime_complete=completed,
        params=contents.params,
        distributions=contents.distributions,
        user_attrs=contents.user_attrs,
        system_attrs=contents.system_attrs,
        intermediate_values=contents.reports,
    )


def assemble(rows: Sequence[Row]) -> list[FrozenTrial]:
    """The trials of an answer, by their ids, with all of their contents that are in it."""
    contents: Mapping[int, Contents] = collect(rows)
    trials = sorted((row for row in rows if row[0] == tables.TRIAL), key=itemgetter(1))
    return [freeze(row, contents.get(row[1]) or Contents()) for row in trials]


def rows_of(trial: FrozenTrial) -> dict[int, list[Row]]:
    """The rows to write for a new trial, by kind of contents; kinds without rows are left out."""
    by_kind: dict[int, list[Row]] = {
        tables.VALUE: value_rows(trial.values or ()),
        tables.PARAM: [
            param_row(
                name, trial.distributions[name].to_internal_repr(value), trial.distributions[name]
            )
            for name, value in trial.params.items()
        ],
        tables.USER: [attr_row(key, value) for key, value in trial.user_attrs.items()],
        tables.SYSTEM: [attr_row(key, value) for key, value in trial.system_attrs.items()],
        tables.REPORT: [report_row(step, v) for step, v in trial.intermediate_values.items()],
    }
    return {kind: rows for kind, rows in by_kind.items() if rows}


def param_row(name: str, internal: float, distribution: BaseDistribution) -> Row:
    """A row of trial_params."""
    return name, float(internal), distribution_to_json(distribution)


def attr_row(key: str, value: Any) -> Row:
    """A row of a table of attributes.

    Raises:
        ValueError: the columns cannot hold it. The server would say so only when it is written,
            which may be much later than the caller set it.
    """
    text = json.dumps(value)
    if len(text) > LONGEST_TEXT or len(key) > LONGEST_KEY:
        raise ValueError(
            f"attribute {key[:80]!r}: {len(text)} characters, {LONGEST_TEXT} at most; "
            f"its key: {len(key)}, {LONGEST_KEY} at most"
        )
    return key, text


def value_rows(values: Sequence[float]) -> list[Row]:
    """Rows of trial_values."""
    return [(i, *_stored_float(value)) for i, value in enumerate(values)]


def report_row(step: int, value: float) -> Row:
    """A row of trial_intermediate_values."""
    return step, *_stored_float(value)


def _stored_float(value: float) -> tuple[float | None, str]:
    # A DOUBLE column holds neither infinities nor NaN: Optuna stores their kind next to it.
    if math.isnan(value):
        return None, "NAN"
    if math.isinf(value):
        return None, "INF_POS" if value > 0 else "INF_NEG"
    return float(value), "FINITE"


def read_float(value: float | None, kind: str) -> float:
    """A number as Optuna stores it: a value, or the kind of what is no finite value."""
    return float(value) if kind == "FINITE" and value is not None else NOT_FINITE[kind]


def local_time(stored: Time) -> Time:
    """Naive UTC, as the tables keep it, as naive local time, as Optuna hands it out."""
    return None if stored is None else clock.local_time(stored)


def stored_time(local: Time) -> str | None:
    """Naive local time as MySQL's tables keep it: UTC, in whole seconds."""
    if local is None:
        return None
    return local.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
