"""Labelled image files: a folder of images per class, divided once."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hpo_job.data import labels
from hpo_job.data.digests import fingerprint, sizes
from hpo_job.data.folder import NAMED, suspicious
from hpo_job.data.image_folder import list_images
from hpo_job.data.image_looks import Look, levels_of, look_at_all
from hpo_job.data.parts import Parts, divide, part_named
from hpo_job.data.split import require_classes
from hpo_job.errors import DataError, plural
from hpo_job.spec.scores import Targets
from hpo_job.spec.study_toml import Data


@dataclass(frozen=True)
class LabelledFiles:
    """Image files and their classes, divided once into training, validation and test part.

    Attributes:
        root: the folder.
        files: the images, relative to ``root``, sorted.
        labels: the class of each.
        train: positions of the images that models learn from, ascending.
        valid: positions of the images that every trial is scored on.
        test: positions of the images that no trial sees.
        source: where the data itself says which part an image is in; see `Parts`.
        left_out: a line for each reason for which files are not used.
        folder_cautions: a line for what may be wrong with the folder.
        table: that names the files and their labels; None where their folders do.
        group: the column of it whose files are kept in one part, or None.
        cache: folder in which what the images are like is kept from one check to the next.
    """

    root: Path
    files: tuple[str, ...]
    labels: tuple[str, ...]
    train: NDArray[np.int64]
    valid: NDArray[np.int64]
    test: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    source: str = ""
    left_out: tuple[str, ...] = ()
    folder_cautions: tuple[str, ...] = ()
    table: Path | None = None
    group: str | None = None
    cache: Path | None = None

    def __len__(self) -> int:
        return len(self.files)

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """The class names, sorted: a class's position is its number."""
        return tuple(sorted(set(self.labels)))

    @cached_property
    def targets(self) -> Targets:
        """The class number of every file, shape (files,)."""
        number = {name: position for position, name in enumerate(self.classes)}
        return np.array([number[label] for label in self.labels], dtype=np.int64)

    @property
    def counts(self) -> dict[str, int]:
        """Files per class, the most frequent class first."""
        return dict(Counter(self.labels).most_common())

    @cached_property
    def levels(self) -> dict[str, tuple[float, float]]:
        """How images with more than 8 bits become black and white; see `open_image`."""
        files = [self.files[position] for position in self.train]
        return levels_of(self.root, files)

    @cached_property
    def looks(self) -> list[Look | None]:
        """What each image is like; decodes all that have changed since the last check."""
        return look_at_all(self.root, self.files, self.levels, self.cache)

    @property
    def unreadable(self) -> list[str]:
        """The files that do not decode as images; decodes every file."""
        return [name for name, seen in zip(self.files, self.looks, strict=True) if seen is None]

    def listing(self) -> str:
        """`listing` of these files alone, whatever else lies in the folder."""
        digest = sizes((name, self.root / name) for name in self.files)
        # A table's labels may change without a change of any image
        return digest if self.table is None else f"{digest} {fingerprint(self.table)}"

    def described(self) -> Iterator[tuple[str, str]]:
        """The data for a person, as (heading, text); a further line has no heading."""
        yield from self._described_targets()
        parts = Parts(self.train, self.valid, self.test, self.source)
        yield "validation", parts.described("image", self.group)
        for line in self.left_out:
            yield "left out", line

    def _described_targets(self) -> Iterator[tuple[str, str]]:
        classes = plural(len(self.classes), "class", "classes")
        yield "data", f"{self.table or self.root}: {plural(len(self), 'image')} in {classes}"
        for name, count in self.counts.items():
            yield "", f"{count:>7}  {count / len(self):>4.0%}  {labels.readable(name)}"


def read_image_folder(root: Path, data: Data, seed: int) -> LabelledFiles:
    """Find the images under ``root`` (a folder per class), and divide them.

    The validation part is that of folders called train and valid, where there are any. Otherwise
    it is drawn, stratified, and depends on nothing but the file names, ``valid_pct`` and ``seed``.

    Raises:
        DataError: there is nothing to learn from: no folder, no images, one class only, or a class
            too small to be in both parts. The text begins with the key of [data] to blame.
    """
    if root.is_file():
        raise DataError(
            f"data.path: {root}: a file; [data] path must hold a folder per class, or be a table "
            "of files, with their column as image"
        )
    if not root.is_dir():
        raise DataError(
            f"data.path: {root}: no such folder; [data] path must hold a folder per class"
        )
    try:
        listing = list_images(root, data.split is not False)
        files, names, parts = zip(*listing.files, strict=True)
        classes = labels.merge(names, data.labels)
        try:
            require_classes(classes, "image")
            named = None if None in parts else parts
            divided = divide(named, "folders", len(files), data.valid_pct, seed, classes)
        except DataError as error:
            raise DataError(
                f"{root}: {plural(len(files), 'image')}: {error}{_deeper(files)}"
            ) from error
    except DataError as error:
        raise DataError(f"data.path: {error}") from error
    return LabelledFiles(
        root,
        files,
        tuple(classes),
        divided.train,
        divided.valid,
        divided.test,
        divided.source,
        tuple(text for _, text in listing.lines()),
        (*suspicious(listing), *_cautions(files, classes, divided, data)),
    )


def _cautions(
    files: tuple[str, ...], classes: list[str], parts: Parts, data: Data
) -> Iterator[str]:
    counts = Counter(classes)
    kept = {*(data.labels or {}), *(data.labels or {}).values()}
    if line := labels.caution(counts, kept):
        yield line
    named = sorted(name for name in counts if part_named(name))
    if len(named) > 1 and data.split is not False:
        yield (
            f"the classes {' and '.join(named)} are called as parts of the data; if they are: "
            f"{named[0]}/<class>/<image>"
        )
    if not parts.source and data.split is not False:
        yield from _same_below(files)
    learnt = {classes[position] for position in parts.train}
    new = sorted({classes[position] for position in parts.valid} - learnt)
    if new:
        yield f"no training image is of class {', '.join(map(repr, new))}: no model can learn it"


def _same_below(files: tuple[str, ...]) -> Iterator[str]:
    """A line where folders taken for classes hold the same folders, as parts of data do."""
    below: defaultdict[str, set[str]] = defaultdict(set)
    for name in files:
        top, *rest = name.split("/")
        below[top].add(rest[0] if len(rest) > 1 else "")
    tops, folders = sorted(below), set.union(*below.values())
    if len(tops) > 1 and len(folders) > 1 and all(each == folders for each in below.values()):
        yield (
            f"the classes {' and '.join(tops[:NAMED])} hold the same folders "
            f"({', '.join(sorted(folders)[:NAMED])}): if those are the classes, rename "
            f"{' and '.join(tops[:NAMED])} to train, valid or test"
        )


def _deeper(files: tuple[str, ...]) -> str:
    """A hint where the classes are one folder further down."""
    tops = {name.split("/")[0] for name in files}
    below = {name.split("/")[1] for name in files if name.count("/") > 1}
    if len(tops) == 1 and len(below) > 1:
        top = min(tops)
        return f"; if {top}/{min(below)} is a class, [data] path has to end in {top}"
    return ""
