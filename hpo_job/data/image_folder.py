"""What is in an image folder: the images, their classes and parts, and all that is left out."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path, PurePosixPath

from PIL import Image

from hpo_job.data.folder import (
    CONVERT,
    EMPTY,
    LOOSE,
    NO_PART,
    NO_RIGHT,
    NOT_IMAGE,
    Listing,
    level_of_parts,
    walk,
)
from hpo_job.data.image_file import is_image
from hpo_job.data.parts import part_named
from hpo_job.errors import DataError

# Suffixes of formats that Pillow cannot open
FOREIGN = (
    *(".heic", ".heif", ".jxl", ".exr", ".hdr", ".xcf", ".djvu", ".djv", ".dcm", ".fits", ".nii"),
    *(".svg", ".svgz", ".pdf", ".eps", ".ai", ".npy", ".npz", ".mat", ".h5", ".raw", ".dng"),
    *(".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf", ".mp4", ".mov", ".avi", ".mkv"),
)
NO_CLASS = "a folder without images"


def list_images(root: Path, by_parts: bool) -> Listing:
    """What is under ``root``, which holds a folder of images per class.

    Links are followed, but for those that lead back. Folders called train, valid and test, above
    the classes or below each, are parts.

    Args:
        root: the folder.
        by_parts: whether such folders are looked for.

    Raises:
        DataError: there are no images.
    """
    listing = Listing()
    images = sorted(_images(root, listing))
    paths = {name: PurePosixPath(name).parts for name in images}
    nested = {name: parts for name, parts in paths.items() if len(parts) > 1}
    level = level_of_parts(list(nested.values())) if by_parts else None
    for name in images:
        parts = paths[name]
        part = part_named(parts[level]) if level is not None and len(parts) > level + 1 else None
        if name not in nested:
            listing.left_out[LOOSE].append(name)
        elif level is not None and (part is None or len(parts) < 3):
            listing.left_out[NO_PART].append(name)
        else:
            label = parts[1] if level == 0 else parts[0]
            listing.files.append((name, label, part))
    _name_empty_classes(root, nested, listing)
    if not listing.files:
        why = "; ".join(text for _, text in listing.lines())
        raise DataError(
            f"{root}: no images in it; expected {root.name}/<class>/<image>"
            + (f" ({why})" if why else "")
        )
    return listing


def _images(root: Path, listing: Listing) -> Iterator[str]:
    """The images under ``root``; all else goes to ``listing``."""
    for name, entry in walk(root, listing):
        path = Path(entry.path)
        suffix = path.suffix.lower()
        if suffix in _suffixes():
            yield name
        elif entry.stat().st_size == 0:
            listing.left_out[EMPTY].append(name)
        elif not os.access(path, os.R_OK):
            listing.left_out[NO_RIGHT].append(name)
        elif is_image(path):
            yield name
        else:
            listing.left_out[CONVERT if suffix in FOREIGN else NOT_IMAGE].append(name)


def _name_empty_classes(root: Path, nested: dict[str, tuple[str, ...]], listing: Listing) -> None:
    """Say which folders at the top hold no image at all."""
    having = {parts[0] for parts in nested.values()}
    for entry in sorted(os.scandir(root), key=lambda entry: entry.name):
        if entry.is_dir() and not entry.name.startswith(".") and entry.name not in having:
            listing.left_out[NO_CLASS].append(entry.name)


@cache
def _suffixes() -> frozenset[str]:
    """The suffixes of formats that Pillow opens."""
    known = Image.registered_extensions()
    return frozenset(
        suffix
        for suffix, format_ in known.items()
        if format_ in Image.OPEN
        and suffix not in FOREIGN
        and format_ not in ("MPEG", "HDF5", "GRIB")
    )
