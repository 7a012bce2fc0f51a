"""The tests: a folder for each package of ``hpo_job``, and for what stands beside it."""

from pathlib import Path

ROOT = Path(__file__).parents[1]  # the repository
SHARED_DATA = ROOT.parent / "shared" / "data"  # data that may not be shipped; tests skip without
