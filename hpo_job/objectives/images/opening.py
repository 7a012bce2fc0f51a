"""How image files become fastai's images, in training and for predictions alike."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastai.data.block import TransformBlock
from fastai.data.transforms import IntToFloatTensor
from fastai.vision.core import PILImage
from fasttransform import Transform

from hpo_job.data.image_file import Levels, open_image


class OpenImage(Transform):  # type: ignore[misc]  # fastai is untyped
    """Opens a file, or its bytes, by `open_image`; arrays and tensors as fastai does."""

    def __init__(self, levels: Levels) -> None:
        self.levels = dict(levels)

    def encodes(self, source: Any) -> PILImage:
        if isinstance(source, Path | str | bytes):
            return PILImage(open_image(source, self.levels))
        return PILImage.create(source)


def image_block(levels: Levels) -> TransformBlock:
    """Fastai's ImageBlock, but for how files are opened."""
    return TransformBlock(type_tfms=OpenImage(levels), batch_tfms=IntToFloatTensor)
