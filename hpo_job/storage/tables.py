"""The tables of Optuna's schema that hold what is in a trial, and how one row is read from them.

Every table of contents is read as rows of one shape, so that one UNION answers a whole study and
one function assembles its trials, whatever the database: see `trial_rows.Row`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hpo_job.errors import StorageError

# Kinds of rows in an answer; those of a table of contents are its key in TABLES.
TRIAL, STUDY, STALE, PARAM, VALUE, USER, SYSTEM, REPORT = range(8)
TAIL = 10  # added to the kind of a row that belongs to a running trial
HIGHEST = 20  # added to the kind of a table, for the row that holds its highest key

GONE = "the study was deleted while it was in use; run the command again to begin it anew"
NO_TABLES = "has no studies yet; the first worker makes its tables"

OTHER_VERSION = (
    "its tables were made by another version of Optuna, or by another program; those of an older "
    "Optuna are upgraded by `optuna storage upgrade --storage URL`"
)


class NoTablesError(StorageError):
    """The database does not have Optuna's tables yet."""


UNFINISHED = "('RUNNING', 'WAITING')"
FINISHED = "('COMPLETE', 'PRUNED', 'FAIL')"


@dataclass(frozen=True)
class Table:
    """A table of trial contents.

    Args:
        name: of the table.
        key: its primary key, which grows with each row.
        index: the column with the row's place in its trial: a step, an objective, or the key.
        label: the column with its name, or with the kind of a number.
        value: the column with its number, if there is one.
        text: the column with its JSON, if there is one.
    """

    name: str
    key: str
    index: str
    label: str
    value: str | None
    text: str | None

    @property
    def written(self) -> Sequence[str]:
        """The columns that are written, besides the trial's id; the unique one first."""
        if self.value and not self.text:
            return self.index, self.value, self.label
        return tuple(name for name in (self.label, self.value, self.text) if name)


TABLES: Mapping[int, Table] = {
    PARAM: Table(
        "trial_params",
        key="param_id",
        index="param_id",
        label="param_name",
        value="param_value",
        text="distribution_json",
    ),
    VALUE: Table(
        "trial_values",
        key="trial_value_id",
        index="objective",
        label="value_type",
        value="value",
        text=None,
    ),
    USER: Table(
        "trial_user_attributes",
        key="trial_user_attribute_id",
        index="trial_user_attribute_id",
        label="key",
        value=None,
        text="value_json",
    ),
    SYSTEM: Table(
        "trial_system_attributes",
        key="trial_system_attribute_id",
        index="trial_system_attribute_id",
        label="key",
        value=None,
        text="value_json",
    ),
    REPORT: Table(
        "trial_intermediate_values",
        key="trial_intermediate_value_id",
        index="step",
        label="intermediate_value_type",
        value="intermediate_value",
        text=None,
    ),
}
