"""Optuna's own storage on SQLite and PostgreSQL, quicker at reading a whole study.

Optuna makes five objects of its ORM for each row of a trial; here the rows are read as they are
and assembled by `trial_rows`: ten thousand trials take about a second. What is handed out is the
same, but for one thing: a time in the hour that comes twice when the clocks are set back has
its `fold`.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from typing import Any

from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    DateTime,
    Select,
    bindparam,
    column,
    literal_column,
    or_,
    select,
    table,
)

from hpo_job.machine import collector_paused
from hpo_job.storage import tables, trial_rows
from hpo_job.storage.tables import TABLES, Table

_TRIALS = table(
    "trials",
    column("trial_id"),
    column("number"),
    column("study_id"),
    column("state"),
    column("datetime_start", DateTime()),
    column("datetime_complete", DateTime()),
)
_NULL: ColumnElement[Any] = literal_column("NULL")


class FastRDBStorage(RDBStorage):
    """An RDBStorage that reads trials row by row."""

    def _get_trials(
        self,
        study_id: int,
        states: Container[TrialState] | None,
        included_trial_ids: set[int],
        trial_id_greater_than: int,
    ) -> list[FrozenTrial]:
        self.get_study_name_from_id(study_id)  # raises KeyError where there is no such study
        chosen = _TRIALS.c.study_id == study_id
        if trial_id_greater_than >= 0:
            newer = _TRIALS.c.trial_id > trial_id_greater_than
            chosen &= or_(newer, _one_of(included_trial_ids))
        trials = self._read(chosen)
        return trials if states is None else [trial for trial in trials if trial.state in states]

    def get_trial(self, trial_id: int) -> FrozenTrial:
        trials = self._read(_TRIALS.c.trial_id == trial_id)
        if not trials:
            raise KeyError(f"there is no trial with the id {trial_id}")
        return trials[0]

    def _read(self, chosen: ColumnElement[bool]) -> list[FrozenTrial]:
        """The chosen trials, by their ids.

        Their states are read first: whatever another process writes meanwhile, a trial that is
        read as finished has all of its contents. A running one may have some that are newer.
        """
        with self.engine.connect() as connection, collector_paused():
            rows = _rows(connection, _trials(chosen))
            for kind, contents in TABLES.items():
                rows += _rows(connection, _contents(kind, contents, chosen))
            return trial_rows.assemble(rows)


def _one_of(trial_ids: Iterable[int]) -> ColumnElement[bool]:
    # written into the statement: a database takes only so many parameters
    ids: BindParameter[Any] = bindparam(
        "ids", sorted(trial_ids), expanding=True, literal_execute=True
    )
    return _TRIALS.c.trial_id.in_(ids)


def _rows(connection: Connection, query: Select[Any]) -> list[trial_rows.Row]:
    return list(connection.execute(query).all())


def _trials(chosen: ColumnElement[bool]) -> Select[Any]:
    """The rows of kind TRIAL of the chosen trials."""
    c = _TRIALS.c
    kind: ColumnElement[int] = literal_column(str(tables.TRIAL))
    return select(
        kind,
        c.trial_id,
        c.number,
        c.state,
        c.study_id,
        _NULL,
        c.datetime_start,
        c.datetime_complete,
    ).where(chosen)


def _contents(kind: int, contents: Table, chosen: ColumnElement[bool]) -> Select[Any]:
    """The rows of one table of contents of the chosen trials, in the order they were written."""
    names = dict.fromkeys(
        name
        for name in (contents.key, contents.index, contents.label, contents.value, contents.text)
        if name
    )
    source = table(contents.name, column("trial_id"), *map(column, names))
    selected = (
        source.c[name] if name else _NULL
        for name in (contents.index, contents.label, contents.value, contents.text)
    )
    return (
        select(literal_column(str(kind)), source.c.trial_id, *selected, _NULL, _NULL)
        .where(source.c.trial_id.in_(select(_TRIALS.c.trial_id).where(chosen)))
        .order_by(source.c[contents.key])
    )
