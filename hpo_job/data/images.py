"""A labelled image folder: what is in it, how it is split, and whether it can be read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hpo_job.data.digests import is_hidden, sizes
from hpo_job.data.split import require_classes, split
from hpo_job.errors import DataError
from hpo_job.machine import cpus

IMAGE_SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})


@dataclass(frozen=True)
class LabelledFiles:
    """Image files and their classes, drawn once into a training and a validation part.

    ``files`` are relative to ``root``, sorted; ``labels`` is as long. ``valid`` holds the
    positions, ascending, of the items every trial is scored on; ``train`` those of the rest.
    """

    root: Path
    files: tuple[str, ...]
    labels: tuple[str, ...]
    train: NDArray[np.int64]
    valid: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.files)

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """The class names, sorted: a class's position is its number."""
        return tuple(sorted(set(self.labels)))

    @cached_property
    def targets(self) -> NDArray[np.int64]:
        """The class number of every file, shape (files,)."""
        number = {name: position for position, name in enumerate(self.classes)}
        return np.array([number[label] for label in self.labels], dtype=np.int64)

    @property
    def counts(self) -> dict[str, int]:
        """Files per class, the most frequent class first."""
        return dict(Counter(self.labels).most_common())

    @property
    def cautions(self) -> tuple[str, ...]:
        """Nothing: an image that cannot be read is an error."""
        return ()

    def listing(self) -> str:
        """`listing` of these files alone, whatever else lies beside them."""
        return sizes((name, self.root / name) for name in self.files)

    @cached_property
    def unreadable(self) -> list[str]:
        """The files that do not decode as images; decodes every file, so done once per study."""
        with ThreadPoolExecutor(cpus()) as pool:
            found = pool.map(decodes, (self.root / name for name in self.files))
            return [name for name, ok in zip(self.files, found, strict=True) if not ok]

    def described(self) -> Iterator[tuple[str, str]]:
        """What a person is told of it, as (heading, text); a further line has no heading."""
        yield "data", f"{self.root}: {len(self)} images in {len(self.classes)} classes"
        for name, count in self.counts.items():
            yield "", f"{count:>7}  {count / len(self):>4.0%}  {name}"
        yield "validation", f"{len(self.valid)} images, the same in every trial"


def read_image_folder(root: Path, valid_pct: float, seed: int) -> LabelledFiles:
    """Find the images under ``root`` (a folder per class) and draw the validation set.

    The draw is stratified, and depends on nothing but the file names, ``valid_pct`` (the share
    held out, between 0 and 1) and ``seed``. Raises DataError where there is nothing to learn
    from: no folder, no images, one class only, or a class too small to be in both parts.
    """
    if root.is_file():
        raise DataError(f"{root}: a file; [data] path must hold a folder per class")
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; [data] path must hold a folder per class")
    files = _image_files(root)
    if not files:
        raise DataError(f"{root}: no images in it; expected {root.name}/<class>/<image>")
    labels = tuple(name.split("/", 1)[0] for name in files)
    try:
        require_classes(labels, "image")
        train, valid = split(len(files), valid_pct, seed, labels)
    except DataError as error:
        raise DataError(f"{root}: {len(files)} images: {error}") from error
    return LabelledFiles(root, files, labels, train, valid)


def _image_files(root: Path) -> tuple[str, ...]:
    """The images in the class folders under ``root``, hidden ones left out, as POSIX paths."""
    found = (
        path.relative_to(root)
        for path in root.glob("*/**/*")
        if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()
    )
    return tuple(sorted(name.as_posix() for name in found if not is_hidden(name)))


def decodes(path: Path) -> bool:
    """Whether the file at ``path`` can be read as an image, to its end."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            image.convert("RGB")
    except Exception:  # Pillow's decoders raise whatever a broken file makes them trip over
        return False
    return True
