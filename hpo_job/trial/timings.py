"""What a trial measures of itself: seconds by attribute."""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter

from hpo_job.trial import attributes


class Timings:
    """The measurements of one trial, from asking for it until its result is written.

    They are collected here and written together at the end, so that a trial that is pruned, fails
    or is broken off still leaves those it made.
    """

    def __init__(self) -> None:
        self._started = perf_counter()
        self._seconds: dict[str, float] = {}
        self._begun: dict[str, float] = {}  # when what is measured right now began
        self._epochs: list[float] = []
        self._gauges: dict[str, Callable[[], float | None]] = {}
        self._peak = 0.0  # MiB of GPU memory that earlier attempts of this trial took

    @contextmanager
    def measure(self, *names: str) -> Iterator[None]:
        """Add the seconds spent in here to each of these attributes, even if it raises."""
        started = perf_counter()
        self._begun.update(dict.fromkeys(names, started))
        try:
            yield
        finally:
            for name in names:
                self._begun.pop(name, None)
                self.add(name, perf_counter() - started)

    def add(self, name: str, amount: float) -> None:
        """Add ``amount``, seconds unless the name says otherwise, to an attribute."""
        self._seconds[name] = self._seconds.get(name, 0.0) + amount

    def put(self, name: str, amount: float) -> None:
        """Set an attribute to ``amount``; of several measurements the last one counts."""
        self._seconds[name] = amount

    def epoch(self, seconds: float) -> None:
        """Append the seconds of the next epoch."""
        self._epochs.append(seconds)

    def gauge(self, name: str, read: Callable[[], float | None]) -> None:
        """Read this attribute when the measurements are written; None leaves it out."""
        self._gauges[name] = read

    def inherit(self, values: dict[str, float | list[float]]) -> None:
        """Add what an earlier attempt had measured when it saved the state that is continued."""
        for name, amount in values.items():
            if isinstance(amount, list):
                self._epochs = [*amount, *self._epochs]
            elif name == attributes.TOTAL_TIME:
                self._started -= amount
            elif name == attributes.PEAK_GPU_MEMORY_MIB:
                self._peak = max(self._peak, amount)
            else:
                self.add(name, amount)

    def values(self) -> dict[str, float | list[float]]:
        """All that was measured so far, by attribute; what is measured right now, until now."""
        now = perf_counter()
        seconds = dict(self._seconds)
        for name, begun in self._begun.items():
            seconds[name] = seconds.get(name, 0.0) + now - begun
        read = {name: gauge() for name, gauge in self._gauges.items()}
        if self._peak:
            peak = read.get(attributes.PEAK_GPU_MEMORY_MIB) or 0.0
            read[attributes.PEAK_GPU_MEMORY_MIB] = max(self._peak, peak)
        return {
            **seconds,
            **({attributes.EPOCH_TIMES: list(self._epochs)} if self._epochs else {}),
            **{name: value for name, value in read.items() if value is not None},
            attributes.TOTAL_TIME: now - self._started,
        }


def surroundings() -> dict[str, str]:
    """Where this worker runs, by attribute; in a pod its manifest sets the two variables."""
    variables = {attributes.POD: "HPO_JOB_POD", attributes.IMAGE: "HPO_JOB_IMAGE"}
    present = {
        name: os.environ[variable] for name, variable in variables.items() if variable in os.environ
    }
    return {**_user(), attributes.HOST: socket.gethostname(), **present}


def _user() -> dict[str, str]:
    try:
        return {attributes.USER: getpass.getuser()}
    except (KeyError, OSError):  # a container's user may have no name
        return {}
