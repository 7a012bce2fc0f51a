"""What a kept model tells of itself, as JSON beside its weights; read without torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hpo_job.errors import DataError

LEARNER = "learner.json"


def read(folder: Path) -> dict[str, Any]:
    """What the model in ``folder`` tells, its objective first of all.

    Raises DataError where there is none.
    """
    try:
        told: dict[str, Any] = json.loads((folder / LEARNER).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(
            f"{folder}: no exported model in it; make one with hpo-job export"
        ) from error
    return told
