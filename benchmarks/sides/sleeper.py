"""The work that every tool is compared on: a trial that sleeps and reports five times."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator

REPORTS = 5


def values(x: float, y: float, seconds: float) -> Iterator[float]:
    """The value to report at each step, after a fifth of the trial's seconds."""
    for step in range(REPORTS):
        time.sleep(seconds / REPORTS)
        yield (x - 0.3) ** 2 + (y - 0.6) ** 2 + 0.1 / (step + 1)


def options(description: str) -> argparse.ArgumentParser:
    """What each side is started with."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--url", default="", help="an empty database, for tools that use one")
    parser.add_argument("--workers", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True, help="that a trial sleeps")
    parser.add_argument("--trials", type=int, required=True)
    parser.add_argument("--sampler", choices=["random", "tpe"], required=True)
    parser.add_argument("--folder", required=True, help="an empty folder, for what a tool writes")
    return parser
