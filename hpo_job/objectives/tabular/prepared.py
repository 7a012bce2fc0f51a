"""The feature columns of a study as arrays of numbers, computed once and shared."""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from weakref import WeakKeyDictionary

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hpo_job.data.once import make_once
from hpo_job.data.tables import LabelledRows
from hpo_job.errors import problem
from hpo_job.objectives.tabular.preparation import Preparation, learn, restore

FORMAT = 1  # of the cache; increased whenever the meaning of its files changes
SHARED = 1_000_000  # values from which on a table is worth a file that workers share
log = logging.getLogger(__name__)
_prepared: WeakKeyDictionary[LabelledRows, Prepared] = WeakKeyDictionary()


@dataclass(frozen=True)
class Prepared:
    """All rows of a study, as `Preparation` encodes them.

    Attributes:
        categories: int64, shape (rows, columns of categories).
        numbers: float32, shape (rows, columns of numbers).
    """

    preparation: Preparation
    categories: NDArray[np.int64]
    numbers: NDArray[np.float32]


def prepared(data: LabelledRows, cache: Path) -> Prepared:
    """The rows of ``data``, prepared by this call or an earlier one in this process.

    The arrays of a large table are files in ``cache`` that all workers of this machine map into
    memory; one of them computes them, and the others wait. Where they cannot be written, each
    worker computes its own.
    """
    if data not in _prepared:
        large = len(data) * len(data.features) >= SHARED
        _prepared[data] = _shared(data, cache) if large else _compute(data)
    return _prepared[data]


def _compute(data: LabelledRows) -> Prepared:
    preparation = learn(data)
    rows = preparation.encode(data.frame[list(data.features)])
    return Prepared(
        preparation,
        rows[preparation.category_names].to_numpy(np.int64),
        rows[preparation.number_names].to_numpy(np.float32),
    )


def _shared(data: LabelledRows, cache: Path) -> Prepared:
    folder = cache / "tables" / _key(data)
    try:
        return make_once(folder, lambda: _read(folder), lambda path: _write(path, _compute(data)))
    except OSError as error:
        log.warning(
            "--cache %s: the prepared table cannot be written: %s: each worker computes its own",
            cache,
            problem(error),
        )
        return _compute(data)


def _key(data: LabelledRows) -> str:
    """A digest of everything that the arrays depend on."""
    settings = [FORMAT, *map(version, ("fastai", "pandas")), sorted(data.formats.items())]
    digest = hashlib.sha256(repr(settings).encode())
    digest.update(data.train.astype(np.int64).tobytes())
    frame = data.frame[list(data.features)]
    digest.update(repr([str(kind) for kind in frame.dtypes]).encode())
    digest.update(pd.util.hash_pandas_object(frame).to_numpy().tobytes())
    return digest.hexdigest()[:32]


def _write(folder: Path, rows: Prepared) -> None:
    folder.mkdir()
    np.save(folder / "categories.npy", rows.categories)
    np.save(folder / "numbers.npy", rows.numbers)
    stored = json.dumps(rows.preparation.stored())
    (folder / "preparation.json").write_text(stored, encoding="utf-8")


def _read(folder: Path) -> Prepared | None:
    """The arrays in ``folder``; None where there are none, or they are damaged."""
    try:
        preparation = restore(json.loads((folder / "preparation.json").read_text("utf-8")))
        categories = np.load(folder / "categories.npy", mmap_mode="r")
        numbers = np.load(folder / "numbers.npy", mmap_mode="r")
    except (OSError, ValueError):
        return None
    return Prepared(preparation, categories, numbers)
