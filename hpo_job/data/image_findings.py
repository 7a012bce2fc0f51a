"""What may be wrong with the content of images: unreadable, blank, the same, under two labels."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from hpo_job.data.folder import NAMED
from hpo_job.data.image_looks import FAINT, Look
from hpo_job.data.images import LabelledFiles
from hpo_job.errors import plural

ALIKE = 0.997  # correlation of two small images that are taken for nearly the same
PLAIN = 4.0  # standard deviation of levels, below which a small image says nothing
PAIRS = 10**8  # of small images that are compared at most


def of_images(data: LabelledFiles) -> Iterator[str]:
    """A line for each finding; decodes every file."""
    looks = data.looks
    seen = [(position, one) for position, one in enumerate(looks) if one is not None]
    flat = [data.files[position] for position, one in seen if one.is_flat]
    if flat:
        of = "all" if len(flat) == len(looks) else f"{len(flat)} of"
        images = plural(len(looks), "image")
        yield f"of one colour, which says nothing: {of} {images}: {_named(flat)}"
    faint = [data.files[position] for position, one in seen if one.is_faint]
    if faint:
        having = plural(len(faint), "image has", "images have")
        yield (
            f"{having} hardly any contrast, fewer than {FAINT} of 255 levels: {_named(faint)}; "
            "such files often hold fewer bits than their format: save them with the full range"
        )
    paged = [data.files[position] for position, one in seen if one.frames > 1]
    if paged:
        what = "several frames or pages, of which the first is used"
        yield f"{plural(len(paged), 'image has', 'images have')} {what}: {_named(paged)}"
    odd = [data.files[position] for position, one in seen if one.odd_profile]
    if odd:
        having = plural(len(odd), "image has", "images have")
        yield f"{having} a colour profile that cannot be applied: {_named(odd)}"
    yield from _copies(data, seen)


def _copies(data: LabelledFiles, seen: Sequence[tuple[int, Look]]) -> Iterator[str]:
    groups: defaultdict[bytes, list[int]] = defaultdict(list)
    for position, one in seen:
        groups[one.digest].append(position)
    same = [group for group in groups.values() if len(group) > 1]
    torn = [group for group in same if len({data.labels[position] for position in group}) > 1]
    if torn:
        files = [data.files[position] for position in torn[0][:2]]
        count = sum(map(len, torn))
        yield f"{count} images are the same under different labels, such as {' and '.join(files)}"
    train = set(data.train.tolist())
    valid = set(data.valid.tolist())
    known = {n for group in same if train & set(group) for n in group if n in valid}
    if known:
        yield (
            f"{len(known)} of {plural(len(valid), 'validation image')} also in training, so that a "
            "good score may be remembered, not learnt: "
            + _named([data.files[n] for n in sorted(known)])
        )
    elif copies := sum(len(group) - 1 for group in same):
        yield plural(copies, "image is a copy of another", "images are copies of others")
    yield from _nearly_the_same(data, dict(seen), known)


def _nearly_the_same(data: LabelledFiles, looks: dict[int, Look], known: set[int]) -> Iterator[str]:
    """A line where validation images differ little from training images, as re-saved ones do."""
    train = [n for n in data.train.tolist() if n in looks and looks[n].small.std() > PLAIN]
    valid = [n for n in data.valid.tolist() if n in looks and looks[n].small.std() > PLAIN]
    valid = [n for n in valid if n not in known]
    if not train or not valid or len(train) * len(valid) > PAIRS:
        return
    learnt = _standardised([looks[n].small.astype(np.float32) for n in train])
    scored = _standardised([looks[n].small.astype(np.float32) for n in valid])
    alike = [
        position
        for start in range(0, len(scored), 256)
        for position in start
        + np.flatnonzero((scored[start : start + 256] @ learnt.T).max(axis=1) > ALIKE)
    ]
    if alike:
        names = [data.files[valid[position]] for position in alike]
        what = "nearly the same as one in training"
        are = plural(len(alike), "validation image is", "validation images are")
        yield f"{are} {what}: {_named(names)}"


def _standardised(images: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Rows of mean 0 and length 1, so that their product is their correlation."""
    rows = np.stack(images)
    rows -= rows.mean(axis=1, keepdims=True)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows


def _named(files: Sequence[str]) -> str:
    return ", ".join(files[:NAMED]) + (", ..." if len(files) > NAMED else "")
