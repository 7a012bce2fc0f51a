"""What an account may do with a database, as `check` shows it: the answer, and how it is worded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hpo_job.storage.tables import TABLES

READ, WRITE, CREATE, LOCK = RIGHTS = ("read", "write", "create tables", "lock")
ELSEWHERE = "name a server in the URL that is not read-only"
# A number in each table that workers write to
COLUMNS: Mapping[str, str] = {
    "studies": "study_id",
    "study_directions": "study_id",
    "study_user_attributes": "study_id",
    "study_system_attributes": "study_id",
    "trials": "trial_id",
    "trial_heartbeats": "trial_id",
} | {table.name: "trial_id" for table in TABLES.values()}


@dataclass(frozen=True)
class Rights:
    """What an account may not do, tried without changing anything.

    Attributes:
        lacking: what the database answered to what is refused, by `READ`, `WRITE`, `CREATE` or
            `LOCK`; empty if everything is allowed.
        has_tables: whether Optuna's tables are there, so that nobody has to create them.
        remedy: what an administrator has to do: statements of SQL, or a sentence on files.
    """

    lacking: Mapping[str, str]
    has_tables: bool
    remedy: tuple[str, ...] = ()

    @property
    def missing(self) -> tuple[str, ...]:
        """What a worker needs, and this account may not."""
        needless = {CREATE} if self.has_tables else set()
        return tuple(right for right in RIGHTS if right in self.lacking.keys() - needless)

    def allowed(self) -> str:
        """What this account may do, in words."""
        return ", ".join(right for right in RIGHTS if right not in self.lacking) or "none"

    def problem(self) -> str:
        """What a worker needs and this account may not do, the answers, and how to fix it."""
        answers = "; ".join(dict.fromkeys(self.lacking[right] for right in self.missing))
        return f"this account may not {' or '.join(self.missing)}: {answers}; {self.how()}"

    def how(self) -> str:
        """How an administrator gives the rights that are missing."""
        return " ".join(self.remedy)
