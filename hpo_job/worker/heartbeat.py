"""A sign of life, given from a thread for as long as something takes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def heartbeat(name: str, seconds: float, beat: Callable[[], None]) -> Iterator[None]:
    """Call ``beat`` every so many seconds while in here; what it raises ends the beats."""
    done = threading.Event()

    def go_on() -> None:
        while not done.wait(seconds):
            beat()

    thread = threading.Thread(target=go_on, name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
