"""How long what a reader has read counts as up to date."""

from __future__ import annotations

import time

# A read that took a second counts for ten: a report asks a hundred times, and over a slow network
# the first answer would be out of date before the second question.
TIMES_ITS_COST = 10


def fresh_until(begin: float, fresh_for: float) -> float:
    """Until when a read that began at ``begin`` and has just ended need not be repeated.

    Args:
        begin: in seconds of the monotonic clock, as is what is returned.
        fresh_for: seconds for which a read counts at least; 0: every question is a new read.
    """
    now = time.monotonic()
    return now + max(fresh_for, TIMES_ITS_COST * (now - begin)) if fresh_for else now
