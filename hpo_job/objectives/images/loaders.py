"""The loaders of an image study: decoded images of one size, changed at random in training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from fastai.data.core import DataLoaders
from fastai.data.transforms import IntToFloatTensor
from fastai.torch_core import TensorCategory, TensorImage
from fastai.vision.augment import Normalize

from hpo_job.data.images import LabelledFiles
from hpo_job.objectives.balance import sample
from hpo_job.objectives.context import Context
from hpo_job.objectives.images.augmentations import augmentations
from hpo_job.objectives.images.cache import decoded
from hpo_job.objectives.images.models import stats
from hpo_job.objectives.images.pixels import (
    Decoded,
    Files,
    Labelled,
    OnDevice,
    Pixels,
    on_device,
)
from hpo_job.objectives.loading import Loader
from hpo_job.objectives.parameters import ImageClassification, ImageModel
from hpo_job.objectives.processes import loader_processes

CHANNELS = 3  # one byte each, until a batch is on its device


class ImageItems:
    """Labelled images, with the attributes that fastai looks for in a data set."""

    n_inp = 1

    def __init__(self, pixels: Pixels, data: LabelledFiles, split_idx: int) -> None:
        self.items = (data.train, data.valid)[split_idx]
        self.source = Labelled(pixels, self.items, data.targets)
        self.vocab, self.split_idx = list(data.classes), split_idx

    def __len__(self) -> int:
        return len(self.items)


class ImageLoader(Loader):
    """A loader of `ImageItems`; ``typed_targets`` makes targets what fastai chooses by."""

    def __init__(
        self,
        *arguments: Any,
        channels_last: bool = True,
        typed_targets: Callable[[torch.Tensor], torch.Tensor] = TensorCategory,
        **options: Any,
    ) -> None:
        self.channels_last, self.typed_targets = channels_last, typed_targets
        super().__init__(*arguments, **options)

    def new(self, *arguments: Any, **options: Any) -> ImageLoader:
        """A copy with other options."""
        own = {"channels_last": self.channels_last, "typed_targets": self.typed_targets}
        copy: ImageLoader = super().new(*arguments, **own | options)
        return copy

    def source(self) -> Labelled:
        """The data set without its attributes: all that a loader process needs."""
        source: Labelled = self.dataset.source
        return source

    @property
    def reads_ahead(self) -> bool:
        """On a GPU, which computes meanwhile, from an array that it does not hold."""
        return self.device.type == "cuda" and isinstance(self.source().pixels, Decoded)

    def typed(self, batch: Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        """Images as fastai has them, (items, channels, height, width); targets."""
        images = batch[0].permute(0, 3, 1, 2)
        if not self.channels_last:
            images = images.contiguous()
        return TensorImage(images), self.typed_targets(batch[1])


def image_loaders(
    data: LabelledFiles,
    context: Context,
    parameters: ImageModel,
    typed_targets: Callable[[torch.Tensor], torch.Tensor] = TensorCategory,
) -> DataLoaders:
    """The loaders over the study's split; the validation items stay in its order."""
    # fastai drops the last, smaller batch: of few items nothing would be left
    batch_size = min(parameters.batch_size, len(data.train))
    pixels, processes = _pixels(data, context, parameters.image_size, batch_size)
    device = torch.device(context.device)
    normalise = Normalize.from_stats(*stats(parameters.model), cuda=False)

    def loader(split_idx: int) -> ImageLoader:
        return ImageLoader(
            ImageItems(pixels, data, split_idx),
            bs=batch_size,
            shuffle=split_idx == 0,
            drop_last=split_idx == 0,
            num_workers=processes,
            after_batch=[IntToFloatTensor(), *augmentations(parameters), normalise],
            channels_last=parameters.channels_last,
            typed_targets=typed_targets,
            device=device,
        )

    dls = DataLoaders(loader(0), loader(1), device=device)
    if isinstance(parameters, ImageClassification):
        sample(parameters.balance, dls.train, data)
    return dls


def _pixels(
    data: LabelledFiles, context: Context, size: int, batch_size: int
) -> tuple[Pixels, int]:
    """Where a trial takes its images from, and by how many processes."""
    array = decoded(data, size, context.cache, context.cache_size)
    if array is None:
        files = Files([data.root / name for name in data.files], size, dict(data.levels))
        if context.loader_workers is not None:
            return files, context.loader_workers
        batch_bytes = batch_size * CHANNELS * size**2
        return files, loader_processes(context.threads, context.device, batch_bytes)
    if context.loader_workers is None and context.device == "cuda":
        images = on_device(array, context.gpu_share)
        if images is not None:
            return OnDevice(images), 0
    return Decoded(array), context.loader_workers or 0
