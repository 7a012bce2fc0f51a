"""What is in an image folder: the images, their classes and parts, and all that is left out."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path, PurePosixPath

from PIL import Image

from hpo_job.data.image_file import is_image
from hpo_job.data.parts import Part, part_named
from hpo_job.errors import DataError

# What Pillow cannot open: the word for it, and how to fix it
CONVERT = "a format that cannot be read here; convert to PNG or JPEG"
FOREIGN = (
    *(".heic", ".heif", ".jxl", ".exr", ".hdr", ".xcf", ".djvu", ".djv", ".dcm", ".fits", ".nii"),
    *(".svg", ".svgz", ".pdf", ".eps", ".ai", ".npy", ".npz", ".mat", ".h5", ".raw", ".dng"),
    *(".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf", ".mp4", ".mov", ".avi", ".mkv"),
)
HIDDEN, EMPTY = "hidden", "empty"
BROKEN, LOOP = "a link to nothing", "a link to a folder above it"
LOOSE = "in no class folder"
NOT_IMAGE = "no image"
NO_RIGHT = "not allowed to be read"
ODD = "neither a file nor a folder"
NO_CLASS = "a folder without images"
NO_PART = "not in a folder called train, valid or test"
HARMLESS = (HIDDEN, NOT_IMAGE)  # reasons that are counted, but need no caution
NAMED = 3  # files that a line names


@dataclass
class Listing:
    """The images under a folder, by their POSIX paths relative to it, sorted.

    Attributes:
        files: Each with its class and, where the folders say so, its part.
        left_out: The paths that are not used, by the reason.
    """

    files: list[tuple[str, str, Part | None]] = field(default_factory=list)
    left_out: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def lines(self) -> Iterator[tuple[str, str]]:
        """Each reason with how many there are and the first ones, as (reason, text)."""
        for reason, names in self.left_out.items():
            first = ", ".join(sorted(names)[:NAMED])
            more = ", ..." if len(names) > NAMED else ""
            suffixes = Counter(PurePosixPath(name).suffix or "no suffix" for name in names)
            kinds = ", ".join(f"{count} {suffix}" for suffix, count in suffixes.most_common(NAMED))
            what = f" ({kinds})" if reason in (NOT_IMAGE, CONVERT) and len(names) > NAMED else ""
            yield reason, f"{len(names)} {reason}{what}: {first}{more}"


def list_images(root: Path, by_parts: bool) -> Listing:
    """What is under ``root``, which holds a folder of images per class.

    Links are followed, but for those that lead back. Folders called train, valid and test, above
    the classes or below each, are parts.

    Args:
        root: The folder.
        by_parts: Whether such folders are looked for.

    Raises:
        DataError: There are no images.
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


def suspicious(listing: Listing) -> Iterator[str]:
    """A line for what was left out and may have been meant as data."""
    for reason, text in listing.lines():
        if reason not in HARMLESS:
            yield f"left out: {text}"


def level_of_parts(paths: list[tuple[str, ...]]) -> int | None:
    """Where in the paths the parts stand: 0, above the classes; 1, below them; or nowhere."""
    deep = [path for path in paths if len(path) > 2]
    for level in (0, 1):
        named = Counter(part_named(path[level]) for path in deep)
        # below the classes, all images have to be in such folders
        whole = level == 0 or (not named[None] and len(deep) == len(paths))
        if whole and named["train"] and (named["valid"] or named["test"]):
            return level
    return None


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


def walk(root: Path, listing: Listing) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """The regular files under ``root``, links followed, with their names relative to it.

    What is hidden, broken or not allowed to be read goes to ``listing``.
    """
    return _walk(root, "", (), listing)


def _walk(
    folder: Path, prefix: str, above: tuple[tuple[int, int], ...], listing: Listing
) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """The regular files under ``folder``, links followed, with their relative names."""
    try:
        status = folder.stat()
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        listing.left_out[NO_RIGHT].append(prefix or ".")
        return
    identity = (status.st_dev, status.st_ino)
    if identity in above:
        listing.left_out[LOOP].append(prefix.rstrip("/"))
        return
    for entry in entries:
        name = prefix + entry.name
        if entry.name.startswith("."):
            listing.left_out[HIDDEN].append(name)
        elif entry.is_dir():
            yield from _walk(Path(entry.path), f"{name}/", (*above, identity), listing)
        elif entry.is_file():
            yield name, entry
        else:
            listing.left_out[BROKEN if entry.is_symlink() else ODD].append(name)


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
