"""The SQL of the storage's writes, and of its short queries; each write may be sent twice."""

from collections.abc import Iterable, Sequence
from typing import Any

from hpo_job.storage.tables import TABLES, UNFINISHED


def guarded_insert(kind: int, n_rows: int) -> str:
    """Write rows of a trial if it is unfinished; otherwise no row is affected.

    Parameters of the statement: the written columns of each row, then the trial's id.
    """
    table = TABLES[kind]
    columns = _quoted(table.written)
    first = ", ".join(f"%s AS v{i}" for i in range(len(columns)))
    more = " UNION ALL SELECT " + ", ".join(["%s"] * len(columns))
    return (
        f"INSERT INTO {table.name} (trial_id, {', '.join(columns)})"
        f" SELECT t.trial_id, {', '.join(f'v.v{i}' for i in range(len(columns)))}"
        f" FROM trials t JOIN (SELECT {first}{more * (n_rows - 1)}) v"
        f" WHERE t.trial_id = %s AND t.state IN {UNFINISHED} LOCK IN SHARE MODE"
        f" ON DUPLICATE KEY UPDATE {_overwrite(columns[1:])}"
    )


def new_rows(kind: int, n_rows: int) -> str:
    """Write rows of a trial that the same transaction has created."""
    columns = _quoted(TABLES[kind].written)
    row = "(" + ", ".join(["%s"] * (len(columns) + 1)) + ")"
    return (
        f"INSERT INTO {TABLES[kind].name} (trial_id, {', '.join(columns)})"
        f" VALUES {', '.join([row] * n_rows)}"
    )


def _quoted(columns: Iterable[str]) -> list[str]:
    return [f"`{name}`" for name in columns]  # `key` is a word of SQL


def _overwrite(columns: Sequence[str]) -> str:
    return ", ".join(f"{c} = VALUES({c})" for c in columns)


# Locks the study's row, as Optuna does, so that numbers are handed out one at a time. The number
# is read by a later statement, which sees what was committed before the lock was taken.
LOCK_STUDY = "SELECT UTC_TIMESTAMP(6) FROM studies WHERE study_id = %s FOR UPDATE"
LAST_NUMBER = (
    "SELECT number FROM trials FORCE INDEX (ix_trials_study_id) WHERE study_id = %s"
    " ORDER BY trial_id DESC LIMIT 1"
)
NEW_TRIAL = (
    "INSERT INTO trials (study_id, number, state, datetime_start, datetime_complete)"
    " VALUES (%s, %s, %s, %s, %s)"
)
SAME_TRIAL = (
    "SELECT COUNT(*) FROM trials WHERE trial_id = %s AND study_id = %s AND number = %s"
    " AND datetime_start <=> %s"
)
SAME_ATTR = (
    "SELECT COUNT(*) FROM trial_system_attributes"
    " WHERE trial_id = %s AND `key` = %s AND value_json = %s"
)
START_TRIAL = (
    "UPDATE trials SET state = 'RUNNING', datetime_start = UTC_TIMESTAMP()"
    " WHERE trial_id = %s AND state = 'WAITING'"
)
FINISH_TRIAL = (
    "UPDATE trials SET state = %s, datetime_complete = UTC_TIMESTAMP()"
    f" WHERE trial_id = %s AND state IN {UNFINISHED}"
)
FORGET_VALUES = (
    "DELETE v FROM trial_values v JOIN trials t ON t.trial_id = v.trial_id"
    f" WHERE t.trial_id = %s AND t.state IN {UNFINISHED}"
)
STATE = "SELECT state FROM trials WHERE trial_id = %s"
HEARTBEAT = (
    "INSERT INTO trial_heartbeats (trial_id, heartbeat)"
    " SELECT trial_id, NOW() FROM trials WHERE trial_id = %s"
    " ON DUPLICATE KEY UPDATE heartbeat = NOW()"
)

NEW_STUDY = "INSERT INTO studies (study_name) VALUES (%s)"
NEW_DIRECTION = "INSERT INTO study_directions (direction, study_id, objective) VALUES (%s, %s, %s)"
STUDY_ID = "SELECT study_id FROM studies WHERE study_name = %s"
# A study by its name: its directions in their order, and its user attributes
STUDY = (
    "SELECT s.study_id, d.objective AS objective, d.direction, NULL AS `key`, NULL AS value_json"
    " FROM studies s JOIN study_directions d ON d.study_id = s.study_id WHERE s.study_name = %s"
    " UNION ALL SELECT s.study_id, NULL, NULL, a.`key`, a.value_json"
    " FROM studies s LEFT JOIN study_user_attributes a ON a.study_id = s.study_id"
    " WHERE s.study_name = %s ORDER BY objective"
)
RENAME_STUDY = "UPDATE studies SET study_name = %s WHERE study_id = %s"
STUDY_NAME = "SELECT study_name FROM studies WHERE study_id = %s"
DIRECTIONS = "SELECT direction FROM study_directions WHERE study_id = %s ORDER BY objective"
TRIAL_ID = "SELECT trial_id FROM trials WHERE study_id = %s AND number = %s"

_OF_STUDY = "trial_id IN (SELECT trial_id FROM trials WHERE study_id = %s)"
DELETE_STUDY = (
    *(f"DELETE FROM {table.name} WHERE {_OF_STUDY}" for table in TABLES.values()),
    f"DELETE FROM trial_heartbeats WHERE {_OF_STUDY}",
    "DELETE FROM trials WHERE study_id = %s",
    "DELETE FROM study_user_attributes WHERE study_id = %s",
    "DELETE FROM study_system_attributes WHERE study_id = %s",
    "DELETE FROM study_directions WHERE study_id = %s",
    "DELETE FROM studies WHERE study_id = %s",
)


def set_study_attr(table: str) -> str:
    """Write an attribute of a study that exists; no row is affected where it does not."""
    return (
        f"INSERT INTO {table} (study_id, `key`, value_json)"
        " SELECT study_id, %s, %s FROM studies WHERE study_id = %s"
        " ON DUPLICATE KEY UPDATE value_json = VALUES(value_json)"
    )


def study_attrs(table: str) -> str:
    """The attributes of a study; one row with NULLs where it has none, no row without it."""
    return (
        f"SELECT a.`key`, a.value_json FROM studies s LEFT JOIN {table} a"
        " ON a.study_id = s.study_id WHERE s.study_id = %s"
    )


NOW = "SELECT UTC_TIMESTAMP(6)"
ALL_STUDIES = "SELECT study_id, study_name FROM studies ORDER BY study_id"
ALL_DIRECTIONS = "SELECT study_id, direction FROM study_directions ORDER BY study_id, objective"


def all_attrs(table: str) -> str:
    """The attributes of all studies."""
    return f"SELECT study_id, `key`, value_json FROM {table}"


def rows_parameters(rows: Iterable[Sequence[Any]], trial_id: int) -> list[Any]:
    """The parameters of `guarded_insert`."""
    return [value for row in rows for value in row] + [trial_id]
