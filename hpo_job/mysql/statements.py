"""The SQL of the storage, on the tables of Optuna's schema; each write may be sent twice."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

# Kinds of rows in the answer to `view_query`.
TRIAL, STUDY, STALE, PARAM, VALUE, USER, SYSTEM, REPORT = range(8)
TAIL = 10  # added to the kind of rows of running trials
HIGHEST = 20  # added to the kind whose highest key a row tells

UNFINISHED = "('RUNNING', 'WAITING')"
FINISHED = "('COMPLETE', 'PRUNED', 'FAIL')"


class Table:
    """A table of trial contents: its key, and its columns as (place, name, value, text)."""

    def __init__(self, name: str, key: str, columns: str, written: Sequence[str]) -> None:
        self.name = name
        self.key = key
        self.columns = columns
        self.written = written


TABLES: Mapping[int, Table] = {
    PARAM: Table(
        "trial_params",
        "param_id",
        "c.param_id, c.param_name, c.param_value, c.distribution_json",
        ("param_name", "param_value", "distribution_json"),
    ),
    VALUE: Table(
        "trial_values",
        "trial_value_id",
        "c.objective, c.value_type, c.value, NULL",
        ("objective", "value", "value_type"),
    ),
    USER: Table(
        "trial_user_attributes",
        "trial_user_attribute_id",
        "c.trial_user_attribute_id, c.`key`, NULL, c.value_json",
        ("`key`", "value_json"),
    ),
    SYSTEM: Table(
        "trial_system_attributes",
        "trial_system_attribute_id",
        "c.trial_system_attribute_id, c.`key`, NULL, c.value_json",
        ("`key`", "value_json"),
    ),
    REPORT: Table(
        "trial_intermediate_values",
        "trial_intermediate_value_id",
        "c.step, c.intermediate_value_type, c.intermediate_value,"
        " CONCAT('', c.trial_intermediate_value_id)",
        ("step", "intermediate_value", "intermediate_value_type"),
    ),
}

# ---- reads --------------------------------------------------------------------------------


def id_ranges(column: str, ids: Iterable[int]) -> str:
    """A condition on an id column: runs of neighbours as BETWEEN, the rest in one IN."""
    runs: list[list[int]] = []
    for i in sorted(ids):
        if runs and runs[-1][1] == i - 1:
            runs[-1][1] = i
        else:
            runs.append([i, i])
    parts = [f"{column} BETWEEN {a} AND {b}" for a, b in runs if b > a]
    single = [str(a) for a, b in runs if a == b]
    if single:
        parts.append(f"{column} IN ({','.join(single)})")
    return f"({' OR '.join(parts)})" if parts else "FALSE"


def view_query(
    study_id: int,
    last_id: int,
    running: Iterable[int],
    waiting: Iterable[int],
    *,
    tails: Mapping[int, int],
    grace: int | None = None,
) -> str:
    """One statement for all that changed in a study since the last look.

    Args:
        study_id: the study.
        last_id: the highest trial id that is known.
        running, waiting: ids of the trials that are known to be in that state.
        tails: kinds of contents that are also wanted of running trials, and after which key.
        grace: seconds; where given, trials without a heartbeat for longer are named.
    """
    running_ids = id_ranges("t.trial_id", running)
    source, changed = _TRIALS, f"t.study_id = {study_id}"
    if last_id >= 0:
        source = _TRIALS_BY_ID
        changed += (
            f" AND (t.trial_id > {last_id}"
            f" OR (t.state <> 'RUNNING' AND {running_ids})"
            f" OR (t.state <> 'WAITING' AND {id_ranges('t.trial_id', waiting)}))"
        )
    parts = [_study_rows(study_id), _trial_rows(source, changed)]
    finished = f"{changed} AND t.state IN {FINISHED}"
    parts += [_content_rows(kind, source, finished) for kind in TABLES]
    parts += [_tail_rows(kind, after) for kind, after in tails.items()]
    if grace is not None:
        parts.append(_stale_rows(study_id, f"(t.trial_id > {last_id} OR {running_ids})", grace))
    return " UNION ALL ".join(parts)


def trial_query(trial_id: int) -> str:
    """One statement for all that is stored of one trial."""
    return trials_query([trial_id], TABLES)


def trials_query(trial_ids: Iterable[int], kinds: Iterable[int]) -> str:
    """One statement for some kinds of contents of some trials, whatever their state."""
    condition = id_ranges("t.trial_id", trial_ids)
    parts = [_trial_rows(_TRIALS_BY_ID, condition)]
    parts += [_content_rows(kind, _TRIALS_BY_ID, condition) for kind in kinds]
    return " UNION ALL ".join(parts)


def running_query(trial_ids: Iterable[int], kinds: Iterable[int]) -> str:
    """Some kinds of contents of running trials, and the highest key of each kind."""
    condition = id_ranges("t.trial_id", trial_ids)
    parts = []
    for kind in kinds:
        key = f"(SELECT COALESCE(MAX({TABLES[kind].key}), 0) FROM {TABLES[kind].name})"
        parts.append(f"SELECT {HIGHEST + kind}, 0, {key}, '', 0e0, '', NULL, NULL")
        parts.append(_content_rows(kind, _TRIALS_BY_ID, condition))
    return " UNION ALL ".join(parts)


# Changes when an attribute of the study does.
ATTRS_SUM = (
    "(SELECT 0e0 + COALESCE(SUM(CRC32(CONCAT(a.`key`, ':', a.value_json))), 0)"
    " FROM study_user_attributes a WHERE a.study_id = s.study_id)"
)


def _study_rows(study_id: int) -> str:
    # First in the UNION, so that its types are those of the answer's columns.
    return (
        f"SELECT {STUDY} AS kind, study_id AS id, 0 AS place, study_name AS name,"
        f" {ATTRS_SUM} AS value, study_name AS text, UTC_TIMESTAMP(6) AS begun,"
        f" UTC_TIMESTAMP(6) AS ended FROM studies s WHERE study_id = {study_id}"
    )


_TRIALS = "trials t"
_TRIALS_BY_ID = "trials t FORCE INDEX (PRIMARY)"


def _trial_rows(source: str, condition: str) -> str:
    return (
        f"SELECT {TRIAL} AS kind, t.trial_id AS id, t.number AS place, t.state AS name,"
        " t.study_id + 0e0 AS value, NULL AS text, t.datetime_start AS begun,"
        " t.datetime_complete AS ended"
        f" FROM {source} WHERE {condition}"
    )


def _content_rows(kind: int, source: str, condition: str) -> str:
    table = TABLES[kind]
    return (
        f"SELECT {kind}, c.trial_id, {table.columns}, NULL, NULL"
        f" FROM {source} STRAIGHT_JOIN {table.name} c"
        f" ON c.trial_id = t.trial_id WHERE {condition}"
    )


def _tail_rows(kind: int, after: int) -> str:
    table = TABLES[kind]
    return (
        f"SELECT {TAIL + kind}, c.trial_id, {table.columns}, NULL, NULL"
        f" FROM {table.name} c WHERE c.{table.key} > {after}"
    )


def _stale_rows(study_id: int, condition: str, grace: int) -> str:
    # Optuna stores heartbeats in the server's time zone and a trial's start in UTC.
    return (
        f"SELECT {STALE}, t.trial_id, 0, NULL, NULL, NULL, NULL, NULL"
        " FROM trials t FORCE INDEX (PRIMARY)"
        " LEFT JOIN trial_heartbeats h ON h.trial_id = t.trial_id"
        f" WHERE t.study_id = {study_id} AND t.state = 'RUNNING' AND {condition}"
        f" AND (h.heartbeat < NOW() - INTERVAL {grace} SECOND OR (h.trial_id IS NULL"
        f" AND t.datetime_start < UTC_TIMESTAMP() - INTERVAL {grace} SECOND))"
    )


# ---- writes -------------------------------------------------------------------------------


def guarded_insert(kind: int, n_rows: int) -> str:
    """Write rows of a trial that is unfinished; no row is affected where it is not.

    Parameters of the statement: the written columns of each row, then the trial's id.
    """
    table = TABLES[kind]
    columns = table.written
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
    columns = TABLES[kind].written
    row = "(" + ", ".join(["%s"] * (len(columns) + 1)) + ")"
    return (
        f"INSERT INTO {TABLES[kind].name} (trial_id, {', '.join(columns)})"
        f" VALUES {', '.join([row] * n_rows)}"
    )


def _overwrite(columns: Sequence[str]) -> str:
    return ", ".join(f"{c} = VALUES({c})" for c in columns)


# Locks the study's row, as Optuna does, so that numbers are handed out one at a time. The
# number is read in a statement of its own: its snapshot is then taken under the lock.
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
