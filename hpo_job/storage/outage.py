"""Tells the user and the other parts that a server is away, and that it is back."""

from __future__ import annotations

import logging
import math
import threading
import time

logger = logging.getLogger(__name__)

QUIET = 2.0  # seconds of waiting before it is worth a line in the log


class Outage:
    """The state of a server as one process sees it; shared by the process' threads.

    One line in the log when a statement has waited for `QUIET` seconds, one when the server
    answers again, however many threads wait. Where many processes print into one place, their
    lines are one ``event``, so that one of them is printed.

    Args:
        label: how the storage is named in the log, without its password.
    """

    def __init__(self, label: str) -> None:
        self._label = label
        self._lock = threading.Lock()
        self._announced = False
        self._restored = -math.inf

    def waiting(self, reason: str, waited: float, left: float, awaited: str = "the server") -> None:
        """A statement has failed, and is going to be sent again.

        Args:
            reason: what the server or its driver said, in one line.
            waited: seconds since it was sent first.
            left: seconds for which it will still be tried.
            awaited: what is waited for.
        """
        if waited < QUIET:
            return
        with self._lock:
            announced, self._announced = self._announced, True
        if not announced:
            logger.warning(
                "%s: waiting for %s, %.0f s at most: %s",
                self._label,
                awaited,
                left,
                reason,
                extra={"event": f"{self._label}: away"},
            )

    def answered(self, waited: float = 0.0) -> None:
        """A statement was answered.

        Args:
            waited: seconds since it was sent first, if it had to be sent again.
        """
        with self._lock:
            announced, self._announced = self._announced, False
        if waited >= QUIET:
            self._restored = time.monotonic()
        if announced:
            back = {"event": f"{self._label}: back"}
            logger.warning("%s: answers again, resumed", self._label, extra=back)

    def was_within(self, seconds: float) -> bool:
        """Whether this process was without the server at some time in the last ``seconds``."""
        return time.monotonic() - self._restored < seconds
