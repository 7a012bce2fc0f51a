"""What may be wrong with the data of a study, a line each, whatever kind of data it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpo_job.data import table_findings
from hpo_job.data.tables import LabelledRows

if TYPE_CHECKING:
    from hpo_job.data.from_spec import Labelled


def cautions(data: Labelled) -> tuple[str, ...]:
    """What may be wrong with folder, columns and classes; cheap enough for every worker."""
    if isinstance(data, LabelledRows):
        return (*data.folder_cautions, *table_findings.of_columns(data))
    return data.folder_cautions


def content_cautions(data: Labelled) -> tuple[str, ...]:
    """What may be wrong with images or rows; reads all of them, so once per study."""
    if isinstance(data, LabelledRows):
        return tuple(table_findings.of_rows(data))
    from hpo_job.data import image_findings  # it needs Pillow, which other workers do not

    return tuple(image_findings.of_images(data))
