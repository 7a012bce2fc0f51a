"""The SQL that looks at a study: one statement for all that is new in it, or of some trials."""

from collections.abc import Iterable, Mapping

from hpo_job.storage.mysql.tables import FINISHED, HIGHEST, STALE, STUDY, TABLES, TAIL, TRIAL


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
