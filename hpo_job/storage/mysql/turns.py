"""When a busy worker gives its connection back for a moment, so that others get one.

Without this, as many workers as the server has connections would keep all of them while they are
busy, and the rest would never get one.
"""

from __future__ import annotations

import time
from typing import Any

from hpo_job.storage.mysql.freshness import fresh_until

TURN = 2.0  # seconds, at least, that a busy worker keeps its connection on a crowded server


class Turns:
    """The turns of one process with its connection.

    Args:
        idle: seconds without a statement after which the connection is given back. A turn is not
            shorter: a reader keeps its connection for as long, so that it does not spend round
            trips of a slow network on the question whether others want one.
    """

    def __init__(self, idle: float) -> None:
        self._length = max(TURN, idle)
        self._until = 0.0  # on the monotonic clock
        self._max_connections = 0

    def begin(self) -> None:
        """Note that a connection was opened."""
        self._until = time.monotonic() + self._length

    def is_over(self) -> bool:
        """Whether the connection was kept for a turn, so that the server should be asked."""
        return time.monotonic() >= self._until

    def is_crowded(self, raw: Any, driver_error: type[Exception]) -> bool:
        """Ask the server whether all its connections are taken; begins another turn.

        Args:
            raw: the connection, of the driver.
            driver_error: what the driver raises; a connection that fails counts as crowded.
        """
        begin = time.monotonic()
        try:
            cursor = raw.cursor()
            if not self._max_connections:
                cursor.execute("SELECT @@max_connections")
                self._max_connections = int(cursor.fetchone()[0])
            cursor.execute("SHOW GLOBAL STATUS LIKE 'Threads_connected'")
            crowded = int(cursor.fetchone()[1]) >= self._max_connections
        except driver_error:
            crowded = True
        self._until = fresh_until(begin, self._length)
        return crowded
