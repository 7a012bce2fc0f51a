"""The rows of a study as numbers: prepared once for all trials, large tables for all workers too.

Without fastai, which a loader process would take ten seconds to import.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from hpo_job.objectives.batches import Mapped


class Rows:
    """Some rows of a table; a batch is a list of positions: (categories, numbers, targets)."""

    def __init__(
        self,
        categories: Mapped,
        numbers: Mapped,
        rows: NDArray[np.int64],
        targets: NDArray[np.int64] | NDArray[np.float32],
    ) -> None:
        self.categories, self.numbers = categories, numbers
        self.rows, self.targets = rows, targets

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, positions: Sequence[int]) -> tuple[torch.Tensor, ...]:
        chosen = self.rows[list(positions)]
        arrays = (self.categories.array[chosen], self.numbers.array[chosen], self.targets[chosen])
        return tuple(map(torch.from_numpy, arrays))  # indexing with a list copies
