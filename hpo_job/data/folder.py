"""The files below a folder of data, and all that is left out of it, with the reason."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from hpo_job.data.parts import Part, part_named

CONVERT = "a format that cannot be read here; convert to PNG or JPEG"
HIDDEN, EMPTY = "hidden", "empty"
BROKEN, LOOP = "a link to nothing", "a link to a folder above it"
NOT_IMAGE = "no image"
LOOSE = "in no class folder"
NO_PART = "not in a folder called train, valid or test"
NO_RIGHT = "not allowed to be read"
ODD = "neither a file nor a folder"
HARMLESS = (HIDDEN, NOT_IMAGE)  # reasons that are counted, but need no caution
NAMED = 3  # files that a line names


@dataclass
class Listing:
    """The files under a folder, by their POSIX paths relative to it, sorted.

    Attributes:
        files: each with its class and, where the folders say so, its part.
        left_out: the paths that are not used, by the reason.
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
        # below the classes, all files have to be in such folders
        whole = level == 0 or (not named[None] and len(deep) == len(paths))
        if whole and named["train"] and (named["valid"] or named["test"]):
            return level
    return None


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
