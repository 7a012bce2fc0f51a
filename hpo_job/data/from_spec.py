"""The data that a study's ``[data]`` names, read as its objective needs it."""

from __future__ import annotations

from typing import Literal

from hpo_job.data.images import LabelledFiles, read_image_folder
from hpo_job.data.tables import LabelledRows, read_table
from hpo_job.errors import DataError
from hpo_job.spec.study_toml import Data, StudySpec

Labelled = LabelledFiles | LabelledRows
# What an objective learns from: a folder per class, the columns of a table, or one column of text
Layout = Literal["images", "table", "text"]
_KEYS: dict[Layout, set[str]] = {
    "images": set(),
    "table": {"label", "features", "categorical", "group", "sample"},
    "text": {"label", "text", "group", "sample"},
}
_NEEDED: dict[Layout, tuple[str, ...]] = {
    "images": (),
    "table": ("label",),
    "text": ("label", "text"),
}


def read(spec: StudySpec, layout: Layout, regression: bool = False) -> Labelled:
    """The data of a shipped objective's study. Raises SpecError or DataError.

    regression: whether the objective predicts numbers rather than classes.
    """
    data, path = spec.data, spec.data_path
    if data is None or path is None:
        raise spec.error("data", f"missing; {spec.objective} needs [data] path")
    require_keys(spec, data, layout)
    if data.made_by and not path.exists():
        raise DataError(f"{spec.file}: data.path: {path}: not there yet; make it: {data.made_by}")
    seed = spec.seed if data.seed is None else data.seed
    try:
        if layout == "images":
            return read_image_folder(path, data.valid_pct, seed)
    except DataError as error:
        raise DataError(f"{spec.file}: data.path: {error}") from error
    assert data.label is not None  # `require_keys` has seen it
    try:
        return read_table(
            path,
            data.label,
            data.valid_pct,
            seed,
            regression=regression,
            text=data.text,
            features=data.features,
            categorical=data.categorical or (),
            group=data.group,
            size=data.sample,
        )
    except DataError as error:
        raise DataError(f"{spec.file}: {error}") from error


def require_keys(spec: StudySpec, data: Data, layout: Layout | None) -> None:
    """Raise SpecError for a key of ``[data]`` that would do nothing, or that is missing.

    layout: the objective's; None for a function of the user's own, which reads for itself.
    """
    used = _KEYS[layout] if layout else set()
    for key in ("label", "text", "features", "categorical", "group", "sample"):
        given = getattr(data, key) is not None
        if given and key not in used:
            uses = ", ".join(["path", "valid_pct", "seed", *sorted(used)])
            raise spec.error(f"data.{key}", f"{spec.objective} does not use it, only {uses}")
    for key in _NEEDED[layout] if layout else ():
        if getattr(data, key) is None:
            raise spec.error(f"data.{key}", f"missing; {spec.objective} needs the column's name")
