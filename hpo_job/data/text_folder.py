"""A folder of texts: one file each, in a folder per class, perhaps below train, valid and test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from hpo_job.data.folder import EMPTY, LOOSE, NO_PART, Listing, level_of_parts, walk
from hpo_job.data.parts import Part, part_named
from hpo_job.errors import DataError, problem
from hpo_job.machine import read_text

if TYPE_CHECKING:
    import pandas as pd

SUFFIX = ".txt"
FILE, TEXT, LABEL, PART = "file", "text", "label", "split"  # the columns of `read_text_folder`
NO_TEXT = f"no {SUFFIX} file"
BLANK = "without any word"


def read_text_folder(root: Path, by_parts: bool) -> tuple[pd.DataFrame, Listing]:
    """The texts under ``root``, and what was left out.

    Links are followed. Folders called train, valid and test, above the classes or below each, are
    parts.

    Args:
        root: the folder; it has a folder of texts per class.
        by_parts: whether folders of parts are looked for.

    Returns:
        A table with a row for each text: its file, relative to ``root``, the text, its class and,
        where the folders say so, its part.

    Raises:
        DataError: there are no texts, or one cannot be read.
    """
    import pandas as pd

    listing = Listing()
    rows = list(_rows(root, by_parts, listing))
    if not rows:
        why = "; ".join(text for _, text in listing.lines())
        raise DataError(
            f"{root}: no texts in it; expected {root.name}/<class>/<text>{SUFFIX}"
            + (f" ({why})" if why else "")
        )
    frame = pd.DataFrame(rows, columns=[FILE, TEXT, LABEL, PART])
    return (frame if frame[PART].notna().all() else frame.drop(columns=PART)), listing


def _rows(
    root: Path, by_parts: bool, listing: Listing
) -> Iterator[tuple[str, str, str, Part | None]]:
    names = []
    for name, entry in walk(root, listing):
        if PurePosixPath(name).suffix.lower() != SUFFIX:
            listing.left_out[NO_TEXT].append(name)
        elif entry.stat().st_size == 0:
            listing.left_out[EMPTY].append(name)
        else:
            names.append(name)
    paths = {name: PurePosixPath(name).parts for name in sorted(names)}
    nested = [parts for parts in paths.values() if len(parts) > 1]
    level = level_of_parts(nested) if by_parts else None
    for name, parts in paths.items():
        part = part_named(parts[level]) if level is not None and len(parts) > level + 1 else None
        if len(parts) < 2:
            listing.left_out[LOOSE].append(name)
        elif level is not None and (part is None or len(parts) < 3):
            listing.left_out[NO_PART].append(name)
        elif not (text := _text(root / name)).strip():
            listing.left_out[BLANK].append(name)
        else:
            yield name, text, parts[1] if level == 0 else parts[0], part


def _text(file: Path) -> str:
    try:
        return read_text(file)
    except (OSError, ValueError) as error:
        raise DataError(f"{file}: not a readable text: {problem(error)}") from error
