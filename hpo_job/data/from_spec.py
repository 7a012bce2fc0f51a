"""The data that a study's ``[data]`` names, read as its objective needs it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from hpo_job.data.language_models import language_model_of
from hpo_job.errors import DataError
from hpo_job.spec.metrics import Task
from hpo_job.spec.study_toml import Data, StudySpec

if TYPE_CHECKING:
    from hpo_job.data.images import LabelledFiles
    from hpo_job.data.tables import LabelledRows

    Labelled = LabelledFiles | LabelledRows

# What an objective learns from: a folder per class, the columns of a table, or one column of text
Layout = Literal["images", "table", "text"]
_COLUMNS = {"label", "group", "sample", "labels", "split"}
_KEYS: dict[Layout, set[str]] = {
    "images": {"image", "label", "label_delim", "group", "labels", "split"},
    "table": {*_COLUMNS, "features", "categorical", "kinds", "missing", "decimal", "thousands"},
    "text": {*_COLUMNS, "text", "language", "language_model", "language_model_sha256"},
}
# Keys that every study may have, whatever learns from the data
_GENERAL = {"path", "valid_pct", "seed", "sha256", "made_by"}
_NEEDED: dict[Layout, tuple[str, ...]] = {
    "images": (),
    "table": ("label",),
    "text": ("label", "text"),
}


def read(
    spec: StudySpec, layout: Layout, task: Task = "classification", cache: Path | None = None
) -> Labelled:
    """The data of a shipped objective's study.

    Args:
        spec: the study.
        layout: what its objective learns from.
        task: what its objective predicts.
        cache: folder in which what images are like is noted; None notes nothing.

    Raises:
        SpecError: a key of [data] is missing, or would do nothing.
        DataError: the data is missing or unfit.
    """
    data, path = spec.data, spec.data_path
    if data is None or path is None:
        raise spec.error("data", f"missing; {spec.objective} needs [data] path")
    may_be_folder = layout == "text" and not (data.text or data.label)
    if may_be_folder and not path.exists():  # or else it would lack the columns of a table
        raise _missing(spec, data, path)
    require_keys(spec, data, layout, task)
    if data.made_by and not path.exists():
        raise _missing(spec, data, path)
    seed = spec.seed if data.seed is None else data.seed
    try:
        if layout == "images" and data.image is not None:
            from hpo_job.data.image_table import read_image_table

            return replace(read_image_table(path, data, seed, task), cache=cache)
        if layout == "images":
            from hpo_job.data.images import read_image_folder

            return replace(read_image_folder(path, data, seed), cache=cache)
        from hpo_job.data.tables import read_table, read_texts

        is_folder = layout == "text" and path.is_dir()
        rows = (
            read_texts(path, data, seed)
            if is_folder
            else read_table(path, data, seed, regression=task == "regression")
        )
        return replace(rows, language_model=language_model_of(spec)) if layout == "text" else rows
    except DataError as error:
        raise DataError(f"{spec.file}: {error}") from error


def _missing(spec: StudySpec, data: Data, path: Path) -> DataError:
    why = f"not there yet; make it: {data.made_by}" if data.made_by else "no such file or folder"
    return DataError(f"{spec.file}: data.path: {path}: {why}")


def require_keys(
    spec: StudySpec, data: Data, layout: Layout | None, task: Task = "classification"
) -> None:
    """Check that every key of ``[data]`` is used, and that none is missing.

    Args:
        spec: the study.
        data: its [data].
        layout: the objective's; None for a function of the user's, which reads for itself.
        task: what the objective predicts.

    Raises:
        SpecError: a key would do nothing, or is missing.
    """
    used = set(_KEYS[layout]) if layout else set()
    if task != "multilabel":
        used.discard("label_delim")
    if task == "regression":
        used = used - {"labels"} | ({"decimal", "thousands"} if layout == "images" else set())
    for key in Data.model_fields:
        if key not in used | _GENERAL and getattr(data, key) is not None:
            uses = ", ".join(["path", "valid_pct", "seed", *sorted(used)])
            raise spec.error(f"data.{key}", f"{spec.objective} does not use it, only {uses}")
    if isinstance(data.label, tuple) and task != "multilabel":
        raise spec.error("data.label", "a list of columns is for image_multilabel; name one column")
    if layout == "images" and data.image is None and task != "classification":
        raise spec.error(
            "data.image", f"missing; {spec.objective} needs a table of files and labels"
        )
    if layout == "images" and data.image is None:
        for key in ("label", "group"):
            if getattr(data, key) is not None:
                raise spec.error(f"data.{key}", "is for a table: name its column of files as image")
    needed = ("label",) if data.image is not None else _NEEDED[layout] if layout else ()
    if layout == "text" and data.text is None and spec.data_path and spec.data_path.is_dir():
        for key in ("label", "group"):
            if getattr(data, key) is not None:
                raise spec.error(f"data.{key}", "is for a table, and path is a folder of texts")
        needed = ()
    for key in needed:
        if getattr(data, key) is None:
            raise spec.error(f"data.{key}", f"missing; {spec.objective} needs the column's name")
