"""Sends statements to SQLite and PostgreSQL until they are answered; MySQL has its own loop."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from hpo_job.errors import UnreachableError
from hpo_job.storage import rdb_faults, waiting
from hpo_job.storage.outage import Outage

T = TypeVar("T")


class Retries:
    """The patience of one process with one database.

    Args:
        label: the storage's name in messages, without its password.
        patience: seconds for which a statement is retried; may become shorter at any time.
    """

    def __init__(self, label: str, patience: float) -> None:
        self.label = label
        self.patience = patience
        self.outage = Outage(label)
        self._ever_connected = False

    def __getstate__(self) -> tuple[str, float]:
        return self.label, self.patience

    def __setstate__(self, state: tuple[str, float]) -> None:
        self.__init__(*state)  # type: ignore[misc]

    def until_answered(
        self, work: Callable[[], T], also_retried: frozenset[str] = frozenset()
    ) -> T:
        """Call ``work`` until it is answered; it must be safe to repeat.

        Args:
            work: sends statements.
            also_retried: further SQLSTATEs of this work that may be gone at the next try; they are
                retried a few times.

        Raises:
            UnreachableError: the database was away or busy for all of the patience.
        """
        started, attempt = time.monotonic(), 0
        while True:
            try:
                result = work()
            except Exception as error:
                transient = rdb_faults.is_transient(error, self._ever_connected)
                raced = rdb_faults.state_of(error) in also_retried and attempt < waiting.RACES
                if not transient and not raced:
                    raise
                reason = rdb_faults.reason(error)
                waited = time.monotonic() - started
                if waited >= self.patience:
                    raise UnreachableError(f"{self.label}: {reason}") from error
                self.outage.waiting(reason, waited, self.patience - waited)
            else:
                self._ever_connected = True
                self.outage.answered(time.monotonic() - started if attempt else 0.0)
                return result
            attempt += 1
            waiting.pause(attempt)
