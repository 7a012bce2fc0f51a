"""The data of a study: a folder of images or a table, split once, and told from other data."""

from hpo_job.data.digests import fingerprint, listing
from hpo_job.data.from_spec import Labelled, Layout, read, require_keys
from hpo_job.data.images import LabelledFiles, read_image_folder
from hpo_job.data.tables import LabelledRows, read_table

__all__ = [
    "Labelled",
    "LabelledFiles",
    "LabelledRows",
    "Layout",
    "fingerprint",
    "listing",
    "read",
    "read_image_folder",
    "read_table",
    "require_keys",
]
