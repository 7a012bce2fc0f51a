"""The pauses between two tries: the one place in here where a signal may break in."""

import time


def pause(seconds: float) -> None:
    """Sleep. Nothing is half done meanwhile: a statement was refused, or its answer is lost."""
    time.sleep(seconds)
