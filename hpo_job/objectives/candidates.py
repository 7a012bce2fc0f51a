"""What an objective's ``check`` looks at before the first trial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hpo_job.spec.study_toml import StudySpec


@dataclass(frozen=True)
class Candidates:
    """What the trials of a study may be called with.

    Attributes:
        values: those that each parameter can have, by its name; of a range, its two ends.
        weights: folder of pre-trained weights; they are downloaded where a trial may be
            ``pre_trained`` and this machine has none.
        cache: folder in which this machine notes what it has tried; None tries again.
        spec: the study, whose [data] says in which language texts are; None for English.
    """

    values: Mapping[str, Sequence[object]]
    weights: Path
    cache: Path | None = None
    spec: StudySpec | None = None
