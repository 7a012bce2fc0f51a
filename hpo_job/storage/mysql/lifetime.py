"""Closes the idle connections of a process, and forgets all of them in forked children."""

from __future__ import annotations

import os
import threading
import time
import weakref
from typing import Protocol


class Kept(Protocol):
    """A connection that is looked after."""

    idle: float

    def give_back_when_idle(self) -> bool:
        """Close it if it is idle; whether it needs no looking after any more."""

    def after_fork(self) -> None:
        """Forget it, in a forked child."""


def watch(connection: Kept) -> None:
    """Close the connection when it is idle, from a thread that does not keep it alive."""
    reference = weakref.ref(connection)
    threading.Thread(
        target=_watch, args=(reference,), name="hpo-job-mysql-idle", daemon=True
    ).start()


def _watch(reference: weakref.ref[Kept]) -> None:
    while True:
        connection = reference()
        if connection is None or connection.give_back_when_idle():
            return
        pause = connection.idle / 2
        del connection
        time.sleep(pause)


_connections: weakref.WeakSet[Kept] = weakref.WeakSet()


def forget_after_fork(connection: Kept) -> None:
    """Call its `after_fork` in every child that this process forks."""
    _connections.add(connection)


def _after_fork() -> None:
    for connection in list(_connections):
        connection.after_fork()


os.register_at_fork(after_in_child=_after_fork)
