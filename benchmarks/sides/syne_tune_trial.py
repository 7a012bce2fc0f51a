"""One trial of Syne Tune's local back end."""

from __future__ import annotations

import argparse

from sleeper import values
from syne_tune import Reporter

parser = argparse.ArgumentParser()
for name in ("x", "y", "seconds"):
    parser.add_argument(f"--{name}", type=float, required=True)
settings, _ = parser.parse_known_args()
report = Reporter()
for step, value in enumerate(values(settings.x, settings.y, settings.seconds)):
    report(step=step, value=value)
