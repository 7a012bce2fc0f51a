"""Images as bytes of one size: decoded when a batch needs them, or taken from an array."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from hpo_job.data.image_file import Levels, open_image
from hpo_job.errors import DataError, problem
from hpo_job.objectives.batches import Mapped
from hpo_job.spec.scores import Targets

SHARE = 0.2  # of a GPU's free memory that decoded images may take
METHOD = Image.Resampling.BILINEAR  # fastai's


def decode(file: Path, size: int, levels: Levels | None = None) -> NDArray[np.uint8]:
    """The whole image at ``file``, squeezed into a square: shape (size, size, 3), RGB.

    These are the pixels of fastai's ``Resize(size, method="squish")``. Its default crops, which
    cuts off subjects, at random in training. For ``levels`` see `open_image`.

    Raises:
        DataError: it cannot be read.
    """
    try:
        return np.asarray(open_image(file, levels).resize((size, size), METHOD))
    except Exception as error:  # whatever a damaged file leads Pillow to
        raise DataError(f"{file}: cannot be read as an image: {problem(error)}") from error


class Pixels(Protocol):
    """All images of a study at one size, as bytes."""

    def take(self, positions: NDArray[np.int64]) -> torch.Tensor:
        """Images as uint8 of shape (positions, size, size, 3), RGB."""


class Files:
    """Images that are decoded whenever they are taken."""

    def __init__(self, files: Sequence[Path], size: int, levels: Levels) -> None:
        self.files, self.size, self.levels = files, size, levels

    def take(self, positions: NDArray[np.int64]) -> torch.Tensor:
        """Images as uint8 of shape (positions, size, size, 3), RGB."""
        chosen = [decode(self.files[p], self.size, self.levels) for p in positions]
        return torch.from_numpy(np.stack(chosen))


class Decoded:
    """Images in a memory-mapped array of shape (images, size, size, 3)."""

    def __init__(self, array: NDArray[np.uint8]) -> None:
        self.mapped = Mapped(array)

    def take(self, positions: NDArray[np.int64]) -> torch.Tensor:
        """Images as uint8 of shape (positions, size, size, 3), RGB."""
        return torch.from_numpy(self.mapped.array[positions])  # indexing with a list copies


class OnDevice:
    """Images that are all in the memory of a GPU, as uint8 of shape (images, size, size, 3)."""

    def __init__(self, images: torch.Tensor) -> None:
        self.images = images

    def take(self, positions: NDArray[np.int64]) -> torch.Tensor:
        """Images as uint8 of shape (positions, size, size, 3), RGB, on that GPU."""
        return self.images[torch.from_numpy(positions).to(self.images.device, non_blocking=True)]


class Labelled:
    """Some images of a study with their targets; a batch is a list of positions in it."""

    def __init__(self, pixels: Pixels, items: NDArray[np.int64], targets: Targets) -> None:
        self.pixels, self.items, self.targets = pixels, items, targets

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, positions: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        chosen = self.items[list(positions)]
        return self.pixels.take(chosen), torch.from_numpy(self.targets[chosen])


_on_device: dict[tuple[str, int], torch.Tensor] = {}  # the latest array that a GPU holds


def on_device(array: NDArray[np.uint8], gpu_share: float = 1.0) -> torch.Tensor | None:
    """All images in the memory of the GPU, kept there for the next trial; None if too large.

    Args:
        array: the images.
        gpu_share: the part of the GPU that this process may use.
    """
    key = (str(getattr(array, "filename", "")), torch.cuda.current_device())
    if key not in _on_device:
        release_images()
        if array.nbytes > SHARE * gpu_share * torch.cuda.mem_get_info()[0]:
            return None
        _on_device[key] = torch.from_numpy(np.array(array)).to("cuda")
    return _on_device[key]


def release_images() -> None:
    """Forget the images that a GPU holds, so that their memory can be used otherwise."""
    _on_device.clear()
