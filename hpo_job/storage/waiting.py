"""The pauses between two tries: the only place in this package where a signal may break in."""

from __future__ import annotations

import random
import time

# Tries of what another process does at the same time: it is done soon, or something else is wrong
RACES = 8
FIRST_PAUSE, LONGEST_PAUSE = 0.02, 2.0  # seconds between tries, before jitter


def pause(attempt: int) -> None:
    """Sleep before the next try, longer after each.

    Nothing is half done meanwhile: a statement was refused, or its answer is lost.

    Args:
        attempt: how often it has been tried, from 1.
    """
    longest = min(FIRST_PAUSE * 2 ** min(attempt, 10), LONGEST_PAUSE)
    time.sleep(random.uniform(0.3, 1.0) * longest)
