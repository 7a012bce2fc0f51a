"""Heartbeats, sent from a thread for as long as something takes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def heartbeat(name: str, seconds: float, beat: Callable[[], None]) -> Iterator[None]:
    """Call ``beat`` every so many seconds from a thread of this name, while in here.

    What ``beat`` raises ends the heartbeats.
    """
    ended = threading.Event()

    def send() -> None:
        while not ended.wait(seconds):
            beat()

    thread = threading.Thread(target=send, name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
