"""A labelled image folder: what is in it, how it is split, and whether it can be read."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hpo_job.errors import DataError

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

    def listing(self) -> str:
        """`listing` of these files alone, whatever else lies beside them."""
        return _sizes((name, self.root / name) for name in self.files)

    @cached_property
    def unreadable(self) -> list[str]:
        """The files that do not decode as images; decodes every file, so done once per study."""
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            decodes = pool.map(_decodes, (self.root / name for name in self.files))
            return [name for name, ok in zip(self.files, decodes, strict=True) if not ok]


def read_image_folder(root: Path, valid_pct: float, seed: int) -> LabelledFiles:
    """Find the images under ``root`` (a folder per class) and draw the validation set.

    The draw is stratified, and depends on nothing but the file names, ``valid_pct`` (the share
    held out, between 0 and 1) and ``seed``. Raises DataError where there is nothing to learn
    from: no folder, no images, one class only, or a class too small to be in both parts.
    """
    from sklearn.model_selection import train_test_split

    if not root.is_dir():
        raise DataError(f"{root}: no such folder; [data] path must hold a folder per class")
    files = _image_files(root)
    if not files:
        raise DataError(f"{root}: no images in it; expected {root.name}/<class>/<image>")
    labels = tuple(name.split("/", 1)[0] for name in files)
    counts = Counter(labels)
    if len(counts) < 2:
        raise DataError(f"{root}: only one class, {labels[0]!r}; at least two are needed")
    rarest, count = counts.most_common()[-1]
    if count < 2:
        raise DataError(f"{root}: class {rarest!r} has one image; at least two are needed")
    try:
        train, valid = train_test_split(
            np.arange(len(files)), test_size=valid_pct, random_state=seed, stratify=labels
        )
    except ValueError as error:
        raise DataError(
            f"{root}: {len(files)} images in {len(counts)} classes cannot be split with "
            f"valid_pct = {valid_pct}: {error}"
        ) from error
    return LabelledFiles(root, files, labels, np.sort(train), np.sort(valid))


def listing(path: Path) -> str:
    """A digest of a file's size, or of the names and sizes in a folder.

    Cheap enough for every worker that joins a study.
    """
    return _sizes(_files(path))


def fingerprint(path: Path) -> str:
    """A digest of a file, or of the names and contents in a folder; reads them all."""
    return _digest(f"{name}\0{_content(file)}" for name, file in _files(path))


def _files(path: Path) -> list[tuple[str, Path]]:
    """The files at or under ``path``, hidden ones left out, by their names relative to it."""
    if path.is_file():
        return [("", path)]
    files = ((file.relative_to(path), file) for file in path.rglob("*") if file.is_file())
    return sorted((name.as_posix(), file) for name, file in files if not _is_hidden(name))


def _sizes(files: Iterable[tuple[str, Path]]) -> str:
    return _digest(f"{name}\0{file.stat().st_size}" for name, file in files)


def _is_hidden(name: Path) -> bool:
    return any(part.startswith(".") for part in name.parts)


def _image_files(root: Path) -> tuple[str, ...]:
    """The images in the class folders under ``root``, hidden ones left out, as POSIX paths."""
    found = (
        path.relative_to(root)
        for path in root.glob("*/**/*")
        if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()
    )
    return tuple(sorted(name.as_posix() for name in found if not _is_hidden(name)))


def _decodes(path: Path) -> bool:
    from PIL import Image

    try:
        with Image.open(path) as image:
            image.convert("RGB")
    except Exception:  # Pillow's decoders raise whatever a broken file makes them trip over
        return False
    return True


def _content(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _digest(lines: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line.encode() + b"\n")
    return digest.hexdigest()
