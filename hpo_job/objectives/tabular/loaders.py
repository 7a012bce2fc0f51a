"""The loaders of a tabular study: rows as numbers, in memory or memory-mapped."""

from __future__ import annotations

import numpy as np
import torch
from fastai.data.core import DataLoaders
from numpy.typing import NDArray

from hpo_job.data.tables import LabelledRows
from hpo_job.objectives.batches import Mapped, Source, Tensors
from hpo_job.objectives.context import Context
from hpo_job.objectives.loading import Loader
from hpo_job.objectives.tabular.prepared import Prepared
from hpo_job.objectives.tabular.rows import Rows

SHARE = 0.1  # of a GPU's free memory that the rows may take


class RowItems:
    """Rows, with the attributes that fastai looks for in a data set."""

    n_inp = 2

    def __init__(self, source: Source, size: int, data: LabelledRows) -> None:
        self.source, self.size = source, size
        self.vocab, self.y_names = list(data.classes), [data.label]

    def __len__(self) -> int:
        return self.size


class RowLoader(Loader):
    """A loader of `RowItems`."""

    def source(self) -> Source:
        """The data set without its attributes: all that a loader process needs."""
        source: Source = self.dataset.source
        return source


def row_loaders(
    data: LabelledRows, rows: Prepared, context: Context, batch_size: int
) -> DataLoaders:
    """Loaders over the two parts of the rows; the validation rows stay in their order."""
    device = torch.device(context.device)
    targets: NDArray[np.int64] | NDArray[np.float32]
    targets = data.targets.astype(np.int64) if data.classes else data.targets.astype(np.float32)

    def loader(part: NDArray[np.int64], training: bool) -> RowLoader:
        source = Rows(Mapped(rows.categories), Mapped(rows.numbers), part, targets)
        fits = device.type == "cuda" and context.loader_workers is None
        moved = _moved(source, context.gpu_share) if fits else None
        return RowLoader(
            RowItems(moved or source, len(part), data),
            bs=batch_size,
            shuffle=training,
            drop_last=training,
            num_workers=context.loader_workers or 0,
            device=device,
        )

    return DataLoaders(loader(data.train, True), loader(data.valid, False), device=device)


def _moved(source: Rows, gpu_share: float) -> Tensors | None:
    """The rows in the memory of the GPU, where a batch is an index away; None if too large."""
    width = source.categories.array.shape[1] * 8 + source.numbers.array.shape[1] * 4 + 8
    if len(source) * width > SHARE * gpu_share * torch.cuda.mem_get_info()[0]:
        return None
    return Tensors(*(tensor.to("cuda") for tensor in source[range(len(source))]))
