"""What each image of a folder is like; kept for the next check, which decodes only new files."""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import Image

from hpo_job.data.image_file import (
    VERSION,
    Levels,
    deep_mode,
    has_odd_profile,
    is_deep,
    open_image,
    range_of,
)
from hpo_job.errors import plural
from hpo_job.machine import cpus

SIDE = 16  # pixels of the small images that are compared
FAINT = 16  # levels of 255 between the darkest and the brightest pixel, of an image hardly seen
SAMPLED = 200  # images of which the range of values is measured
LINE_INTERVAL = 5.0  # seconds before work is worth a line, and between two lines
FORMAT = 1  # of the file of looks; increased whenever the meaning of its bytes changes
FLAT, FAINT_ONE, ODD = 1, 2, 4  # bits in that file
Key = tuple[str, int, int]  # the name of a file, its size in bytes, its time of change
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Look:
    """What one image is like, once it is decoded as a model gets it.

    Attributes:
        digest: of its pixels, 16 bytes.
        is_flat: whether it is of one colour.
        is_faint: whether it is not, but hardly any level differs from the others.
        frames: how many frames or pages the file has.
        odd_profile: whether its colour profile cannot be applied.
        small: its brightness, SIDE x SIDE, as one row of bytes.
    """

    digest: bytes
    is_flat: bool
    is_faint: bool
    frames: int
    odd_profile: bool
    small: NDArray[np.uint8]


def look(path: Path, levels: Levels) -> Look | None:
    """Decode the image at ``path``; None where that is impossible."""
    try:
        with Image.open(path) as file:
            frames = 1 if file.format == "MPO" else int(getattr(file, "n_frames", 1))
            odd = has_odd_profile(file)
        image = open_image(path, levels)
    except Exception:  # Pillow's decoders raise whatever a broken file makes them trip over
        return None
    digest = hashlib.blake2b(repr(image.size).encode() + image.tobytes(), digest_size=16).digest()
    contrast = max(high - low for low, high in image.getextrema())  # type: ignore[misc]
    small = image.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX)
    is_faint = 0 < contrast < FAINT
    return Look(digest, contrast == 0, is_faint, frames, odd, np.asarray(small).ravel())


def levels_of(root: Path, files: Sequence[str]) -> dict[str, tuple[float, float]]:
    """The darkest and brightest values of images with more than 8 bits, for each kind of them.

    Measured on at most SAMPLED of the files, evenly spaced, so that a brighter image stays
    brighter than another one. Empty where no image is of such a kind.
    """
    levels: dict[str, tuple[float, float]] = {}
    for name in files[:: max(1, -(-len(files) // SAMPLED))]:
        try:
            with Image.open(root / name) as image:
                if not is_deep(image):
                    continue
                low, high = range_of(image)
                mode = deep_mode(image)
        except Exception:  # `check` names those that cannot be read
            continue
        before = levels.get(mode, (low, high))
        levels[mode] = min(low, before[0]), max(high, before[1])
    return {mode: ends for mode, ends in levels.items() if ends[0] < ends[1]}


def look_at_all(
    root: Path, files: Sequence[str], levels: Levels, cache: Path | None
) -> list[Look | None]:
    """All images, in the order of ``files``; as many at a time as there are CPUs.

    Args:
        root: their folder.
        files: their names, relative to it.
        levels: see `open_image`.
        cache: the folder where what is seen is kept. A file that has the same name, size and time
            of change as before is not decoded again. With None, or where an image cannot be
            decoded, nothing is kept.
    """
    keys = [_key(root, name) for name in files]
    file = None if cache is None else cache / "looks" / f"{_name(root, levels)}.npz"
    known: dict[Key, Look | None] = dict(_read(file)) if file else {}
    new = [key for key in keys if key not in known]
    with ThreadPoolExecutor(cpus()) as pool:
        looks = pool.map(lambda key: look(root / key[0], levels), new)
        known |= zip(new, _with_progress(looks, len(new)), strict=True)
    seen = [known[key] for key in keys]
    readable = [each for each in seen if each is not None]
    if file and new and len(readable) == len(seen):  # else the caller ends in an error
        _write(file, keys, readable)
    return seen


def _with_progress(looks: Iterable[Look | None], count: int) -> Iterator[Look | None]:
    """``looks`` as they are, with a line now and then for those who wait."""
    started = latest = time.monotonic()
    for ready, each in enumerate(looks, 1):
        if time.monotonic() - latest >= LINE_INTERVAL:
            latest = time.monotonic()
            log.warning("checking %s: %.0f%%", plural(count, "image"), 100 * ready / count)
        yield each
    if latest > started:
        seconds = time.monotonic() - started
        log.warning("checked %s in %.0f s", plural(count, "image"), seconds)


def _key(root: Path, name: str) -> Key:
    try:
        status = (root / name).stat()
    except OSError:  # gone since it was listed; it cannot be decoded either
        return name, -1, -1
    return name, status.st_size, status.st_mtime_ns


def _name(root: Path, levels: Levels) -> str:
    """A digest of what the looks of a folder's files depend on, besides the files."""
    settings = (FORMAT, VERSION, PIL.__version__, sorted(levels.items()), root.resolve())
    return hashlib.sha256(repr(settings).encode("utf-8", "surrogateescape")).hexdigest()[:32]


def _read(file: Path) -> dict[Key, Look]:
    """What an earlier check has written; nothing where there is none, or it is damaged."""
    try:
        with file.open("rb") as opened, np.load(opened) as stored:
            table = {name: stored[name] for name in stored.files}
        names = table["names"].tobytes().decode("utf-8", "surrogateescape").split("\0")
        times = zip(names, table["sizes"].tolist(), table["times"].tolist(), strict=True)
        return {key: _look(table, row) for row, key in enumerate(times)}
    except Exception:  # whatever a file that was cut short leads numpy to
        return {}


def _look(table: dict[str, NDArray[Any]], row: int) -> Look:
    bits = int(table["bits"][row])
    digest, small = table["digests"][row].tobytes(), table["small"][row]
    frames = int(table["frames"][row])
    return Look(digest, bool(bits & FLAT), bool(bits & FAINT_ONE), frames, bool(bits & ODD), small)


def _write(file: Path, keys: Sequence[Key], looks: Sequence[Look]) -> None:
    """Replace ``file`` at once; a folder that cannot be written to costs the next check time."""
    bits = [FLAT * one.is_flat + FAINT_ONE * one.is_faint + ODD * one.odd_profile for one in looks]
    names, sizes, times = zip(*keys, strict=True)
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(".tmp", f".{file.name}.", file.parent)
        with os.fdopen(descriptor, "wb") as opened:
            np.savez(
                opened,
                names=np.frombuffer("\0".join(names).encode("utf-8", "surrogateescape"), np.uint8),
                sizes=np.array(sizes, np.int64),
                times=np.array(times, np.int64),
                bits=np.array(bits, np.uint8),
                frames=np.array([each.frames for each in looks], np.int32),
                digests=np.frombuffer(b"".join(each.digest for each in looks), np.uint8).reshape(
                    -1, 16
                ),
                small=np.stack([each.small for each in looks]),
            )
        Path(temporary).replace(file)
