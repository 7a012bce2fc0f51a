"""The SQL that reads a study: one statement for all that is new in it, or for some trials."""

from collections.abc import Iterable, Mapping

from hpo_job.storage.tables import FINISHED, HIGHEST, STALE, STUDY, TABLES, TAIL, TRIAL, Table


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
    """One statement for all that changed in a study since it was last read.

    Args:
        study_id: the study.
        last_id: the highest trial id that is known; -1 reads the whole study.
        running: ids of the trials that are known to be RUNNING.
        waiting: ids of the trials that are known to be WAITING.
        tails: kinds of contents that are also read of running trials, with the key after which.
        grace: seconds; if set, the answer also has a row for each trial without a heartbeat
            for longer.

    Returns:
        a UNION, so that all rows are of one moment: at READ COMMITTED and above, a statement sees
        what was committed when it began.
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


# Changes when an attribute of the study does, but for collisions of a 32-bit checksum: attributes
# are read once more than needed, or in one case of four thousand million not.
ATTRS_CHECKSUM = (
    "(SELECT 0e0 + COALESCE(SUM(CRC32(CONCAT(a.`key`, ':', a.value_json))), 0)"
    " FROM study_user_attributes a WHERE a.study_id = s.study_id)"
)


def _study_rows(study_id: int) -> str:
    # First in the UNION, so that its types are those of the answer's columns.
    return (
        f"SELECT {STUDY} AS kind, study_id AS id, 0 AS idx, study_name AS label,"
        f" {ATTRS_CHECKSUM} AS value, study_name AS text, UTC_TIMESTAMP(6) AS start,"
        f" UTC_TIMESTAMP(6) AS complete FROM studies s WHERE study_id = {study_id}"
    )


_TRIALS = "trials t"
_TRIALS_BY_ID = "trials t FORCE INDEX (PRIMARY)"


def _trial_rows(source: str, condition: str) -> str:
    return (
        f"SELECT {TRIAL} AS kind, t.trial_id AS id, t.number AS idx, t.state AS label,"
        " t.study_id + 0e0 AS value, NULL AS text, t.datetime_start AS start,"
        " t.datetime_complete AS complete"
        f" FROM {source} WHERE {condition}"
    )


def _content_rows(kind: int, source: str, condition: str) -> str:
    table = TABLES[kind]
    return (
        f"SELECT {kind}, c.trial_id, {_columns(table)}, NULL, NULL"
        f" FROM {source} STRAIGHT_JOIN {table.name} c"
        f" ON c.trial_id = t.trial_id WHERE {condition}"
    )


def _tail_rows(kind: int, after: int) -> str:
    table = TABLES[kind]
    return (
        f"SELECT {TAIL + kind}, c.trial_id, {_columns(table)}, NULL, NULL"
        f" FROM {table.name} c WHERE c.{table.key} > {after}"
    )


def _columns(table: Table) -> str:
    """Index, label, value and text; a table without a text has its key there."""
    value = f"c.{table.value}" if table.value else "NULL"
    text = f"c.{table.text}" if table.text else f"CONCAT('', c.{table.key})"
    return f"c.{table.index}, c.`{table.label}`, {value}, {text}"


def _stale_rows(study_id: int, condition: str, grace: int) -> str:
    # Optuna stores heartbeats in the server's time zone and a trial's start in UTC. Where that zone
    # has summer time, local times an hour apart may be a moment apart: a trial is stale only where
    # both the difference of the local times and that of the points in time exceed the grace.
    return (
        f"SELECT {STALE}, t.trial_id, 0, NULL, NULL, NULL, NULL, NULL"
        " FROM trials t FORCE INDEX (PRIMARY)"
        " LEFT JOIN trial_heartbeats h ON h.trial_id = t.trial_id"
        f" WHERE t.study_id = {study_id} AND t.state = 'RUNNING' AND {condition}"
        f" AND ((h.heartbeat < NOW() - INTERVAL {grace} SECOND"
        f" AND UNIX_TIMESTAMP(h.heartbeat) < UNIX_TIMESTAMP() - {grace}) OR (h.trial_id IS NULL"
        f" AND t.datetime_start < UTC_TIMESTAMP() - INTERVAL {grace} SECOND))"
    )
