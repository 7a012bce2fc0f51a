"""Rows of Optuna's tables, read into frozen trials and written from them."""

import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
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

from hpo_job.storage.mysql import tables
from hpo_job.trial import clock

Row = Sequence[Any]  # kind, id, place, name, value, text, begun, ended
Time = datetime | None

LONGEST_KEY = 512  # characters, VARCHAR(512)
LONGEST_TEXT = 65535  # bytes, TEXT; json.dumps writes ASCII

STATES = {state.name: state for state in TrialState}

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

    def add(self, kind: int, row: Row) -> None:
        """Take in one row of a table of contents."""
        _, _, place, name, value, text, _, _ = row
        if kind == tables.PARAM:
            distribution = read_distribution(text)
            self.params[name] = distribution.to_external_repr(value)
            self.distributions[name] = distribution
        elif kind == tables.REPORT:
            self.reports[place] = read_float(value, name)
        elif kind == tables.SYSTEM:
            self.system_attrs[name] = json.loads(text)
        elif kind == tables.USER:
            self.user_attrs[name] = json.loads(text)
        else:
            self.values[place] = read_float(value, name)

    def attribute(self, name: str) -> dict[Any, Any]:
        """A copy of what a FrozenTrial keeps under `name`, one of CONTENTS."""
        return dict(getattr(self, _FIELDS[name]))

    def replace(self, name: str, content: dict[Any, Any]) -> None:
        """Set what a FrozenTrial keeps under `name`."""
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
        kind = row[0]
        if kind == tables.PARAM:
            params.append(row)
        elif kind in tables.TABLES:
            contents[row[1]].add(kind, row)
    params.sort(key=itemgetter(2))
    for _, trial_id, _, name, value, text, _, _ in params:
        found, distribution = contents[trial_id], read_distribution(text)
        found.params[name] = distribution.to_external_repr(value)
        found.distributions[name] = distribution
    return contents


def freeze(row: Row, contents: Contents, precise: tuple[Time, Time] | None) -> FrozenTrial:
    """A frozen trial of its row and contents.

    Args:
        row: of kind TRIAL.
        contents: becomes part of the trial.
        precise: the times as this process knows them. The tables keep whole seconds.
    """
    _, trial_id, number, state, _, _, begun, ended = row
    started, completed = local_time(begun), local_time(ended)
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


def rows_of(trial: FrozenTrial) -> dict[int, list[Row]]:
    """The rows to write for a new trial, by kind of contents."""
    rows: dict[int, list[Row]] = {
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
    return {kind: found for kind, found in rows.items() if found}


def param_row(name: str, internal: float, distribution: BaseDistribution) -> Row:
    """A row of trial_params."""
    return name, float(internal), distribution_to_json(distribution)


def attr_row(key: str, value: Any) -> Row:
    """A row of a table of attributes; ValueError for what its columns cannot hold."""
    text = json.dumps(value)
    if len(text) > LONGEST_TEXT or len(key) > LONGEST_KEY:
        # Refused here, not by the server when it is written, much later.
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
    # A DOUBLE column holds neither infinities nor NaN: Optuna stores their kind beside it.
    if math.isnan(value):
        return None, "NAN"
    if math.isinf(value):
        return None, "INF_POS" if value > 0 else "INF_NEG"
    return float(value), "FINITE"


def read_float(value: float | None, kind: str) -> float:
    """A number as Optuna stores it: a value, or the kind of what is no finite value."""
    if kind == "FINITE":
        assert value is not None
        return value
    return {"INF_POS": math.inf, "INF_NEG": -math.inf, "NAN": math.nan}[kind]


@lru_cache(4096)  # whole seconds: many trials share one
def local_time(stored: Time) -> Time:
    """Optuna stores naive UTC, and shows naive local time."""
    return None if stored is None else clock.local_time(stored)


def stored_time(local: Time) -> str | None:
    """Naive local time as the tables keep it: UTC, in whole seconds on every server."""
    if local is None:
        return None
    return local.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
