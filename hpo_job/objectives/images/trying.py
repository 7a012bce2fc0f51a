"""One training step of a model before any trial: what cannot train is refused in seconds."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

import torch
from torch import nn

from hpo_job.objectives.checkpoint import LIBRARIES
from hpo_job.objectives.images.models import build, wrong_size

ITEMS = 2  # of the batch: the fewest that batch norm can train on
CLASSES = 2


def try_step(name: str, file: Path | None, size: int, cache: Path | None) -> None:
    """Build the model as a trial does, and train it for one step, forwards and backwards.

    What this machine has tried before, with the same packages and weights, is not tried again.
    Random numbers are left as they are.

    Args:
        name: of the model.
        file: its weights; None for random ones.
        size: the side of its images, in pixels.
        cache: folder in which the success is noted; None for nowhere.

    Raises:
        SpecError: it cannot be built, or cannot take images of this size.
    """
    note = cache / "steps" / _key(name, file, size) if cache else None
    if note and note.exists():
        return
    with torch.random.fork_rng([]):
        model, _ = build(name, CLASSES, file, size)
        try:
            output = model(torch.zeros(ITEMS, 3, size, size))
            loss = nn.functional.cross_entropy(output, torch.zeros(ITEMS, dtype=torch.int64))
            torch.autograd.backward(loss)
        except (AssertionError, ValueError, RuntimeError, IndexError) as error:
            raise wrong_size(name, size, error) from error
    if note:
        with suppress(OSError):  # then it is tried again
            note.parent.mkdir(parents=True, exist_ok=True)
            note.touch()


def _key(name: str, file: Path | None, size: int) -> str:
    status = file.stat() if file else None
    tried = [name, size, *map(version, LIBRARIES)]
    if status:
        tried += [str(file), status.st_size, status.st_mtime_ns]
    return hashlib.sha256(repr(tried).encode()).hexdigest()[:32]
