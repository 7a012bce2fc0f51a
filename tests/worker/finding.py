"""A worker process whose objective is a stand-in: its learning-rate finder notes that it runs.

Started as ``python -m tests.worker.finding JOB FOLDER``. In FOLDER it appends its process number to
``ran``, and goes on when there is a file ``go``.
"""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from hpo_job.errors import HpoJobError
from hpo_job.spec.reading import read_spec
from hpo_job.worker.job import Job, run_worker
from hpo_job.worker.machine_share import Machine
from hpo_job.worker.signals import Stop
from tests.quick import wait_until

STORED = {"suggestion": 0.01, "lrs": [1e-4, 1e-2, 1.0], "losses": [1.0, 0.5, 2.0]}


def stand_in(folder: Path) -> ModuleType:
    """The objective, without torch."""

    def lr_find(context: Any, names: Any) -> dict[str, Any]:
        with (folder / "ran").open("a") as file:
            file.write(f"{os.getpid()}\n")
        wait_until((folder / "go").exists, 300)
        return {name: SimpleNamespace(stored=lambda: dict(STORED)) for name in names}

    module = ModuleType("hpo_job.objectives.tabular_classification")
    module.__dict__["check"] = lambda *_: None
    module.__dict__["train"] = lambda trial, context: context.params["learning_rate"]
    module.__dict__["lr_find"] = lr_find
    return module


def main() -> int:
    job, folder = map(Path, sys.argv[1:])
    logging.basicConfig(filename=folder / "log", level=logging.INFO)
    module = stand_in(folder)
    sys.modules[module.__name__] = module
    url = f"sqlite:///{folder}/studies.db"
    of_worker = Job(read_spec(job), url, folder / "weights", 60, Machine(threads=1))
    try:
        return run_worker(of_worker, Stop())
    except HpoJobError as error:
        print(error, file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
