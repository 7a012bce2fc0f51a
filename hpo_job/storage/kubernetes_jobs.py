"""Which Kubernetes Jobs have worked on which studies: a Job must not make a deleted one anew.

Optuna's tables forget a study with all that belongs to it. A table next to them, which the first
worker in a pod creates, keeps the Job's uid with the study's name for ever.

Guaranteed: once a worker of a Job has joined a study, and as long as this table is there, a later
worker of the same Job knows it. Not guaranteed where the account may not create tables, which is a
warning, or where all tables or the database have been dropped.
"""

from __future__ import annotations

import logging
from typing import Any

from sqlalchemy.exc import DBAPIError

from hpo_job.errors import StorageError
from hpo_job.storage import rdb_faults
from hpo_job.storage.database import Storage
from hpo_job.storage.mysql import MySQLStorage, faults

log = logging.getLogger(__name__)

TABLE = "hpo_job_studies"
CREATE = (
    f"CREATE TABLE IF NOT EXISTS {TABLE} (owner VARCHAR(64) NOT NULL, study VARCHAR(64) NOT NULL,"
    " PRIMARY KEY (owner, study))"
)
SELECT = f"SELECT study FROM {TABLE} WHERE owner = :owner AND study = :study"
INSERT = f"INSERT INTO {TABLE} (owner, study) VALUES (:owner, :study) ON CONFLICT DO NOTHING"
INSERT_MYSQL = f"INSERT IGNORE INTO {TABLE} (owner, study) VALUES (:owner, :study)"


def has_joined(storage: Storage, owner: str, study: str) -> bool:
    """Whether a worker of the Job with the uid ``owner`` has joined the study of this name."""
    try:
        return bool(_execute(storage, SELECT, owner, study))
    except (DBAPIError, StorageError) as error:
        if _lacks_table(error) or _lacks_right(error):
            return False
        raise


def note_joined(storage: Storage, owner: str, study: str) -> None:
    """Keep that a worker of the Job with the uid ``owner`` has joined the study of this name."""
    insert = INSERT_MYSQL if isinstance(storage.optuna, MySQLStorage) else INSERT
    try:
        try:
            _execute(storage, insert, owner, study)
        except (DBAPIError, StorageError) as error:
            if not _lacks_table(error):
                raise
            _create(storage)
            _execute(storage, insert, owner, study)
    except (DBAPIError, StorageError) as error:
        if not _lacks_right(error):
            raise
        log.warning(
            "%s; so if the study is deleted, pods of this Job may begin it anew: let the account "
            "create and write the table %s",
            storage.error(error),
            TABLE,
        )


def _create(storage: Storage) -> None:
    try:
        _execute(storage, CREATE)
    except DBAPIError as error:
        # PostgreSQL's IF NOT EXISTS does not see a table that another worker is creating
        if rdb_faults.state_of(error) not in rdb_faults.CREATED:
            raise


def _execute(storage: Storage, sql: str, *words: str) -> list[Any]:
    """The rows that a statement answers, sent again until it is answered."""
    parameters = dict(zip(("owner", "study"), words, strict=False))
    if isinstance(storage.optuna, MySQLStorage):
        for name in parameters:
            sql = sql.replace(f":{name}", f"%({name})s")
    return storage.optuna.execute(sql, parameters)


def _lacks_table(error: Exception) -> bool:
    cause = error.__cause__
    if isinstance(error, StorageError):
        return cause is not None and faults.code_of(cause) == faults.NO_SUCH_TABLE
    return rdb_faults.is_without_tables(error)


def _lacks_right(error: Exception) -> bool:
    cause = error.__cause__
    if isinstance(error, StorageError):
        return cause is not None and faults.code_of(cause) in faults.NO_RIGHT
    return rdb_faults.is_forbidden(error)
